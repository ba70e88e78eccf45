"""The loop of a run: second tries, full disks, and what is told of it."""

from __future__ import annotations

import csv
import json
import math
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from terminal import read_all

from flexalign.batch import events
from flexalign.batch.executors import InProcess
from flexalign.batch.failures import Failure
from flexalign.batch.folder import RunFolder
from flexalign.batch.jobs import Job, Outcome, Stage, throttled
from flexalign.batch.local_processes import LocalProcesses
from flexalign.batch.run import Run
from flexalign.batch.sources import Listed
from flexalign.batch.throughput import Throughput
from flexalign.cli.run_display import counts_line
from flexalign.io.record import read_record
from flexalign.io.writing.ownership import resolved
from flexalign.params import AlignParams

PARAMS = AlignParams(pixel_size_A=1.5, psd=False, refine=False)
OPTIONS = ("--pixel-size", "1.5", "--no-psd", "--no-refine")


def go(folder: Path, movies: list[Path], observe, executor: LocalProcesses):
    """The summary of a run in which `observe` sees all events."""
    folder.mkdir(exist_ok=True)
    return Run(RunFolder(folder, PARAMS), executor, Listed(movies), observe).go()


@pytest.mark.parametrize("times", [1, 2])
def test_a_movie_whose_worker_is_killed_has_one_more_try(movies, tmp_path, times):
    executor, seen = LocalProcesses(2), []
    victim = str(movies / "m1.mrcs")

    def observe(event: events.Event) -> None:
        seen.append(event)
        kills = sum(isinstance(e, events.Ended) and e.outcome.job.movie == victim for e in seen)
        if isinstance(event, Stage) and event.movie == victim and kills < times:
            for worker in executor.processes:
                if victim in worker.movies:
                    os.kill(worker.pid, signal.SIGKILL)

    summary = go(tmp_path / "run", sorted(movies.iterdir()), observe, executor)

    ends = [e for e in seen if isinstance(e, events.Ended) and e.outcome.job.movie == victim]
    assert [e.is_final for e in ends] == [False, True]
    assert ends[1].outcome.job.runs_alone
    assert (summary.done, summary.failed) == ((3, 0) if times == 1 else (2, 1))
    assert summary.failures == ({} if times == 1 else {"worker-died": 1})
    assert summary.exit_code == (0 if times == 1 else 1)
    rows = (tmp_path / "run" / "failed.tsv").read_text().splitlines()[1:]
    assert [row.split("\t")[:2] for row in rows] == [[victim, "worker-died"]] * (times - 1)


def test_a_full_disk_ends_the_run_and_fails_no_movie_for_good(tmp_path, write_movie, flexalign):
    """The file size that a process may write stands for the space that is left."""
    for number in range(6):
        write_movie(tmp_path / "movies" / f"m{number}.mrcs", number)
    words = ["align", tmp_path / "movies", "--out", tmp_path / "run", *OPTIONS, "--jobs", "1"]
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (15_000, 15_000)); "
        "from flexalign.cli import main; main()"
    )

    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, check=False
    )

    assert done.returncode == 3
    assert done.stderr.splitlines()[-1].startswith("error: cannot write")
    assert done.stderr.count("error: ") == 4
    assert flexalign(*words)[0] == 0
    assert len(list((tmp_path / "run").glob("*_record.json"))) == 6


def test_events_in_json_tell_the_whole_run(movies, tmp_path, flexalign):
    (movies / "bad.mrcs").write_bytes(b"no movie")

    code, out, err = flexalign("align", movies, "--out", tmp_path / "run", *OPTIONS, "--json")

    told = [json.loads(line) for line in out.splitlines()]
    kinds = [event["event"] for event in told]
    assert (code, err) == (1, "")
    assert {kind: kinds.count(kind) for kind in ("queued", "done", "failed", "finished")} == {
        "queued": 4, "done": 3, "failed": 1, "finished": 1
    }  # fmt: skip
    assert "stage" in kinds
    (failed,) = [event for event in told if event["event"] == "failed"]
    assert failed["type"] == "input"
    assert failed["advice"]
    assert told[-1]["event"] == "finished"
    assert told[-1]["movies_per_hour"] > 0
    assert told[-1]["limit"]


def test_a_run_in_this_process_does_the_same(movies, tmp_path, flexalign):
    code, out, _ = flexalign(
        "align", movies, "--out", tmp_path / "run", *OPTIONS, "--jobs", "0", "--json"
    )

    last = json.loads(out.splitlines()[-1])
    assert (code, last["done"]) == (0, 3)
    assert last["busy_part"] > 0.9


def test_plain_lines_end_with_the_rate_and_what_limits_it(movies, tmp_path, flexalign):
    code, out, err = flexalign("align", movies, "--out", tmp_path / "run", *OPTIONS)

    lines = err.splitlines()
    assert (code, out) == (0, "")
    assert sum(": motion " in line for line in lines) == 3
    [done] = [line for line in lines if line.startswith("3 movies done")]
    assert re.fullmatch(r"3 movies done in \d+:\d\d:\d\d, \d+ per hour", done)
    assert lines[lines.index(done) + 1].startswith("Bottleneck: ")


def test_a_terminal_shows_counts_rate_and_stages(movies, tmp_path):
    ours, theirs = pty.openpty()
    words = ["align", str(movies), "--out", str(tmp_path / "run"), *OPTIONS, "--jobs", "1"]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "160"}
    with subprocess.Popen(
        [sys.executable, "-m", "flexalign", *words], stderr=theirs, stdout=theirs, env=environment
    ) as process:
        os.close(theirs)
        shown = read_all(ours)
    os.close(ours)

    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown)
    assert process.returncode == 0
    assert re.search(r"m\d\.mrcs .*(measure|estimate|sum)", plain)
    assert re.search(r"1 done, 0 failed, 2 to do, \d+ movies per hour, \d+:\d\d:\d\d left", plain)
    assert re.search(r"seconds per movie: references [\d.]+, first pass", plain)
    assert plain.count(": motion ") == 3
    assert "waiting for movies" not in plain


@pytest.mark.parametrize("is_open", [False, True])
def test_a_run_waits_for_movies_only_while_more_may_come(is_open):
    line = counts_line(Throughput(), 0, 0, is_open=is_open)

    assert ("waiting for movies" in line) == is_open


def test_sigterm_ends_a_run_at_once_and_keeps_what_is_done(tmp_path, write_movie, start):
    for number in range(12):
        write_movie(tmp_path / "movies" / f"m{number:02}.mrcs", number)
    run = tmp_path / "run"
    process = start("align", tmp_path / "movies", "--out", run, *OPTIONS, "--jobs", "1")
    while len(list(run.glob("*_record.json"))) < 2:  # the run knows of the first by then
        time.sleep(0.02)

    process.terminate()
    process.communicate(timeout=20)

    index = json.loads((run / "run.json").read_text())
    assert process.returncode == 128 + signal.SIGTERM
    assert 1 <= index["done"] < 12
    assert index["summary"]["unfinished"] == 12 - index["done"]


def ended(wall_s: float, cpu_s: float, threads: int = 1) -> Outcome:
    record = {"timings_s": {"first pass": wall_s / 4, "writing": 3 * wall_s / 4}}
    return Outcome(Job("m", "m", "", {}, ""), record, None, wall_s, cpu_s, threads)


@pytest.mark.parametrize(
    ("cpu_s", "running", "said"),
    [
        (9.0, 3, "computing (CPU 90% busy)"),
        (2.0, 3, "longest stage: writing, 75% of the time"),
        (math.nan, 3, "longest stage: writing, 75% of the time"),
        (9.0, 1, "too few movies at a time"),
    ],
)
def test_the_summary_says_what_limited_the_run(cpu_s, running, said):
    throughput = Throughput()
    throughput.end(ended(5.0, cpu_s, threads=2))
    time.sleep(0.01)
    throughput.note(side_by_side=3, running=running, waiting=0)

    assert said in throughput.summary().limit


def test_time_without_work_does_not_count_as_too_few_movies():
    throughput = Throughput()
    time.sleep(0.001)
    throughput.note(side_by_side=2, running=2, waiting=0)
    time.sleep(0.01)
    throughput.note(side_by_side=2, running=0, waiting=0)
    throughput.end(ended(5.0, cpu_s=9.0, threads=2))

    assert throughput.summary().busy_part == 1
    assert "computing" in throughput.summary().limit


def test_warnings_are_said_once_and_counted_at_the_end(movies, tmp_path, flexalign):
    words = ("--pixel-size", "1.4", "--jobs", "1")
    _, _, err = flexalign("align", movies, "--out", tmp_path / "run", *words)

    said = "no dose-weighted micrograph: the dose per frame is not known (--dose-per-frame)"
    lines = err.splitlines()
    assert lines.count(f"warning: {said}") == 1
    assert f"warning: {said}: 3 of 3 movies" in lines
    summary = json.loads((tmp_path / "run" / "run.json").read_text())["summary"]
    recorded = said.replace("--dose-per-frame", "`dose_per_frame_e_A2`")
    assert summary["warnings"][recorded] == 3


def test_time_without_work_and_failures_do_not_count_in_the_rate():
    throughput = Throughput()
    throughput.note(side_by_side=1, running=1, waiting=0)
    throughput.end(ended(1.0, 1.0))
    throughput.note(side_by_side=1, running=1, waiting=0)
    busy = throughput.movies_per_hour, throughput.summary().movies_per_hour

    throughput.note(side_by_side=1, running=0, waiting=0)

    assert (throughput.movies_per_hour, throughput.summary().movies_per_hour) == busy
    assert busy[0] == busy[1] > 0
    throughput.end(failed("n"))
    assert throughput.summary().movies_per_hour == busy[1]


def failed(movie: str) -> Outcome:
    return Outcome(Job(movie, movie, "", {}, ""), None, Failure("input", "x", 3))


def test_a_movie_that_was_read_too_early_and_is_done_later_counts_as_done():
    throughput = Throughput()
    throughput.end(failed("m"))
    assert throughput.summary().exit_code == 3

    throughput.end(ended(1.0, 1.0))

    summary = throughput.summary()
    assert (summary.done, summary.failed, summary.failures) == (1, 0, {})
    assert summary.exit_code == 0


def test_tables_records_and_report_agree_on_the_time_of_a_movie(movies, tmp_path, flexalign):
    run = tmp_path / "run"
    flexalign("align", movies, "--out", run, *OPTIONS, "--jobs", "1")

    def seconds(name: str) -> dict[str, float]:
        with (run / name).open() as file:
            return {row["movie"]: float(row["seconds"]) for row in csv.DictReader(file)}

    in_table, in_report = seconds("micrographs.csv"), seconds("report.csv")
    assert len(in_table) == 3
    assert in_table == pytest.approx(in_report, abs=0.006, rel=5e-4)
    for path in run.glob("*_record.json"):
        record = read_record(path)
        assert in_table[record.inputs["movie"]["path"]] == pytest.approx(record.seconds, abs=0.006)


class Stalled:
    """A source of a copy that stalls, so that it is taken too early, and is completed later."""

    backlog, incomplete, movies = 0, (), ()

    def __init__(self, movie: Path) -> None:
        self._movie, self._content, self._times = movie, movie.read_bytes(), 0

    @property
    def is_open(self) -> bool:
        return self._times < 2

    def take(self) -> list[Path]:
        whole = len(self._content)
        self._movie.write_bytes(self._content[: whole if self._times else whole // 2])
        self._times += 1
        return [self._movie] if self._times <= 2 else []


def test_a_copy_that_stalls_and_then_completes_ends_as_done(movies, tmp_path):
    (tmp_path / "run").mkdir()
    folder, seen = RunFolder(tmp_path / "run", PARAMS), []

    summary = Run(folder, InProcess(1), Stalled(movies / "m0.mrcs"), seen.append).go()

    ends = [event.outcome.failure for event in seen if isinstance(event, events.Ended)]
    assert [failure is None for failure in ends] == [False, True]
    assert (summary.done, summary.failed, summary.exit_code) == (1, 0, 0)
    assert (tmp_path / "run" / "failed.tsv").read_text().count("\n") == 1


def test_a_run_that_did_nothing_has_no_rate():
    throughput = Throughput()
    throughput.skip("m", None)

    summary = throughput.summary()

    assert math.isnan(summary.movies_per_hour)
    assert (summary.done_before, summary.exit_code, summary.limit) == (1, 0, "")


def test_the_exit_code_is_that_of_the_failures_only_when_nothing_else_is(tmp_path):
    only_failed, some_done = Throughput(), Throughput()
    for throughput in (only_failed, some_done):
        throughput.skip("before", Failure("parameter", "x", 2))
    some_done.end(ended(1.0, 1.0))

    assert only_failed.summary().exit_code == 2
    assert some_done.summary().exit_code == 1


@pytest.mark.parametrize("is_stopped", [False, True])
def test_only_a_run_that_ends_by_itself_calls_movies_incomplete(tmp_path, is_stopped):
    """One that is stopped has not looked at them to the end."""

    class WithOneLeft(Listed):
        incomplete = (Path("m.mrcs"),)

    run = Run(RunFolder(tmp_path, PARAMS), InProcess(1), WithOneLeft([]), lambda event: None)
    if is_stopped:
        run.stop()

    summary = run.go()

    assert summary.incomplete == (() if is_stopped else ("m.mrcs",))
    assert summary.exit_code == (0 if is_stopped else 1)


@pytest.mark.parametrize(("interval_s", "sent"), [(math.inf, [0, 2]), (-1.0, [0, 1, 2])])
def test_progress_is_sent_at_each_stage_and_after_the_interval(interval_s, sent):
    news = [("measure", 0, 2), ("measure", 1, 2), ("sum", 0, 1)]
    received: list[tuple[str, int, int]] = []
    tell = throttled(lambda *one: received.append(one), interval_s)

    for one in news:
        tell(*one)

    assert received == [news[n] for n in sent]


class Endless(Listed):
    """A source to which more movies may come."""

    is_open = True


def test_a_watch_that_is_stopped_says_so_and_leaves_no_empty_tables(tmp_path):
    run = Run(RunFolder(tmp_path, PARAMS), InProcess(1), Endless([]), lambda event: None)
    run.stop()

    summary = run.go()

    assert summary.is_stopped
    assert summary.exit_code == 130
    assert list(tmp_path.iterdir()) == []


def test_parameters_of_one_movie_that_cannot_be_are_its_failure_and_the_others_go_on(
    movies, tmp_path
):
    (tmp_path / "run").mkdir()
    folder, paths = RunFolder(tmp_path / "run", PARAMS), sorted(movies.iterdir())
    wrong = {resolved(paths[0]): {"voltage_kV": 3.0}}

    summary = Run(
        folder, InProcess(1), Listed(paths), lambda event: None,
        own=lambda movie: wrong.get(movie, {}),
    ).go()  # fmt: skip

    assert (summary.done, summary.failures) == (2, {"parameter": 1})
    assert "--voltage: expected at least 60 kV" in (tmp_path / "run" / "failed.tsv").read_text()
    index = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (index["failed"], index["summary"]["failed"]) == (1, 1)
