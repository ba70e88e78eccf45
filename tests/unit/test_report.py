"""What the report takes from a folder, and when."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
from dataclasses import replace
from hashlib import sha256
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from flexalign.batch import tables
from flexalign.batch.inputs import INDEX_NAME
from flexalign.errors import InputError, OutputError
from flexalign.gain.verdict import GainCheck, Placement
from flexalign.io.record import read_record
from flexalign.io.star import read_star
from flexalign.model import MovieRecord
from flexalign.motion import Motion
from flexalign.plain import write_json
from flexalign.report import collect, details, page
from flexalign.report.columns import COLUMNS, NOT_IN_TABLE, PANELS
from flexalign.report.live import MAX_INSIDE, MAX_INSIDE_BYTES, Report
from flexalign.report.subset import star_parts
from flexalign.report.summary import worst_first

ASSETS = resources.files("flexalign.report") / "assets"
MOVIES, FAILED = 30, 2


@pytest.fixture(scope="module")
def made(make_session, tmp_path_factory) -> Path:
    """A folder with the records of a made-up session."""
    folder = tmp_path_factory.mktemp("made")
    make_session(folder, MOVIES, failed_every=MOVIES // FAILED)
    return folder


@pytest.fixture
def folder(made, tmp_path) -> Path:
    """A copy of that folder, to do with as one likes."""
    return shutil.copytree(made, tmp_path / "run")


def a_record(folder: Path) -> Path:
    """One of the records of the folder."""
    return sorted(folder.glob("*_record.json"))[3]


def report_of(folder: Path) -> dict:
    """What report.json says after a report was made."""
    Report(folder).write()
    return json.loads((folder / "report.json").read_text())


def test_json_and_csv_hold_the_numbers_of_the_records(folder):
    content = report_of(folder)
    with (folder / "report.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))

    assert len(content["movies"]) == len(rows) == MOVIES - FAILED
    for row, movie in zip(rows, content["movies"], strict=True):
        record = read_record(folder / f"{movie['name']}_record.json")
        assert row["name"] == movie["name"]
        for name in ("total_motion_A", "track_residual_A", "rings_to_A"):
            value = getattr(record.quality, name)
            assert movie[name] == pytest.approx(value, rel=1e-2, nan_ok=True)
            assert float(row[name] or "nan") == pytest.approx(value, rel=1e-2, nan_ok=True)
        assert movie["flags"] == list(record.quality.flag_names)


def change_movie(path: Path, **facts: object) -> None:
    """Change what a record says of its movie; None removes a fact."""
    record = read_record(path)
    known = {**record.inputs["movie"], **facts}
    movie = {name: value for name, value in known.items() if value is not None}
    write_json(path, replace(record, inputs={**record.inputs, "movie": movie}))


def test_movies_stand_in_the_order_in_which_they_were_recorded(folder):
    path = a_record(folder)
    change_movie(path, acquired="2099-01-01T00:00:00")

    content = report_of(folder)

    assert content["order"] == "acquired"
    assert content["movies"][-1]["name"] == path.name.removesuffix("_record.json")
    assert content["movies"][-1]["acquired"] == "2099-01-01 00:00:00"


def test_where_one_movie_has_no_time_of_acquisition_the_order_is_that_of_the_files(folder):
    path = a_record(folder)
    change_movie(path, acquired=None, modified_ns=2 * 10**18)

    content = report_of(folder)

    assert content["order"] == "movie_time_s"
    assert content["movies"][-1]["name"] == path.name.removesuffix("_record.json")
    assert content["movies"][-1]["acquired"] is None


def test_every_number_of_the_quality_that_a_session_shows_is_one_of_the_records():
    """A column that stands nowhere would be empty for ever."""
    from flexalign.model import Quality

    fields = set(Quality.__dataclass_fields__)
    places = [column.source for column in COLUMNS if isinstance(column.source, str)]
    asked = {place.removeprefix("quality.") for place in places if place.startswith("quality.")}

    assert asked
    assert asked <= fields
    assert {name for panel in PANELS for name in panel.columns} <= {c.name for c in COLUMNS}


def test_the_page_names_the_model_as_the_screen_does(folder):
    models = {read_record(path).quality.model for path in folder.glob("*_record.json")}
    titles = {column.name: column.title for column in COLUMNS if column.name not in NOT_IN_TABLE}

    assert titles["model"] == "Model"
    assert "chosen" not in titles
    assert {row["model"] for row in report_of(folder)["movies"]} == models
    assert "global + local (refined)" in models


def test_failures_come_with_their_reasons(folder):
    content = report_of(folder)

    assert content["counts"]["failed"] == len(content["failures"]) == FAILED
    assert all("found 31 whole ones" in failure["reason"] for failure in content["failures"])
    assert all("--retry-failed" in failure["advice"] for failure in content["failures"])


def test_what_the_check_of_the_gain_found_is_told(folder):
    before = report_of(folder)["gain_check"]
    found = GainCheck("gain.mrc", ("m",), 40, 40.0, 0.05, Placement(0, "none", "multiply"), "none",
                      reason="it has another size")  # fmt: skip
    write_json(folder / "gain_check.json", {"key": "", **found.to_dict()})
    content = report_of(folder)

    assert before == {}
    assert content["gain_check"] == {"verdict": "none", "text": found.describe()}
    text = (folder / "report.html").read_text()
    assert text.count("the gain reference does not fit: it has another size") == 2


def test_the_worst_movie_has_the_worst_flag():
    def row(name, severity, *flags):
        values = {"severity": severity, "flags": list(flags), "total_motion_A": 1.0}
        return collect.Row(name, 0, values)

    rows = [
        row("two-warnings", "warning", "jump", "uncertain"),
        row("well", None),
        row("problem", "problem", "no-signal"),
        row("warning", "warning", "jump"),
        row("note", "note", "still"),
    ]

    names = [found.name for found in worst_first(rows)]
    assert names == ["problem", "two-warnings", "warning", "note"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"half": ', "expected JSON"),
        ("[1, 2]", "expected a JSON object"),
        ('{"movie": {}, "inputs": {}, "quality": {}, "outputs": {}, "schema": 99}', "newer"),
        ('{"movie": {}, "inputs": {}, "quality": {"flags": 7}, "outputs": {}}', "missing"),
        ("[" * 100_000, "expected JSON"),
        ("", "expected JSON"),
    ],
)
def test_a_record_that_cannot_be_read_is_told_and_the_rest_is_reported(folder, text, words):
    a_record(folder).write_text(text)

    content = report_of(folder)

    assert len(content["movies"]) == MOVIES - FAILED - 1
    ((name, reason),) = content["unreadable"].items()
    assert words in reason
    assert name in (folder / "report.html").read_text()


def test_a_record_of_the_first_version_is_read_too(folder):
    plain = json.loads(a_record(folder).read_text())
    plain["schema"] = plain["quality"]["schema"] = 1
    error_A = plain["quality"].pop("trajectory_error_A")
    plain["quality"]["trajectory_error_px"] = error_A / plain["decisions"]["pixel_size_A"]
    plain["quality"]["flags"] = ["jump"]
    for name in ("signal_bands", "rings_to_A", "track_residual_A"):
        plain["quality"].pop(name)
    plain.pop("curves")
    a_record(folder).write_text(json.dumps(plain))

    name = a_record(folder).name.removesuffix("_record.json")
    movie = next(m for m in report_of(folder)["movies"] if m["name"] == name)

    assert movie["trajectory_error_A"] == pytest.approx(error_A, rel=1e-2)
    assert movie["flags"] == ["jump"]
    assert movie["rings_to_A"] is movie["signal_after"] is None


def test_records_are_read_once(folder, monkeypatch):
    read = []
    original = collect.row_of
    monkeypatch.setattr(
        collect, "row_of", lambda name, *rest: (read.append(name), original(name, *rest))[1]
    )
    Report(folder).write()
    first = len(read)
    changed = a_record(folder)
    os.utime(changed, ns=(10**18, 10**18))
    Report(folder).write()

    assert first == MOVIES - FAILED
    assert read[first:] == [changed.name.removesuffix("_record.json")]


def test_what_is_noted_joins_and_what_is_gone_leaves(folder):
    paths = sorted(folder.glob("*_record.json"))
    kept = paths[5].read_bytes()
    paths[5].unlink()
    report = Report(folder)
    report.write()
    before = report.movie_count
    paths[5].write_bytes(kept)
    paths[7].unlink()
    names = [paths[i].name.removesuffix("_record.json") for i in (5, 7)]
    for name in names:
        report.note(name, is_done=False)
    report.write()
    content = json.loads((folder / "report.json").read_text())
    there = {movie["name"] for movie in content["movies"]}

    assert before == len(there) == MOVIES - FAILED - 1
    assert names[0] in there
    assert names[1] not in there
    assert (folder / "report_data" / f"{names[0]}.js").exists()


def test_a_record_that_shows_late_is_waited_for(folder):
    path = a_record(folder)
    content, name = path.read_bytes(), path.name.removesuffix("_record.json")
    path.unlink()
    report = Report(folder)
    report.note(name, is_done=True)
    report.write()
    before = report.movie_count
    path.write_bytes(content)
    report.write()

    assert (before, report.movie_count) == (MOVIES - FAILED - 1, MOVIES - FAILED)


def test_a_movie_that_failed_when_it_was_tried_again_counts_as_failed(folder):
    movie = read_record(a_record(folder)).inputs["movie"]["path"]
    with (folder / "failed.tsv").open("a") as file:
        file.write(f"{movie}\tinput\tit changed\tlook at it\n")

    counts = report_of(folder)["counts"]

    assert (counts["done"], counts["failed"]) == (MOVIES - FAILED - 1, FAILED + 1)


def test_rows_of_accepted_movies_are_those_of_the_table_of_micrographs(folder):
    records = [read_record(path) for path in sorted(folder.glob("*_record.json"))]
    tables.write_star(folder / "micrographs.star", [tables.row_of(one) for one in records], 300.0)
    rows = [collect.row_of("", 0, one).values for one in records]

    parts = star_parts(os.path.relpath(folder), rows)

    text = parts["head"] + "\n".join(parts["rows"]) + "\n"
    (folder / "parts.star").write_text(text)
    written, found = (read_star(folder / f"{name}.star") for name in ("micrographs", "parts"))
    texts = ("rlnMicrographName", "rlnOpticsGroup", "flexalignFlags", "rlnMicrographMovieName")
    assert found["optics"] == written["optics"]
    assert list(found["micrographs"]) == list(written["micrographs"])
    for label in texts:
        assert found["micrographs"][label] == written["micrographs"][label]


def test_details_of_movies_that_are_gone_are_removed(folder):
    Report(folder).write()
    name = a_record(folder).name.removesuffix("_record.json")
    a_record(folder).unlink()
    Report(folder).write()

    assert not (folder / "report_data" / f"{name}.js").exists()


def test_it_is_written_again_only_when_something_is_new_and_time_has_passed(folder):
    report = Report(folder)
    report.note("x", is_done=False)
    at_first = report.is_due()
    report.write()
    after = report.is_due()
    report.note("x", is_done=False)

    assert at_first
    assert not after
    assert not report.is_due()


def test_details_hold_the_motion_that_the_record_holds(folder):
    record = read_record(a_record(folder))
    motion = Motion.from_dict(record.motion)
    found = details.details_of("x", record.to_dict())["motion"]
    pixel_A = record.decisions["pixel_size_A"]

    np.testing.assert_allclose(
        found["yx_A"], motion.trajectory.displacement_px * pixel_A, atol=5e-3
    )
    np.testing.assert_allclose(
        found["error_yx_A"], motion.trajectory.standard_error_px * pixel_A, atol=1e-3
    )
    y, x = found["field"]["y_px"][1], found["field"]["x_px"][4]
    moved = np.subtract(*(motion.field.displacement_px(t, y, x) for t in (39, 0)))
    lattice_y, lattice_x = np.array(found["field"]["y_px"]), np.array(found["field"]["x_px"])
    all_moved = motion.field.on_lattice(39, lattice_y, lattice_x) - motion.field.on_lattice(
        0, lattice_y, lattice_x
    )
    expected = (moved - all_moved.mean(axis=(1, 2))) * pixel_A
    arrows = np.array(found["field"]["yx_A"])
    np.testing.assert_allclose(arrows[:, 1, 4], expected, atol=2e-3)
    assert found["dose_e_A2"][:2] == pytest.approx([0.6, 1.8], abs=0.01)


@pytest.mark.parametrize("is_ended", [False, True])
def test_the_page_says_that_it_reloads_itself_while_a_run_goes_on(folder, is_ended):
    index = json.loads((folder / INDEX_NAME).read_text())
    if not is_ended:
        (folder / INDEX_NAME).write_text(json.dumps(index | {"summary": {}}))
    text = Report(folder).write().read_text()

    assert ("reloads itself every half minute" in text) != is_ended
    assert ('data-run="going-on"' in text) != is_ended


def test_the_page_holds_a_bounded_number_of_movies_with_their_pictures(folder):
    Report(folder).write()
    text = (folder / "report.html").read_text()
    block = re.search(r'<script type="application/json" id="inside">(.*?)</script>', text, re.S)
    inside = json.loads(block[1])

    assert 1 <= len(inside) <= MAX_INSIDE
    assert all(set(movie["pictures"]) == {"thumbnail", "spectra_thumbnail"} for movie in inside)
    assert len(block[1]) < 2 * MAX_INSIDE_BYTES


def test_names_cannot_break_out_of_the_page(folder):
    path = a_record(folder)
    name = "a<b></script><img src=x>&'\"#%"
    # A slash cannot be in a name, a movie's path may have any.
    record = read_record(path)
    hostile = {**record.inputs["movie"], "path": f"/data/{name}"}
    write_json(
        folder / f"{name.replace('/', '')}_record.json",
        replace(record, inputs={**record.inputs, "movie": hostile}),
    )
    (folder / "failed.tsv").write_text(f"head\n{name}\tinput\t<script>alert(1)</script>\tnothing\n")

    Report(folder).write()

    text = (folder / "report.html").read_text()
    assert "<img src=x>" not in text
    assert "<script>alert(1)" not in text


def test_pictures_are_taken_from_the_folder_alone(folder, tmp_path):
    (tmp_path / "secret").write_bytes(b"of another folder")
    names = ["/etc/passwd", "../secret", "link", "fifo", "zero"]
    (folder / "link").symlink_to("../secret")
    os.mkfifo(folder / "fifo")
    (folder / "zero").symlink_to("/dev/zero")
    found = [
        details.with_pictures({"outputs": {"thumbnail": name}}, folder)["pictures"]
        for name in names
    ]

    assert found == [{}] * len(names)


def test_a_record_that_names_files_elsewhere_is_told(folder):
    plain = json.loads(a_record(folder).read_text())
    plain["outputs"]["thumbnail"] = "/etc/passwd"
    a_record(folder).write_text(json.dumps(plain))

    ((_, reason),) = report_of(folder)["unreadable"].items()

    assert reason.startswith("outputs.thumbnail: expected the name of a file beside the record")


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match="nowhere: no such folder with results"):
        Report(tmp_path / "nowhere").write()


def test_nothing_half_written_is_left_where_the_page_cannot_be_written(folder):
    report = Report(folder)
    (folder / "report.html").mkdir()

    with pytest.raises(OutputError):
        report.write()

    assert not [path for path in folder.iterdir() if path.name.startswith(".report")]


def test_libraries_are_those_that_are_listed_and_come_with_their_licences():
    listed = (ASSETS / "LIBRARIES.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([^`]+)` \|.*\| `([0-9a-f]{64})` \| `([^`]+)` \|$", listed, re.M)
    vendored = {*page.LIBRARIES, *page.STYLES} - {"movie.css", "gallery.css", "report.css"}

    assert {name for name, _, _ in rows} == vendored
    for name, digest, licence in rows:
        assert sha256((ASSETS / name).read_bytes()).hexdigest() == digest, name
        assert (ASSETS / "licenses" / licence).is_file()


def test_a_record_keeps_what_the_report_reads():
    """Columns name fields in words, so nothing but this would notice a field that moved."""
    places = [column.source for column in COLUMNS if isinstance(column.source, str)]

    assert places
    assert all(hasattr(MovieRecord, place.split(".")[0]) for place in places)
