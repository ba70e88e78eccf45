"""A series under way: rounds of measuring, and earlier exposures in place of those lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from flexalign.batch.pending_series import PendingSeries
from flexalign.estimate.series import default_prior
from flexalign.tilts.exposures import without_repeats
from flexalign.tilts.model import Tilt, TiltSeries

ANGLES = (0.0, 3.0, -3.0, 6.0, 3.01, 2.99)
FRAMES = (6, 5, 6, 6, 6, 6)
PLACES = [Path(f"/m{order}.mrc") for order in range(1, 7)]


@pytest.fixture
def series() -> TiltSeries:
    """Exposures 2, 5 and 6 are of one angle."""
    tilts = [
        Tilt(order, order, angle, 3.0, 3.0 * order, movie=str(place), frame_count=frames)
        for order, angle, place, frames in zip(range(1, 7), ANGLES, PLACES, FRAMES, strict=True)
    ]
    return TiltSeries("TS", "TS.mdoc", tuple(without_repeats(tilts)))


def used(pending: PendingSeries) -> list[int]:
    return sorted(tilt.order for tilt in pending.series.used)


def test_of_three_exposures_the_latest_that_is_not_lost_is_used(series):
    pending = PendingSeries(series, "key", needs_prior=False)
    assert used(pending) == [1, 3, 4, 6]
    assert [tilt.replaced_by for tilt in series.tilts] == [0, 6, 0, 0, 6, 0]

    assert pending.leave_out({6: ("failed", "broken")}) == [PLACES[4]]
    assert used(pending) == [1, 3, 4, 5]
    assert pending.leave_out({5: ("dark", "")}) == [PLACES[1]]
    assert used(pending) == [1, 2, 3, 4]
    assert pending.leave_out({2: ("failed", "broken")}) == []

    kinds = {tilt.order: tilt.left_out for tilt in pending.series.left_out}
    assert kinds == {2: "failed", 5: "dark", 6: "failed"}
    assert [tilt.order for tilt in pending.series.tilts if tilt.is_lost] == [2, 6]


def test_one_that_is_lost_while_others_are_measured_is_replaced_by_one_to_be_measured(series):
    pending = PendingSeries(series, "key", needs_prior=True)
    for place in (PLACES[0], PLACES[2], PLACES[3]):
        assert not pending.measure(place, None)

    assert pending.leave_out({6: ("failed", "broken")}) == [PLACES[4]]
    assert not pending.measure(PLACES[5], None)
    assert pending.job_facts(PLACES[4])["only_measures"]
    assert pending.measure(PLACES[4], None)


def test_one_that_replaces_a_tilt_after_measuring_has_its_prior(series):
    pending = PendingSeries(series, "key", needs_prior=True)
    priors = {place: default_prior(6) for place in PLACES if place not in (PLACES[1], PLACES[4])}
    pending.begin_round(priors)
    pending.begin_round(priors)
    pending.unmeasured.clear()

    pending.leave_out({6: ("failed", "broken")})
    pending.leave_out({5: ("dark", "")})

    facts = pending.job_facts(PLACES[1])
    assert not facts["only_measures"]
    assert facts["prior"].path.frame_count == FRAMES[1]
    assert facts["prior"].path.expected_px is priors[PLACES[5]].path.expected_px


def test_all_that_are_awaited_are_measured_in_each_round(series):
    pending = PendingSeries(series, "key", needs_prior=True)
    first = set(pending.unmeasured)
    for place in first:
        pending.measure(place, None)

    assert set(pending.begin_round({})) == first == pending.unmeasured
    for place in first:
        pending.measure(place, None)
    assert set(pending.begin_round({})) == first
    assert not pending.unmeasured
