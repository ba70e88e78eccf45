"""When a series in a watched folder is complete, and who may do the work."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_series import check_tables
from tilts_data import DOSE, Section, dose_symmetric, write_mdoc, write_movie, write_series

from flexalign.batch.events import Ended, Event, Measured
from flexalign.batch.failures import Failure
from flexalign.batch.folder import RunFolder
from flexalign.batch.jobs import Job, Outcome
from flexalign.batch.series import SeriesWork
from flexalign.batch.series_folder import SeriesFolder
from flexalign.batch.watching_series import SeriesWatch, WatchedSeries
from flexalign.errors import InputError
from flexalign.params import AlignParams
from flexalign.tilts.understanding import SeriesChoices, understand


class Clock:
    """Seconds as the test has them."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def watched(tmp_path: Path, clock: Clock, **choices: object) -> WatchedSeries:
    """A source that watches the folder ``in``."""
    params = AlignParams()
    for name in ("in", "out/tilts"):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
    heard: list[Event] = []
    work = SeriesWork(
        SeriesFolder(tmp_path / "out"), RunFolder(tmp_path / "out" / "tilts", params), heard.append
    )
    choices = {"quiet_s": 600.0, "settle_s": 20.0, "poll_s": 1.0, **choices}
    return WatchedSeries(
        tmp_path / "in", SeriesWatch(**choices),
        lambda source: understand(source, params, SeriesChoices(movies=tmp_path / "in")),
        work, clock=clock,
    )  # fmt: skip


def grow(folder: Path, count: int) -> None:
    """The series of 5 tilts with its first `count`, as it is written tilt by tilt."""
    sections = []
    for number, angle in enumerate(dose_symmetric(5)[:count]):
        movie = folder / f"TS_{number + 1:03}_{angle:.1f}.mrcs"
        if not movie.exists():
            write_movie(movie, angle)
        sections.append(Section(angle, movie.name, number, 60.0 * number))
    write_mdoc(folder / "TS.mdoc", sections)


def test_a_series_that_grows_is_waited_for_until_it_is_quiet(tmp_path):
    clock = Clock()
    source = watched(tmp_path, clock)
    for count in (2, 3, 4):
        grow(tmp_path / "in", count)
        clock.now += 400
        assert not source.take()
        assert source.backlog == 1

    clock.now += 599
    assert not source.take()
    clock.now += 2
    assert len(source.take()) == 4
    assert source.backlog == 0
    clock.now += 1000
    assert not source.take()


def test_a_series_of_the_number_of_tilts_is_taken_when_it_has_settled(tmp_path):
    clock = Clock()
    source = watched(tmp_path, clock, tilts=5)
    grow(tmp_path / "in", 4)
    source.take()
    clock.now += 30
    assert not source.take()
    grow(tmp_path / "in", 5)
    late = tmp_path / "in" / "TS_005_6.0.mrcs"
    late.rename(tmp_path / "in" / "part")
    clock.now += 30
    assert not source.take()
    clock.now += 30
    assert not source.take()
    (tmp_path / "in" / "part").rename(late)
    clock.now += 5
    assert not source.take()
    clock.now += 21

    names = [path.name for path in source.take()]

    # Nearest to zero first, so that the gain is checked there.
    assert names[0] == "TS_001_0.0.mrcs"
    assert len(names) == 5


def test_a_series_that_goes_on_later_is_taken_again(tmp_path):
    clock = Clock()
    source = watched(tmp_path, clock)
    grow(tmp_path / "in", 3)
    source.take()
    clock.now += 601
    assert len(source.take()) == 3
    grow(tmp_path / "in", 5)
    clock.now += 10
    assert not source.take()
    clock.now += 601
    assert len(source.take()) == 5


def test_jobs_of_a_series_that_was_begun_anew_do_not_count_for_it(tmp_path):
    """The series has grown while its first tilts were measured."""
    clock = Clock()
    source = watched(tmp_path, clock)
    work = source.work
    grow(tmp_path / "in", 4)
    source.take()
    clock.now += 601
    movies = source.take()
    old = {movie: Job(str(movie), movie.stem, "", {}, "", **work.of_series(movie))
           for movie in movies}  # fmt: skip
    grow(tmp_path / "in", 5)
    clock.now += 10
    assert not source.take()
    clock.now += 601
    assert len(source.take()) == 5

    for job in old.values():
        work(Measured(Outcome(job, None, None)))
        work(Ended(Outcome(job, None, Failure("input", "broken")), is_final=True))

    assert work.awaited_count == 5
    assert all(work.of_series(movie)["only_measures"] for movie in movies)
    assert not work.take_released()


def test_a_series_begun_anew_while_it_is_written_stays_in_progress(tmp_path):
    clock = Clock()
    source = watched(tmp_path, clock)
    work = source.work
    grow(tmp_path / "in", 4)
    source.take()
    clock.now += 601
    for movie in source.take():
        job = Job(str(movie), movie.stem, "", {}, "", **work.of_series(movie))
        work(Ended(Outcome(job, None, Failure("input", "broken")), is_final=True))
    grow(tmp_path / "in", 5)
    clock.now += 10
    source.take()
    clock.now += 601
    assert len(source.take()) == 5

    work.finish()

    assert work.awaited_count == 5


def test_series_without_mdoc_files_are_watched_by_names(tmp_path):
    clock = Clock()
    source = watched(tmp_path, clock, name_pattern="{series}_{order}_{angle}")
    grow(tmp_path / "in", 3)
    (tmp_path / "in" / "TS.mdoc").unlink()
    source.take()
    clock.now += 601
    assert len(source.take()) == 3


def test_an_old_series_is_not_waited_for(tmp_path):
    clock = Clock()
    source = watched(tmp_path, clock)
    grow(tmp_path / "in", 3)
    for path in (tmp_path / "in").iterdir():
        os.utime(path, (time.time() - 3600,) * 2)
    source.take()
    clock.now += 2
    assert len(source.take()) == 3


def test_the_idle_time_counts_from_the_first_listing(tmp_path):
    clock = Clock()
    (tmp_path / "in").mkdir(exist_ok=True)
    source = watched(tmp_path, clock, idle_s=60.0)
    clock.now += 100
    assert source.is_open
    source.take()
    clock.now += 59
    assert source.is_open
    clock.now += 2
    assert not source.is_open


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(InputError, match="gone: no such folder to watch"):
        WatchedSeries(tmp_path / "gone", SeriesWatch(), None, None)


def test_watching_writes_stacks_and_ends_when_idle(tmp_path, run):
    write_series(tmp_path / "in", angles=dose_symmetric(3))

    code, _, err = run(
        tmp_path / "in", "--out", tmp_path / "in" / "out", "--tilt-series", "--tilts", "3",
        "--settle", "1", "--poll", "1", "--idle", "0.05",
        command="watch",
    )  # fmt: skip

    assert code == 0, err
    check_tables(tmp_path / "in" / "out", "TS_1", [-3, 0, 3], [3, 1, 2])
    record = json.loads((tmp_path / "in" / "out" / "TS_1_record.json").read_text())
    before = {
        Path(m).name: r["parameters"]["pre_exposure_e_A2"] for m, r in record["movies"].items()
    }
    assert sorted(before.values()) == [0.0, DOSE, 2 * DOSE]


def test_a_dose_of_frames_is_no_option_for_series(tmp_path, run):
    (tmp_path / "in").mkdir()

    code, _, err = run(
        tmp_path / "in", "--out", tmp_path / "out", "--tilt-series", "--dose-per-frame", DOSE,
        command="watch",
    )  # fmt: skip

    assert code == 2
    assert "--tilt-dose" in err


def test_a_dask_cluster_does_the_work_on_series(tmp_path, run):
    pytest.importorskip("distributed")
    write_series(tmp_path / "in", angles=dose_symmetric(3))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"
    words = {
        "dask_scheduler": ["--host", "127.0.0.1", "--port", str(port), "--no-dashboard"],
        "dask_worker": [address, "--nthreads", "1", "--no-dashboard", "--local-directory",
                        str(tmp_path)],
    }  # fmt: skip
    programs = [
        subprocess.Popen(
            [sys.executable, "-m", f"distributed.cli.{program}", *arguments],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        for program, arguments in words.items()
    ]  # fmt: skip
    try:
        code, _, err = run(
            tmp_path / "in", "--out", tmp_path / "out", "--scheduler", address, jobs=False
        )
    finally:
        for program in programs:
            program.kill()
            program.wait()

    assert code == 0, err
    check_tables(tmp_path / "out", "TS_1", [-3, 0, 3], [3, 1, 2])
