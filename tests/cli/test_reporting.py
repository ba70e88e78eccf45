"""The report comes with every alignment, and by its own command."""

from __future__ import annotations

import json
import shutil

import pytest

from flexalign.batch import events
from flexalign.batch.jobs import Job, Outcome
from flexalign.batch.throughput import Throughput
from flexalign.cli.reporting import Reporting

OPTIONS = ("--pixel-size", "1.5", "--no-local", "--no-refine", "--jobs", "0")


@pytest.fixture
def movies(movie_folder, tmp_path):
    """A folder with one movie, and a file that is none."""
    folder = tmp_path / "movies"
    folder.mkdir()
    shutil.copy(movie_folder / "b.mrc", folder)
    (folder / "cut.mrc").write_bytes((movie_folder / "b.mrc").read_bytes()[:5000])
    return folder


def content(folder) -> dict:
    """What the report says in JSON."""
    return json.loads((folder / "report.json").read_text())


def test_a_run_ends_with_its_report_and_says_where_it_is(run, movies, tmp_path):
    outcome = run("align", movies, "--out", tmp_path / "out", *OPTIONS)
    found = content(tmp_path / "out")

    assert outcome.code == 1
    assert f"report: {tmp_path / 'out' / 'report.html'}" in outcome.err
    assert [movie["name"] for movie in found["movies"]] == ["b"]
    assert [failure["movie"] for failure in found["failures"]] == [str(movies / "cut.mrc")]
    assert found["run"]["summary"]["failed"] == 1


def test_the_report_of_a_run_that_goes_on_names_all_its_movies(run, movies, tmp_path):
    run("align", movies / "b.mrc", movies / "cut.mrc", "--out", tmp_path / "out", *OPTIONS)
    shutil.copy(movies / "b.mrc", movies / "c.mrc")
    run("align", movies, "--out", tmp_path / "out", *OPTIONS)

    assert {movie["name"] for movie in content(tmp_path / "out")["movies"]} == {"b", "c"}


def test_one_movie_has_a_report_too(run, movies, tmp_path):
    outcome = run("align", movies / "b.mrc", "--out", tmp_path / "out", *OPTIONS[:-2])

    assert outcome.code == 0
    assert "report: " in outcome.err
    assert content(tmp_path / "out")["counts"]["done"] == 1
    assert not (tmp_path / "out" / "run.json").exists()


@pytest.mark.parametrize("many", [False, True])
def test_no_report_is_made_where_none_is_wanted(run, movies, tmp_path, many):
    words = [movies, *OPTIONS] if many else [movies / "b.mrc", *OPTIONS[:-2]]
    outcome = run("align", *words, "--no-report", "--out", tmp_path / "out")

    assert "report: " not in outcome.err
    assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith("report")]


def test_a_report_that_cannot_be_written_does_not_fail_the_run(run, movies, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "report_data").touch()
    (movies / "cut.mrc").unlink()
    outcome = run("align", movies, "--out", tmp_path / "out", *OPTIONS)

    assert outcome.code == 0
    assert "the report could not be written: cannot write" in outcome.err
    assert (tmp_path / "out" / "b_record.json").exists()


def test_watching_keeps_the_report(run, movies, tmp_path):
    outcome = run(
        "watch", movies, "--out", tmp_path / "out", "--settle", "0.1", "--idle", "0.02", *OPTIONS
    )

    assert "report: " in outcome.err
    assert content(tmp_path / "out")["counts"] == {
        "done": 1, "failed": 1, "flagged": content(tmp_path / "out")["counts"]["flagged"],
        "unreadable": 0,
    }  # fmt: skip


def test_the_command_makes_it_again(run, movies, tmp_path):
    run("align", movies, "--out", tmp_path / "out", "--no-report", *OPTIONS)
    outcome = run("report", tmp_path / "out")

    assert outcome.code == 0
    assert outcome.out == f"{tmp_path / 'out' / 'report.html'}\n"
    assert (tmp_path / "out" / "report.html").exists()


def test_a_record_that_is_broken_is_named(run, movies, tmp_path):
    run("align", movies, "--out", tmp_path / "out", "--no-report", *OPTIONS)
    (tmp_path / "out" / "b_record.json").write_text("{")
    outcome = run("report", tmp_path / "out")

    assert outcome.code == 0
    assert "left out: b_record.json: expected JSON" in outcome.err


@pytest.mark.parametrize(("is_there", "problem"), [(False, "no such folder"), (True, "expected")])
def test_a_folder_without_records_is_refused_in_one_line(run, tmp_path, is_there, problem):
    folder = tmp_path / "empty"
    if is_there:
        folder.mkdir()
    outcome = run("report", folder)

    assert outcome.code == 3
    assert outcome.err.startswith(f"error: {folder}: {problem}")
    assert outcome.err.count("\n") == 1
    assert not is_there or not any(folder.iterdir())


def test_a_file_in_place_of_the_folder_is_refused(run, movies):
    outcome = run("report", movies / "b.mrc")

    assert outcome.code == 3
    assert outcome.err.endswith("b.mrc: expected a folder with results, found a file\n")


def test_the_report_is_there_while_the_run_goes_on(run, movies, tmp_path):
    run("align", movies / "b.mrc", "--out", tmp_path / "out", "--no-report", *OPTIONS[:-2])
    told = []
    reporting = Reporting(tmp_path / "out", told.append)
    job = Job(str(movies / "b.mrc"), "b", str(tmp_path / "out"), {}, "key")
    tick = events.Tick(Throughput(), 1, 0, is_open=False)

    reporting(tick)
    before = (tmp_path / "out" / "report.html").exists()
    reporting(events.Ended(Outcome(job, None, None), is_final=True))
    reporting(tick)

    assert not before
    assert [movie["name"] for movie in content(tmp_path / "out")["movies"]] == ["b"]
    assert len(told) == 3
