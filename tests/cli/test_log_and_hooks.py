"""The log of a run, and the commands that run after its movies."""

from __future__ import annotations

import json
import os
import re
import resource
import shlex
import signal

import pytest

from flexalign.batch.events import Ended
from flexalign.batch.failures import Failure
from flexalign.batch.jobs import Job, Outcome
from flexalign.cli import log_file
from flexalign.cli.hooks import Hooks
from flexalign.errors import OccupiedError, ParameterError

MAX_LOG_BYTES = 100
OPTIONS = ("--pixel-size", "1.5", "--no-refine", "--no-psd", "--no-local", "--jobs", "0")
STAMPED = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d .+")
FAILED = Ended(
    Outcome(Job("m.mrc", "m", "", {}, ""), None, Failure("input", "broken")), is_final=True
)


def test_the_log_has_what_is_printed_with_the_time_and_is_appended_to(run, movie_folder, tmp_path):
    log = tmp_path / "run.log"
    words = ("align", movie_folder / "a.tiff", "--out", tmp_path / "out", "--log", log, *OPTIONS)

    first, second = run(*words), run(*words)

    lines = log.read_text().splitlines()
    assert (first.code, second.code) == (0, 0)
    assert all(STAMPED.fullmatch(line) for line in lines)
    said = [line[20:] for line in lines]
    assert [line for line in said if line.startswith("a.tiff: motion ")]
    assert set(said) >= set(second.err.splitlines())
    assert sum(bool(re.match(r"\d movies? done", line)) for line in said) == 2


def test_a_log_is_rotated_and_keeps_its_predecessors(tmp_path, monkeypatch):
    monkeypatch.setattr(log_file, "MAX_BYTES", 200)
    monkeypatch.setattr(log_file, "PREDECESSORS", 2)
    with log_file.log_lines(tmp_path / "run.log", print) as write:
        for number in range(30):
            write(f"line {number}")

    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["run.log", "run.log.1", "run.log.2"]
    assert (tmp_path / "run.log").read_text().endswith("line 29\n")
    assert all(path.stat().st_size <= 200 for path in tmp_path.iterdir())


@pytest.mark.parametrize("name", ["run.log", "run.log.1"])
def test_a_file_that_is_no_log_is_neither_appended_to_nor_rotated(
    run, movie_folder, tmp_path, name
):
    (tmp_path / name).write_text("my notes\n")
    words = ("--out", tmp_path / "out", "--log", tmp_path / "run.log", *OPTIONS)

    outcome = run("align", movie_folder / "a.tiff", *words)

    assert outcome.code == OccupiedError.exit_code
    assert f"{name}: expected a log of flexalign" in outcome.err
    assert (tmp_path / name).read_text() == "my notes\n"
    assert not list((tmp_path / "out").glob("*_record.json"))


def test_a_movie_cannot_be_the_log(run, movie_folder, tmp_path):
    movie = tmp_path / "m.mrc"
    movie.write_bytes((movie_folder / "b.mrc").read_bytes())

    outcome = run("align", movie, "--out", tmp_path / "out", "--log", movie, *OPTIONS)

    assert outcome.code == 3
    assert movie.read_bytes() == (movie_folder / "b.mrc").read_bytes()


def test_commands_read_the_events_of_movies_and_of_the_end(run, movie_folder, tmp_path):
    broken = tmp_path / "broken.mrc"
    broken.write_bytes(b"no movie")
    append = "sh -c " + shlex.quote(f"cat >> {tmp_path}/")
    after, at_end = append.replace(f"{tmp_path}/", f"{tmp_path}/movies"), append.replace(
        f"{tmp_path}/", f"{tmp_path}/end"
    )  # fmt: skip

    outcome = run(
        "align", movie_folder / "a.tiff", broken, "--out", tmp_path / "out",
        "--after-movie", after, "--at-end", at_end, *OPTIONS,
    )  # fmt: skip

    told = [json.loads(line) for line in (tmp_path / "movies").read_text().splitlines()]
    end = json.loads((tmp_path / "end").read_text())
    assert outcome.code == 1
    assert sorted(event["event"] for event in told) == ["done", "failed"]
    assert (end["event"], end["done"], end["failed"]) == ("finished", 1, 1)


def test_a_command_that_fails_is_reported_and_changes_nothing(run, movie_folder, tmp_path):
    words = ("--out", tmp_path / "out", "--after-movie", "sh -c 'echo oh no >&2; exit 7'", *OPTIONS)

    outcome = run("align", movie_folder / "a.tiff", *words)

    assert outcome.code == 0
    assert "failed with exit code 7: oh no" in outcome.err


def test_what_a_command_prints_is_shown_and_in_the_log(run, movie_folder, tmp_path):
    log = tmp_path / "run.log"
    after = "sh -c " + shlex.quote("echo unimportant; echo one >&2; echo >&2; echo two >&2")
    at_end = "sh -c " + shlex.quote("echo told the group >&2")
    words = ("--out", tmp_path / "out", "--after-movie", after, "--at-end", at_end, "--log", log)

    outcome = run("align", movie_folder / "a.tiff", *words, *OPTIONS)

    for shown in (outcome.err, log.read_text()):
        ends = [line.split(maxsplit=2)[-1] for line in shown.splitlines()]
        assert {"one", "two", "told the group"} <= {*ends, *shown.splitlines()}
        assert "unimportant" not in shown


@pytest.mark.parametrize("command", ["", "no-such-program now", "echo 'open"])
def test_a_command_that_cannot_run_is_refused(command):
    with pytest.raises(ParameterError, match="--at-end: expected"):
        Hooks(None, command, lambda event: None)


def test_watching_says_what_it_waits_for(run, movie_folder, tmp_path):
    outcome = run(
        "watch", movie_folder, "--pattern", "a.*", "--out", tmp_path / "out", "--settle", "0.1",
        "--idle", "0.01", *OPTIONS,
    )  # fmt: skip

    first, *others = outcome.err.splitlines()
    assert f"watching {movie_folder} and its subfolders for movies a.*; a movie is" in first
    assert "unchanged for 0.1 s" in first
    assert ".mdoc or .xml beside it" in first
    assert "until Ctrl-C or 0.01 minutes without a new movie" in first
    assert STAMPED.fullmatch(first)
    assert any(STAMPED.fullmatch(line) and "a.tiff: motion" in line for line in others)


def test_a_full_disk_under_the_log_is_reported_once_and_ends_nothing(tmp_path):
    before, problems = resource.getrlimit(resource.RLIMIT_FSIZE), []
    resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_LOG_BYTES, before[1]))
    try:
        with log_file.log_lines(tmp_path / "run.log", problems.append) as write:
            for number in range(30):
                write(f"line {number}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    assert len(problems) == 1
    assert "lines are missing in the log" in problems[0]
    assert (tmp_path / "run.log").stat().st_size <= MAX_LOG_BYTES


def test_an_error_that_stops_a_run_is_in_the_log(run, movie_folder, tmp_path):
    log = tmp_path / "run.log"
    words = ("--pixel-size", "1.5", "--dose-per-frame", "900", "--log", log)

    outcome = run("align", movie_folder, "--out", tmp_path / "out", *words)

    assert outcome.code == 2
    last = log.read_text().splitlines()[-1]
    assert STAMPED.fullmatch(last)
    assert "error: --dose-per-frame: expected at most 300 e/A2" in last


def test_a_run_that_the_dose_stops_leaves_no_tables(run, movie_folder, tmp_path):
    words = ("--pixel-size", "1.5", "--dose-per-frame", "900")

    run("align", movie_folder, "--out", tmp_path / "out", *words)

    left = [path.name for path in (tmp_path / "out").iterdir() if not path.name.startswith(".")]
    assert left == []


@pytest.mark.parametrize("stop", [SystemExit, KeyboardInterrupt])
def test_a_run_that_ends_at_once_leaves_no_command_behind(tmp_path, stop):
    """The command waits for a pipe that nobody writes to."""
    pid_file = tmp_path / "pid"
    os.mkfifo(tmp_path / "fifo")
    script = f"echo $$ > {pid_file}.part; mv {pid_file}.part {pid_file}; exec cat fifo"
    command = "sh -c " + shlex.quote(f"cd {tmp_path}; {script}")

    def run_until_stopped():
        with Hooks(command, None, lambda event: None) as hooks:
            hooks(FAILED)
            while not pid_file.exists():
                pass
            raise stop

    with pytest.raises(stop):
        run_until_stopped()

    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)


def test_a_process_that_a_command_leaves_in_the_background_is_not_waited_for(tmp_path):
    """The process waits for a pipe that nobody writes to."""
    os.mkfifo(tmp_path / "fifo")
    command = "sh -c " + shlex.quote(f"cd {tmp_path}; cat fifo & echo $! > pid")
    seen = []

    with Hooks(command, None, seen.append) as hooks:
        hooks(FAILED)

    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
    assert seen == [FAILED]
