from __future__ import annotations

import numpy as np

from flexalign.estimate.anderson import AndersonSteps


def test_steps_that_remember_end_a_linear_iteration_sooner():
    matrix = np.diag([0.9, 0.5, -0.4])
    rounds = {}
    for name, steps in (("plain", None), ("remembering", AndersonSteps())):
        place, rounds[name] = np.ones(3), 0
        while np.abs(change := matrix @ place - place).max() > 1e-6:
            place = place + (change if steps is None else steps.next(place, change))
            rounds[name] += 1
        assert np.abs(place).max() < 1e-4

    assert rounds["remembering"] < 0.3 * rounds["plain"]


def test_the_first_step_is_as_asked_and_one_at_the_end_is_none():
    steps = AndersonSteps()
    change = np.array([[0.5, -1.0]])

    assert np.array_equal(steps.next(np.zeros((1, 2)), change), change)
    assert np.array_equal(steps.next(change, np.zeros((1, 2))), np.zeros((1, 2)))
