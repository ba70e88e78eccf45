"""The priors of the tilts of a series, estimated in the background of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path

from flexalign.batch.failures import explain
from flexalign.estimate.series import series_priors
from flexalign.estimate.series_prior import SeriesPrior, TiltStatistics


def priors_by_movie(
    angles_deg: Mapping[Path, float], statistics: Mapping[Path, TiltStatistics | None]
) -> dict[Path, SeriesPrior | None]:
    """The prior of each tilt, estimated from the others, by path of its movie."""
    places = sorted(angles_deg, key=lambda place: angles_deg[place])
    angles = [angles_deg[place] for place in places]
    found = series_priors(angles, [statistics.get(place) for place in places])
    return dict(zip(places, found, strict=True))


def result_or_none(
    future: Future[Mapping[Path, SeriesPrior | None]], say: Callable[[str], None], name: str
) -> Mapping[Path, SeriesPrior | None]:
    """The priors of the series `name`; empty, with a note, if the estimation failed."""
    try:
        return future.result()
    except Exception as error:
        say(f"{name}: no shared prior, each tilt is aligned by itself: {explain(error).message}")
        return {}
