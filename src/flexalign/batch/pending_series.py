"""A tilt series in progress: its unfinished movies, and the results of the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flexalign.batch.series_folder import movies_of
from flexalign.batch.series_priors import priors_by_movie
from flexalign.io.writing.ownership import resolved
from flexalign.tilts.exposures import without_lost
from flexalign.tilts.model import TiltSeries

if TYPE_CHECKING:
    from flexalign.estimate.series_prior import SeriesPrior, TiltStatistics

Priors = Mapping[Path, "SeriesPrior | None"]

# Tilts are measured first with the default prior, then with priors from their neighbours.
MEASURING_ROUNDS = 2


class PendingSeries:
    """A series with unfinished movies, which are identified by their resolved paths.

    Parameters
    ----------
    series : as interpreted
    key : of the work
    needs_prior : whether its tilts are measured before any is aligned

    Attributes
    ----------
    series : the same without the tilts lost since
    awaited : unfinished movies
    unmeasured : those of them to be measured in this round
    """

    def __init__(self, series: TiltSeries, key: str, *, needs_prior: bool) -> None:
        self.series, self.key = series, key
        self.awaited = {resolved(movie) for movie in movies_of(series)}
        self.unmeasured = set(self.awaited) if needs_prior else set()
        self._statistics: dict[Path, TiltStatistics | None] = {}
        self._priors: dict[Path, SeriesPrior | None] = {}
        self._rounds = 0

    def job_facts(self, movie: Path) -> dict[str, Any]:
        """Fields of the `Job` of a movie that come from its series."""
        return {
            "series_key": self.key,
            "only_measures": movie in self.unmeasured,
            "prior": self._priors.get(movie),
        }

    def measure(self, movie: Path, statistics: TiltStatistics | None) -> bool:
        """Store the statistics of a tilt; return whether it was the last of this round."""
        if movie not in self.unmeasured:
            return False
        self.unmeasured.remove(movie)
        self._statistics[movie] = statistics
        return not self.unmeasured

    def priors_task(self) -> Callable[[], Priors]:
        """Function that estimates the prior of each tilt from the others in this round."""
        angles = {resolved(tilt.movie): tilt.angle_deg for tilt in self.series.used}
        return partial(priors_by_movie, angles, dict(self._statistics))

    def begin_round(self, priors: Priors) -> list[Path]:
        """The movies to be measured again with these priors, or aligned after the last round."""
        self._priors = dict(priors)
        self._rounds += 1
        if self._rounds < MEASURING_ROUNDS:
            self.unmeasured, self._statistics = set(self.awaited), {}
        return [movie for movie in movies_of(self.series) if resolved(movie) in self.awaited]

    def leave_out(self, losses: Mapping[int, tuple[str, str]]) -> list[Path]:
        """Leave out tilts; return the movies of earlier exposures that replace them.

        These are measured if others still are; else they inherit the prior of the lost tilt of the
        same angle.

        Parameters
        ----------
        losses : kind and reason, by order of exposure
        """
        known = {resolved(movie) for movie in movies_of(self.series)}
        self.series = without_lost(self.series, losses)
        spare = [movie for movie in movies_of(self.series) if resolved(movie) not in known]
        places = {resolved(movie) for movie in spare}
        self.awaited |= places
        if self.unmeasured:
            self.unmeasured |= places
        else:
            self._inherit_priors(losses)
        return spare

    def _inherit_priors(self, losses: Mapping[int, tuple[str, str]]) -> None:
        """Pass the priors of lost tilts to those that replace them."""
        by_order = {tilt.order: tilt for tilt in self.series.tilts}
        for order in losses:
            lost, spare = by_order[order], by_order.get(by_order[order].replaced_by)
            prior = self._priors.get(resolved(lost.movie))
            if spare is not None and prior is not None:
                path = replace(prior.path, frame_count=spare.frame_count)
                self._priors[resolved(spare.movie)] = replace(prior, path=path)
