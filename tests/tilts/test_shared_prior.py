"""All tilts of a series are measured before any is aligned, each with a prior by the others."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import mrcfile
import pytest
from test_series import check_tables, left_out
from tilts_data import dose_symmetric, write_series

from flexalign.batch.events import Ended, Event, Measured
from flexalign.batch.executors import InProcess
from flexalign.batch.folder import RunFolder
from flexalign.batch.jobs import Job
from flexalign.batch.listed_series import ListedSeries
from flexalign.batch.run import Run
from flexalign.batch.series import SeriesWork
from flexalign.batch.series_folder import SeriesFolder
from flexalign.params import AlignParams
from flexalign.tilts.reading import read_sources
from flexalign.tilts.understanding import SeriesChoices, understand

PARAMS = AlignParams(odd_even=True, dose_weight=False, psd=False, threads=1)


class Remembering(InProcess):
    """An executor in this process that remembers its jobs."""

    def __init__(self) -> None:
        super().__init__(1)
        self.jobs: list[Job] = []

    def submit(self, job: Job) -> None:
        self.jobs.append(job)
        super().submit(job)


def go(
    tmp_path: Path, mdoc: Path, params: AlignParams = PARAMS, **choices: Any
) -> tuple[list[Job], list[Event]]:
    """The jobs and events of a run on one series."""
    events: list[Event] = []
    tilts = tmp_path / "out" / "tilts"
    tilts.mkdir(parents=True, exist_ok=True)
    folder = RunFolder(tilts, params)
    work = SeriesWork(SeriesFolder(tmp_path / "out"), folder, events.append, **choices)
    sources, _ = read_sources([str(mdoc)])
    series = [understand(source, params, SeriesChoices()) for source in sources]
    executor = Remembering()
    source = ListedSeries(series, work)
    Run(
        folder,
        executor,
        source,
        work,
        own=lambda movie: work.own.get(movie, {}),
        of_series=work.of_series,
    ).go()
    work.finish()
    assert not work.is_unfinished
    return executor.jobs, events


def motions(out: Path) -> dict[str, Any]:
    """The motion of each movie of the series, as its record has it."""
    record = json.loads((out / "TS_1_record.json").read_text())
    return {movie: kept["motion"] for movie, kept in record["movies"].items()}


def test_every_tilt_is_measured_first_and_then_aligned_with_its_own_prior(tmp_path):
    mdoc = write_series(tmp_path / "in", angles=dose_symmetric(5))

    jobs, events = go(tmp_path, mdoc)

    assert [job.only_measures for job in jobs] == [True] * 10 + [False] * 5
    assert [job.movie for job in jobs[:5]] * 2 == [job.movie for job in jobs[5:]]
    assert [job.prior for job in jobs[:5]] == [None] * 5
    assert all(job.prior is not None for job in jobs[5:])
    priors = [job.prior for job in jobs[10:]]
    # Each by the others: no two are alike.
    expected = {prior.path.expected_px.tobytes() for prior in priors}
    assert len(expected) == 5
    assert sum(isinstance(event, Measured) for event in events) == 10
    assert sum(isinstance(event, Ended) for event in events) == 5
    check_tables(tmp_path / "out", "TS_1", [-6, -3, 0, 3, 6], [4, 3, 1, 2, 5])


def test_without_the_prior_each_tilt_is_aligned_once_and_by_itself(tmp_path):
    mdoc = write_series(tmp_path / "in", angles=dose_symmetric(5))

    shared, _ = go(tmp_path / "a", mdoc)
    alone, _ = go(tmp_path / "b", mdoc, shares_prior=False)

    assert [job.only_measures for job in alone] == [False] * 5
    assert all(job.prior is None for job in alone)
    assert {job.series_key for job in shared}.isdisjoint({job.series_key for job in alone})
    assert motions(tmp_path / "a" / "out") != motions(tmp_path / "b" / "out")


@pytest.mark.parametrize(("count", "orders"), [(1, [1]), (3, [3, 1, 2])])
def test_so_few_tilts_say_nothing_of_each_other_and_are_not_measured(tmp_path, count, orders):
    mdoc = write_series(tmp_path / "in", angles=dose_symmetric(count))

    jobs, _ = go(tmp_path, mdoc)

    assert [(job.only_measures, job.prior) for job in jobs] == [(False, None)] * count
    check_tables(tmp_path / "out", "TS_1", sorted(dose_symmetric(count)), orders)


def test_a_tilt_that_cannot_be_measured_costs_no_other(tmp_path):
    mdoc = write_series(tmp_path / "in", angles=dose_symmetric(6))
    with mrcfile.open(tmp_path / "in" / "TS_1_003_-3.0.mrcs", "r+") as file:
        file.data[:] = 0

    jobs, _ = go(tmp_path, mdoc)

    aligned = [job for job in jobs if not job.only_measures]
    assert len(aligned) == 5
    assert all(job.prior is not None for job in aligned)
    assert left_out(tmp_path / "out") == {"TS_1_003_-3.0.mrcs": "failed"}
    check_tables(tmp_path / "out", "TS_1", [-6, 0, 3, 6, 9], [4, 1, 2, 5, 6])


def test_tilts_that_are_kept_are_not_done_again_unless_the_prior_is_another(tmp_path):
    mdoc = write_series(tmp_path / "in", angles=dose_symmetric(5))
    go(tmp_path, mdoc, keep_tilts=True)
    (tmp_path / "out" / "TS_1.mrc").unlink()

    again, _ = go(tmp_path, mdoc, keep_tilts=True)
    anew, _ = go(tmp_path, mdoc, keep_tilts=True, redo=True)
    alone, _ = go(tmp_path, mdoc, keep_tilts=True, shares_prior=False)

    assert again == []
    assert sum(job.only_measures for job in anew) == 10
    assert len(alone) == 5
    check_tables(tmp_path / "out", "TS_1", [-6, -3, 0, 3, 6], [4, 3, 1, 2, 5])


def test_a_run_that_is_stopped_while_it_measures_goes_on_later(tmp_path, run):
    mdoc = write_series(tmp_path / "in", angles=dose_symmetric(5))
    words = ["tilt-series", mdoc, "--out", tmp_path / "out", "--jobs", "1", "--json"]
    with subprocess.Popen(
        [sys.executable, "-m", "flexalign", *map(str, words)],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    ) as process:  # fmt: skip
        for line in process.stdout:
            if json.loads(line)["event"] == "stage":
                break
        process.send_signal(signal.SIGINT)
        events = [json.loads(line)["event"] for line in process.stdout]

    assert process.returncode == 130
    assert events[-1] == "finished"
    assert not (tmp_path / "out" / "TS_1.mrc").exists()
    code, _, err = run(mdoc, "--out", tmp_path / "out", refine=True)
    assert code == 0, err
    check_tables(tmp_path / "out", "TS_1", [-6, -3, 0, 3, 6], [4, 3, 1, 2, 5])
