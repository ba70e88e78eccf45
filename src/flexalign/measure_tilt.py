"""The motion of one movie of a tilt series, and what the priors of the other tilts need of it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from flexalign.alignment_request import device_for
from flexalign.estimate.model_selection import estimate_motion
from flexalign.estimate.result import statistics_of
from flexalign.estimate.series import default_prior
from flexalign.estimate.series_prior import SeriesPrior, TiltStatistics
from flexalign.io.movies.open_movie import open_for
from flexalign.io.references import references_for
from flexalign.motion import Motion
from flexalign.params import AlignParams, given_params
from flexalign.passes import first_pass
from flexalign.plan import make_plan
from flexalign.progress import Progress, silent
from flexalign.stages import AT_ONCE, Stages
from flexalign.timing import StageTimer


class MeasuredTilt(NamedTuple):
    """The motion of one movie of a tilt series, before its frames are summed.

    Attributes
    ----------
    motion : as `align_movie` would apply it with the same prior
    chosen : name of the candidate that was kept
    statistics : for `estimate.series.series_priors`; None when the motion was not refined
    """

    motion: Motion
    chosen: str
    statistics: TiltStatistics | None


def measure_tilt(
    movie: str | Path,
    params: AlignParams | None = None,
    *,
    series_prior: SeriesPrior | None = None,
    progress: Progress = silent,
    stages: Stages = AT_ONCE,
) -> MeasuredTilt:
    """The motion of one movie of a tilt series, and its statistics for the priors of the others.

    Parameters
    ----------
    series_prior : prior from the other tilts in an earlier round; None = the default prior, as in
        the first round
    stages : call the stages, of which this has the computing only

    Raises
    ------
    FlexAlignError
        As `align_movie`.
    """
    return stages.compute(lambda: _measured(movie, given_params(params), series_prior, progress))


def _measured(
    movie: str | Path, params: AlignParams, series_prior: SeriesPrior | None, progress: Progress
) -> MeasuredTilt:
    """As `measure_tilt`."""
    clock = StageTimer()
    with open_for(movie, params) as reader:
        plan = make_plan(reader.info, params)
        device = device_for(plan, params)
        references = references_for(reader.info, params)
        threads = params.thread_count
        with device.active():
            frames, _ = first_pass(reader, plan, references, params, threads, progress, device)
            prior = series_prior or default_prior(plan.movie.frame_count)
            estimate = estimate_motion(frames, plan, params, threads, clock, prior)
    return MeasuredTilt(estimate.motion, estimate.chosen, statistics_of(estimate, plan))
