"""Movies are accepted by limits on the page, and the accepted ones saved for other programs."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess

import pytest
import starfile

PRINTTABLE = shutil.which("relion_star_printtable")
EARLY_LIMIT_A = 4.5


def is_accepted(movie) -> bool:
    """Whether the limits of `limit` accept a movie."""
    return movie["early_motion_A"] <= EARLY_LIMIT_A and movie["severity"] != "problem"


def limit(page) -> None:
    """Set a limit on early motion; movies with a problem are rejected from the start."""
    page.get_by_label("Early motion at most").fill(str(EARLY_LIMIT_A))


def saved(page, button: str, path):
    """The file that a button saves."""
    with page.expect_download() as download:
        page.get_by_role("button", name=button).click()
    download.value.save_as(path)
    return path


def test_the_count_of_accepted_movies_follows_the_limits(page, movies):
    count = page.locator("#accepted-count")
    problems = sum(movie["severity"] == "problem" for movie in movies)
    at_first = count.inner_text()
    limit(page)
    limited = count.inner_text()
    page.get_by_label("reject movies flagged as problem").uncheck()

    assert problems > 0
    assert at_first == f"{len(movies) - problems} of {len(movies)} movies accepted"
    assert limited == f"{sum(map(is_accepted, movies))} of {len(movies)} movies accepted"
    early = sum(movie["early_motion_A"] <= EARLY_LIMIT_A for movie in movies)
    assert count.inner_text() == f"{early} of {len(movies)} movies accepted"


def test_a_movie_without_a_number_is_rejected_by_a_limit_on_it(
    open_page, session_folder, movies, tmp_path
):
    text = (session_folder / "report.html").read_text()
    changed = re.sub(r'("rings_to_A":\[)[\d.]+', r"\g<1>null", text, count=1)
    assert changed != text
    (tmp_path / "report.html").write_text(changed)
    page = open_page(tmp_path / "report.html").page
    page.get_by_label("reject movies flagged as problem").uncheck()
    page.get_by_label("Thon rings to at most").fill("1000")

    assert page.locator("#accepted-count").inner_text().startswith(f"{len(movies) - 1} of ")


def test_accepted_movies_are_saved_as_a_star_file(page, movies, tmp_path):
    limit(page)
    tables = starfile.read(saved(page, "Save accepted as STAR", tmp_path / "accepted.star"))

    wanted = [movie for movie in movies if is_accepted(movie)]
    found = tables["micrographs"]
    assert 0 < len(wanted) < len(movies)
    assert [path.rsplit("/", 1)[1] for path in found["rlnMicrographName"]] == [
        movie["dose_weighted"] or movie["micrograph"] for movie in wanted
    ]
    assert list(found["rlnAccumMotionEarly"]) == [movie["early_motion_A"] for movie in wanted]
    assert set(found["rlnOpticsGroup"]) <= set(tables["optics"]["rlnOpticsGroup"])


@pytest.mark.skipif(PRINTTABLE is None, reason="RELION is not installed")
def test_relion_reads_the_accepted_movies(page, movies, tmp_path):
    limit(page)
    path = saved(page, "Save accepted as STAR", tmp_path / "accepted.star")
    command = [PRINTTABLE, str(path), "data_micrographs", "rlnMicrographName"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert len(printed.split()) == sum(map(is_accepted, movies))


def test_accepted_movies_are_saved_with_their_numbers(page, movies, session_folder, tmp_path):
    limit(page)
    path = saved(page, "Save accepted as CSV", tmp_path / "accepted.csv")

    with (session_folder / "report.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    with path.open(newline="") as file:
        found = list(csv.DictReader(file))
    names = [movie["name"] for movie in movies if is_accepted(movie)]
    assert [row["name"] for row in found] == names
    assert list(found[0]) == list(rows[0])
    texts = ("micrograph", "movie", "flags", "why", "chosen")
    wanted = [row for row in rows if row["name"] in names]
    assert [[row[key] for key in texts] for row in found] == [
        [row[key] for key in texts] for row in wanted
    ]


def test_all_micrographs_are_listed_with_accept_or_reject(page, movies, tmp_path):
    limit(page)
    path = saved(page, "Save list with accept or reject", tmp_path / "decisions.csv")

    with path.open(newline="") as file:
        found = list(csv.DictReader(file))
    assert [row["decision"] for row in found] == [
        "accept" if is_accepted(movie) else "reject" for movie in movies
    ]
    assert [row["micrograph"] for row in found] == [
        movie["dose_weighted"] or movie["micrograph"] for movie in movies
    ]


def test_nothing_is_saved_when_no_movie_is_accepted(page):
    page.get_by_label("Early motion at most").fill("0")

    assert page.get_by_role("button", name="Save accepted as STAR").is_disabled()
