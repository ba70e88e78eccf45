"""The run folder: what is done is not done again, what is not is never taken for done."""

from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path

import pytest
import starfile

PIXEL_SIZE = ("--pixel-size", "1.5")


@pytest.fixture(scope="module")
def finished(tmp_path_factory, flexalign, write_movie) -> Path:
    """A folder with movies and ``run``, in which one of them failed."""
    folder = tmp_path_factory.mktemp("finished")
    for day in ("one", "two"):
        write_movie(folder / day / "m.mrcs", seed=len(day))
    bad = folder / "one" / "bad.mrcs"
    bad.write_bytes((folder / "one" / "m.mrcs").read_bytes()[:3000])
    code, _, err = flexalign("align", folder / "one", folder / "two", *to(folder))
    assert code == 1, err
    return folder


def to(folder: Path) -> tuple[object, ...]:
    """Options of a run into a folder."""
    return ("--out", folder / "run", *PIXEL_SIZE, "--jobs", "2")


@pytest.fixture
def copy(finished, tmp_path, monkeypatch) -> Path:
    """A copy of the finished run, with the movies where they were."""
    shutil.copytree(finished / "run", tmp_path / "run")
    return tmp_path


def again(flexalign, finished: Path, copy: Path, *words: object) -> tuple[int, list[dict]]:
    """Exit code and events of the same command on the copy."""
    code, out, err = flexalign(
        "align", finished / "one", finished / "two", *to(copy), "--json", *words
    )
    assert "Traceback" not in err
    return code, [json.loads(line) for line in out.splitlines()]


def movies_with(events: list[dict], *kinds: str) -> list[str]:
    return sorted(Path(e["movie"]).parent.name for e in events if e["event"] in kinds)


def test_movies_of_one_name_have_outputs_of_their_own(finished):
    records = {path.name for path in (finished / "run").glob("*_record.json")}

    assert records == {"m_record.json", "two_m_record.json"}


def test_the_table_of_failures_says_what_and_why_and_what_to_do(finished):
    head, row = [
        line.split("\t") for line in (finished / "run" / "failed.tsv").read_text().splitlines()
    ]

    assert head == ["movie", "type", "reason", "what to do"]
    assert row[:2] == [str(finished / "one" / "bad.mrcs"), "input"]
    assert "expected" in row[2]
    assert "--retry-failed" in row[3]


def test_the_tables_of_micrographs_agree_with_the_records(finished):
    run = finished / "run"
    with (run / "micrographs.csv").open() as file:
        rows = list(csv.DictReader(file))
    star = starfile.read(run / "micrographs.star")

    assert {row["micrograph"] for row in rows} == {"m_aligned_mic.mrc", "two_m_aligned_mic.mrc"}
    assert all((run / row["micrograph"]).exists() for row in rows)
    record = json.loads((run / rows[0]["record"]).read_text())
    assert float(rows[0]["total_motion_A"]) == record["quality"]["total_motion_A"]
    assert float(rows[0]["roughness_A"]) == record["quality"]["roughness_A"]
    assert rows[0]["flags"].split() == [flag["name"] for flag in record["quality"]["flags"]]
    signal = {band["finest_A"]: band["after"] for band in record["quality"]["signal_bands"]}
    assert float(rows[0]["signal_after_10_7_A"]) == signal[7.0]
    assert float(star["micrographs"]["flexalignSignalAfter"].iloc[0]) == pytest.approx(
        signal[7.0], abs=1e-6
    )
    assert [Path(name).name for name in star["micrographs"]["rlnMicrographName"]] == [
        row["micrograph"] for row in rows
    ]
    assert float(star["optics"]["rlnMicrographOriginalPixelSize"].iloc[0]) == 1.5


def test_the_index_holds_every_movie_and_the_parameters(finished):
    index = json.loads((finished / "run" / "run.json").read_text())

    assert (index["done"], index["failed"], len(index["movies"])) == (2, 1, 3)
    assert index["parameters"]["pixel_size_A"] == 1.5
    assert index["summary"]["failures"] == {"input": 1}


def test_the_same_command_again_does_nothing(flexalign, finished, copy):
    before = {path: path.stat().st_mtime_ns for path in (copy / "run").glob("m_*")}

    code, events = again(flexalign, finished, copy)

    assert code == 1
    assert movies_with(events, "skipped") == ["one", "one", "two"]
    assert not movies_with(events, "queued", "done", "failed")
    assert before == {path: path.stat().st_mtime_ns for path in (copy / "run").glob("m_*")}
    assert len((copy / "run" / "failed.tsv").read_text().splitlines()) == 2


def test_what_is_done_is_known_without_the_index(flexalign, finished, copy):
    (copy / "run" / "run.json").unlink()

    _, events = again(flexalign, finished, copy)

    assert movies_with(events, "skipped") == ["one", "two"]
    assert movies_with(events, "failed") == ["one"]


def test_failed_movies_are_tried_again_when_asked_for(flexalign, finished, copy):
    code, events = again(flexalign, finished, copy, "--retry-failed")

    assert code == 1
    assert movies_with(events, "failed") == ["one"]
    assert len((copy / "run" / "failed.tsv").read_text().splitlines()) == 2


@pytest.mark.parametrize("suffix", ["_record.json", "_aligned_mic.mrc"])
def test_a_movie_of_which_something_is_missing_is_done_again(flexalign, finished, copy, suffix):
    (copy / "run" / f"two_m{suffix}").unlink()

    _, events = again(flexalign, finished, copy)

    assert movies_with(events, "done") == ["two"]
    assert (copy / "run" / f"two_m{suffix}").exists()


def test_other_parameters_make_it_all_anew(flexalign, finished, copy):
    _, events = again(flexalign, finished, copy, "--binning", "2")

    assert movies_with(events, "done") == ["one", "two"]


def test_everything_is_done_again_when_asked_for(flexalign, finished, copy):
    _, events = again(flexalign, finished, copy, "--overwrite")

    assert movies_with(events, "done") == ["one", "two"]


def test_a_gain_that_is_missing_is_no_run(flexalign, finished, copy):
    code, _, err = flexalign("align", finished / "one", *to(copy), "--gain", "nowhere.mrc")

    assert code == 3
    assert "nowhere.mrc: no such file" in err


def test_threads_are_no_reason_to_do_it_again(flexalign, finished, copy):
    _, events = again(flexalign, finished, copy, "--threads", "1")

    assert not movies_with(events, "done")


def test_a_movie_that_has_changed_is_done_again(flexalign, finished, copy):
    movie = finished / "two" / "m.mrcs"
    state = movie.stat()
    os.utime(movie, ns=(state.st_atime_ns, state.st_mtime_ns + 1_000_000_000))
    try:
        _, events = again(flexalign, finished, copy)
    finally:
        os.utime(movie, ns=(state.st_atime_ns, state.st_mtime_ns))

    assert movies_with(events, "done") == ["two"]


def test_an_index_of_the_future_is_refused(flexalign, finished, copy):
    index = copy / "run" / "run.json"
    index.write_text(index.read_text().replace('"schema": 1', '"schema": 99', 1))

    code, _, err = flexalign("align", finished / "one", *to(copy))

    assert code == 3
    assert "newer flexalign" in err


def test_what_was_under_way_when_a_run_was_killed_is_cleared_away(flexalign, finished, copy):
    (copy / "run" / "two_m_record.json").unlink()
    left = copy / "run" / ".flexalign-two_m-abcd1234"
    left.mkdir()
    (left / ".flexalign").touch()
    other = copy / "run" / ".flexalign-two_m-12345678"
    other.mkdir()
    (other / "notes").touch()

    again(flexalign, finished, copy)

    assert not left.exists()
    assert other.exists()
