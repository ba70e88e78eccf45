"""Stages of several movies in one process: they overlap, and a failure stays with its movie."""

from __future__ import annotations

import threading
from concurrent.futures import Future

import pytest

from flexalign.batch.session import Session
from flexalign.stages import AT_ONCE

WAIT_S = 300.0
STAGES = ("read", "compute", "write")


def in_session(session, *movies):
    """The outcomes of functions, each called with the stages of a movie; errors are raised."""
    futures = []
    for movie in movies:
        futures.append(Future())

        def work(movie=movie, future=futures[-1]):
            try:
                future.set_result(movie(session.stages(reads_ahead=True)))
            except Exception as error:
                future.set_exception(error)

        session.begin(work)
    return futures


def test_one_movie_is_read_while_another_is_computed_and_a_third_is_written():
    """Each waits for the two others: without overlap none would end."""
    together = threading.Barrier(3)

    def movie(stage):
        return lambda stages: getattr(stages, stage)(lambda: together.wait(WAIT_S))

    futures = in_session(Session(3), *(movie(stage) for stage in STAGES))

    assert sorted(future.result(WAIT_S) for future in futures) == [0, 1, 2]


@pytest.mark.parametrize("stage", STAGES)
def test_each_stage_has_one_movie_at_a_time_in_one_thread(stage):
    threads, busy = set(), threading.Lock()

    def work():
        assert busy.acquire(blocking=False)
        threads.add(threading.get_ident())
        busy.release()

    def movie(stages):
        for _ in range(50):
            getattr(stages, stage)(work)

    for future in in_session(Session(3), *[movie] * 9):
        future.result(WAIT_S)
    assert len(threads) == 1


@pytest.mark.parametrize("stage", STAGES)
def test_a_failure_in_a_stage_is_that_of_its_movie_alone(stage):
    def bad(stages):
        getattr(stages, stage)(lambda: 1 / 0)

    def good(stages):
        return [getattr(stages, name)(lambda: name) for name in STAGES]  # noqa: B023

    before, failed, after = in_session(Session(3), good, bad, good)

    assert before.result(WAIT_S) == after.result(WAIT_S) == list(STAGES)
    with pytest.raises(ZeroDivisionError):
        failed.result(WAIT_S)


def test_with_one_place_nothing_overlaps_and_nothing_is_read_ahead():
    assert Session(1).stages(reads_ahead=True) is AT_ONCE
