"""Where to look for a motion: starts, and what each leads to."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import reduce
from itertools import chain

import numpy as np

from flexalign.estimate import pairwise, patches
from flexalign.estimate.candidates import direction_without_motion, try_from
from flexalign.estimate.frames import SmallFrames
from flexalign.estimate.patch_spectra import COARSEST_RESOLUTION_A
from flexalign.estimate.path_search import is_erratic, straight_path, straight_path_by_halves
from flexalign.estimate.series_prior import SeriesPrior
from flexalign.estimate.starts import Start
from flexalign.estimate.trials import Trial, better
from flexalign.model import FloatArray
from flexalign.motion import MotionField
from flexalign.params import AlignParams
from flexalign.plan import Plan

# So often the only direction with motion is measured, along better motions each time.
_DIRECTION_ROUNDS = 2
# Groups of frames to pair when single frames are too faint for it.
_FEW_GROUPS = 8
# Limits of the pairwise stage to try when nothing is found, each with the coarsest rings to use.
_COARSER_A = ((60.0, COARSEST_RESOLUTION_A), (100.0, math.inf))


class Search:
    """Where to start from, in one set of frames; what is made of each is a `Trial`."""

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
        self.shape = None if plan.control_points is None else empty_field(plan)
        self.straight_px: tuple[FloatArray, tuple[FloatArray, FloatArray]] | None = None

    def from_pairs(self, max_images: int, resolution_A: float | None = None) -> Start:
        """The pairwise motion of at most `max_images` frames or groups of them."""
        limit_A = resolution_A or self.params.max_resolution_A
        with self.clock("pairwise"):
            # Made anew where it is needed twice: it would stand in the way of the refinement.
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

    def made_of(
        self, start: Start, shape: MotionField | None, series: SeriesPrior | None = None
    ) -> Trial:
        """What a start leads to, with a field of the given shape or without one.

        Where data tell of one direction only, motion in the other is left out, unless that makes
        unseen data far less probable.
        """
        given = shape, self.frames, self.plan, self.params, self.threads, series
        with self.clock("refinement"):
            trial = try_from(start, *given)
            for _ in range(_DIRECTION_ROUNDS if series is None else 0):
                if trial.direction is None or trial.start.is_along(trial.direction):
                    break
                along = try_from(start.along(trial.direction), *given)
                if trial.is_clearly_better(along):
                    break
                trial = along
        return trial

    def by_series(self, series: SeriesPrior) -> Trial:
        """From the pairs and from what other tilts expect, whichever is more probable in the end.

        Without motion as its rival: that a stage which moves in all other tilts stands still in
        this one is as improbable as the prior says.
        """
        starts = [replace(self.from_pairs(pairwise.MAX_IMAGES), coarsest_A=math.inf)]
        if series.signal.is_known:
            expected_px = series.path.mean_px(self.frames.frame)
            starts.append(replace(starts[0], path_px=expected_px, field=None))
        trials = [self.made_of(start, self.shape, series) for start in starts]
        return max(trials, key=_log_posterior)

    def from_default_starts(self) -> Trial:
        """From the pairs, and from wherever else a motion may be where that is not sure."""
        start = self.from_pairs(pairwise.MAX_IMAGES)
        trial = self.made_of(start, self.shape)
        if trial.chosen == "none" or not trial.held_out.is_sure:
            for other in self.others(start, trial):
                trial = better(trial, self.made_of(other, self.shape))
        return trial

    def others(self, start: Start, trial: Trial) -> Iterator[Start]:
        """Starts beside the one that led to `trial`."""
        if trial.pairs_led_astray and len(self.frames.frame) > _FEW_GROUPS:
            # Single frames are too faint to be paired; groups of them may not be.
            start = self.from_pairs(_FEW_GROUPS)
            yield start
        if not self.params.refine:
            return
        if start.field is not None:
            # Tracks of patches may lead astray where the path does not.
            yield replace(start, field=None)
        # Weak signal may be found from rest, or by all frames together.
        yield self.still(start)
        straight = None if trial.held_out.is_surely("none") else self.straight(start)
        if straight is not None:
            yield straight

    def along_one_direction(self, start: Start) -> Iterator[Trial]:
        """Of data that tell of one direction only, motion in that, wherever else none is found."""
        if self.straight_px is None:  # there is so much signal that motion would have shown
            return
        with self.clock("direction"):
            direction = direction_without_motion(self.frames, self.plan, self.params, self.threads)
        if direction is None:
            return
        for one in chain(self._by_all_frames(start), self._by_coarser_pairs()):
            along = replace(one.along(direction), coarsest_A=math.inf)
            if not is_erratic(along.path_px):
                yield self.made_of(along, self.shape)

    def still(self, start: Start) -> Start:
        """No motion, in place of that of `start`."""
        return replace(start, path_px=np.zeros_like(start.path_px), field=None)

    def straight(self, start: Start) -> Start | None:
        """The simple path along which all frames agree best, if that is any, likewise."""
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

    def wider(self, start: Start, has_signal: bool) -> Iterator[Trial]:
        """The best of where to look when usual ways find no motion, one after the other.

        Where pairs are not believed, all rings can judge what halves of them have found, and pairs
        of coarse detail leave more rings unseen.  A trajectory alone asks less of the data.  Where
        there `has_signal` in fine detail, coarser detail need not be asked.
        """
        shapes = [self.shape] if self.shape is None else [self.shape, None]
        if has_signal and self.straight_px is None:
            return
        for shape in shapes:
            trials = [self.made_of(one, shape) for one in self._by_all_frames(start)]
            yield reduce(better, trials)
        if has_signal:
            return
        for found in self._by_coarser_pairs():
            if is_erratic(found.path_px):
                continue
            for shape in shapes:
                yield self.made_of(replace(found, field=shape and found.field), shape)

    def _by_all_frames(self, start: Start) -> Iterator[Start]:
        """The simple path and no motion, which all rings may judge."""
        for one in (self.straight(start), self.still(start)):
            if one is not None:
                yield replace(one, seen_to_A=math.inf)

    def _by_coarser_pairs(self) -> Iterator[Start]:
        """The motion of pairs by coarser detail than usual, from fine to coarse."""
        for resolution_A, coarsest_A in _COARSER_A:
            if resolution_A > self.params.max_resolution_A:
                found = self.from_pairs(pairwise.MAX_IMAGES, resolution_A)
                yield replace(found, coarsest_A=coarsest_A)


def _log_posterior(trial: Trial) -> float:
    """How probable its refined motion is; nothing is less so than what was not refined."""
    return -math.inf if trial.log_posterior is None else trial.log_posterior


def empty_field(plan: Plan) -> MotionField:
    """A field of the planned size, zero everywhere."""
    assert plan.control_points is not None
    movie = plan.movie
    coefficients = np.zeros((2, *plan.control_points))
    return MotionField(coefficients, movie.height_px, movie.width_px, plan.align)
