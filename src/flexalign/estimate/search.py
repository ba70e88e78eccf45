"""Search for a motion from several starts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import reduce
from itertools import chain

import numpy as np

from flexalign.estimate import pairwise, patches
from flexalign.estimate.candidates import direction_without_motion, run_trial
from flexalign.estimate.frames import SmallFrames
from flexalign.estimate.patch_spectra import COARSEST_RESOLUTION_A
from flexalign.estimate.path_search import is_erratic, straight_path, straight_path_by_halves
from flexalign.estimate.series_prior import SeriesPrior
from flexalign.estimate.starts import Start, empty_field
from flexalign.estimate.trials import Trial, better
from flexalign.estimate.variational import averaged_trial
from flexalign.model import FloatArray
from flexalign.motion import MotionField
from flexalign.params import AlignParams
from flexalign.plan import Plan

# Number of times the only determined direction is measured, along an improved motion each time.
_DIRECTION_ROUNDS = 2
# Number of groups of frames to correlate when single frames have too little signal.
_FEW_GROUPS = 8
# Limits of the pairwise stage to try when nothing is found, each with the coarsest rings to use.
_COARSER_A = ((60.0, COARSEST_RESOLUTION_A), (100.0, math.inf))


class Search:
    """Starts for one set of frames, and the `Trial` from each."""

    def __init__(
        self,
        frames: SmallFrames,
        plan: Plan,
        params: AlignParams,
        threads: int,
        clock: Callable[[str], AbstractContextManager[None]],
    ) -> None:
        self.frames, self.plan, self.params = frames, plan, params
        self.threads, self.clock = threads, clock
        self.shape = empty_field(plan)
        self.straight_px: tuple[FloatArray, tuple[FloatArray, FloatArray]] | None = None

    def from_pairs(self, max_images: int, resolution_A: float | None = None) -> Start:
        """The pairwise motion of at most `max_images` frames or groups of them."""
        limit_A = resolution_A or self.params.max_resolution_A
        with self.clock("pairwise"):
            # Not kept for a second call: the refinement needs the memory.
            small = self.frames.downsampled(self.plan.pairwise_shape_px, self.threads)
            path, pairs = pairwise.global_trajectory(
                small, limit_A, self.params.max_shift_A, self.threads, max_images
            )
        if self.shape is None:
            return Start(self.frames.frame, path, pairs, None, None, limit_A)
        with self.clock("patches"):
            tracks, likelihood = patches.track_patches(
                small, path, self.plan.patches, self.plan.group_frames, limit_A, self.threads
            )
            field = patches.fit_local_field(likelihood, self.shape)
        return Start(self.frames.frame, path, pairs, tracks, field, limit_A)

    def trial_from(
        self, start: Start, shape: MotionField | None, series: SeriesPrior | None = None
    ) -> Trial:
        """The trial from a start, with a field of the given shape or without one.

        Where the data determine one direction only, motion is restricted to that, unless held-out
        data are far less probable then.
        """
        given = shape, self.frames, self.plan, self.params, self.threads, series
        with self.clock("refinement"):
            trial = run_trial(start, *given)
            for _ in range(_DIRECTION_ROUNDS if series is None else 0):
                if trial.direction is None or trial.start.is_along(trial.direction):
                    break
                along = run_trial(start.along(trial.direction), *given)
                if trial.is_significantly_better(along):
                    break
                trial = along
        return trial

    def averaged(self, trial: Trial) -> Trial:
        """A trial with the refined motion averaged over its posterior."""
        with self.clock("refinement"):
            return averaged_trial(trial, self.frames, self.plan, self.params, self.threads)

    def with_series_prior(self, series: SeriesPrior) -> Trial:
        """From the pairs and from the prior mean; the result of higher posterior density.

        "No motion" is no candidate: how probable it is for a stage that moves in all other tilts,
        follows from the prior.
        """
        starts = [replace(self.from_pairs(pairwise.MAX_IMAGES), coarsest_A=math.inf)]
        if series.signal.is_known:
            expected_px = series.path.mean_px(self.frames.frame)
            starts.append(replace(starts[0], path_px=expected_px, field=None))
        trials = [self.trial_from(start, self.shape, series) for start in starts]
        return max(trials, key=_log_posterior)

    def from_default_starts(self) -> Trial:
        """From the pairs and, where the result is uncertain, from the other starts."""
        start = self.from_pairs(pairwise.MAX_IMAGES)
        trial = self.trial_from(start, self.shape)
        if trial.chosen == "none" or not trial.held_out.is_strong:
            for other in self.other_starts(start, trial):
                trial = better(trial, self.trial_from(other, self.shape))
        return trial

    def other_starts(self, start: Start, trial: Trial) -> Iterator[Start]:
        """Starts other than that of `trial`."""
        if trial.pairwise_failed and len(self.frames.frame) > _FEW_GROUPS:
            # Groups of frames may have enough signal for peaks where single ones do not.
            start = self.from_pairs(_FEW_GROUPS)
            yield start
        if not self.params.refine:
            return
        if start.field is not None:
            # The patch tracks may be wrong where the global path is right.
            yield replace(start, field=None)
        # With weak signal, start from zero motion, or from the correlation of all frames together.
        yield self.still(start)
        straight = None if trial.held_out.has_strong_signal("none") else self.straight(start)
        if straight is not None:
            yield straight

    def along_one_direction(self, start: Start) -> Iterator[Trial]:
        """Where the data determine one direction only: trials restricted to it, from all starts."""
        if self.straight_px is None:  # the signal is so strong that motion would have been found
            return
        with self.clock("direction"):
            direction = direction_without_motion(self.frames, self.plan, self.params, self.threads)
        if direction is None:
            return
        for one in chain(self._by_all_frames(start), self._by_coarser_pairs()):
            along = replace(one.along(direction), coarsest_A=math.inf)
            if not is_erratic(along.path_px):
                yield self.trial_from(along, self.shape)

    def still(self, start: Start) -> Start:
        """The same start with zero motion."""
        return replace(start, path_px=np.zeros_like(start.path_px), field=None)

    def straight(self, start: Start) -> Start | None:
        """The same start with the path of `path_search`; None if that is zero."""
        if self.straight_px is None:
            with self.clock("straight path"):
                side_A = patches.side_A(
                    self.frames, patches.make_grid(self.frames, self.plan.patches)
                )
                self.straight_px = (
                    straight_path(self.frames, self.threads),
                    straight_path_by_halves(self.frames, side_A, self.threads),
                )
        path, halves = self.straight_px
        return replace(start, path_px=path, field=None, halves_px=halves) if path.any() else None

    def wider_search(self, start: Start, has_signal: bool) -> Iterator[Trial]:
        """Trials of a wider search, when the default starts find no motion.

        Without the pairs, all rings are available for scoring the refinements on halves; pairs from
        coarser detail hold out more rings.  A trajectory without field has fewer parameters.  If
        fine detail `has_signal`, coarser detail is not searched.
        """
        shapes = [self.shape] if self.shape is None else [self.shape, None]
        if has_signal and self.straight_px is None:
            return
        for shape in shapes:
            trials = [self.trial_from(one, shape) for one in self._by_all_frames(start)]
            yield reduce(better, trials)
        if has_signal:
            return
        for found in self._by_coarser_pairs():
            if is_erratic(found.path_px):
                continue
            for shape in shapes:
                yield self.trial_from(replace(found, field=shape and found.field), shape)

    def _by_all_frames(self, start: Start) -> Iterator[Start]:
        """The simple path and zero motion, with all rings held out."""
        for one in (self.straight(start), self.still(start)):
            if one is not None:
                yield replace(one, pairwise_limit_A=math.inf)

    def _by_coarser_pairs(self) -> Iterator[Start]:
        """The pairwise motion from coarser detail than the default, from fine to coarse."""
        for resolution_A, coarsest_A in _COARSER_A:
            if resolution_A > self.params.max_resolution_A:
                found = self.from_pairs(pairwise.MAX_IMAGES, resolution_A)
                yield replace(found, coarsest_A=coarsest_A)


def _log_posterior(trial: Trial) -> float:
    """Log posterior density of its refined motion, -inf if it was not refined."""
    return -math.inf if trial.log_posterior is None else trial.log_posterior
