"""A tilt series under way: which of its movies are awaited, and what is known of the others."""

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

# Tilts are measured without neighbours, and again by what these said.
MEASURING_ROUNDS = 2


class PendingSeries:
    """A series whose movies have not all ended; movies are known by their resolved paths.

    Parameters
    ----------
    series : as it was understood
    key : of the work
    needs_prior : its tilts are measured before any is aligned

    Attributes
    ----------
    series : the same without the tilts that have been lost since
    awaited : movies that have not ended
    unmeasured : of these, the ones that are to be measured in this round
    """

    def __init__(self, series: TiltSeries, key: str, *, needs_prior: bool) -> None:
        self.series, self.key = series, key
        self.awaited = {resolved(movie) for movie in movies_of(series)}
        self.unmeasured = set(self.awaited) if needs_prior else set()
        self._statistics: dict[Path, TiltStatistics | None] = {}
        self._priors: dict[Path, SeriesPrior | None] = {}
        self._rounds = 0

    def job_facts(self, movie: Path) -> dict[str, Any]:
        """What the job of a movie has of its series, as fields of `Job`."""
        return {
            "series_key": self.key,
            "only_measures": movie in self.unmeasured,
            "prior": self._priors.get(movie),
        }

    def measure(self, movie: Path, statistics: TiltStatistics | None) -> bool:
        """Take in what a tilt says of the others; whether it was the last of this round."""
        if movie not in self.unmeasured:
            return False
        self.unmeasured.remove(movie)
        self._statistics[movie] = statistics
        return not self.unmeasured

    def priors_task(self) -> Callable[[], Priors]:
        """What computes the prior of each tilt, by what the others said in this round."""
        angles = {resolved(tilt.movie): tilt.angle_deg for tilt in self.series.used}
        return partial(priors_by_movie, angles, dict(self._statistics))

    def begin_round(self, priors: Priors) -> list[Path]:
        """The movies to be measured again, or aligned after the last round, with these priors."""
        self._priors = dict(priors)
        self._rounds += 1
        if self._rounds < MEASURING_ROUNDS:
            self.unmeasured, self._statistics = set(self.awaited), {}
        return [movie for movie in movies_of(self.series) if resolved(movie) in self.awaited]

    def lose(self, losses: Mapping[int, tuple[str, str]]) -> list[Path]:
        """Leave out tilts; the movies of earlier exposures of their angles, which are awaited now.

        They are measured if others still are; else they have the prior of the tilt that is lost,
        which neighbours of the same angle have given.

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
        """Give the priors of tilts that are lost to those that replace them."""
        by_order = {tilt.order: tilt for tilt in self.series.tilts}
        for order in losses:
            lost, spare = by_order[order], by_order.get(by_order[order].replaced_by)
            prior = self._priors.get(resolved(lost.movie))
            if spare is not None and prior is not None:
                path = replace(prior.path, frame_count=spare.frame_count)
                self._priors[resolved(spare.movie)] = replace(prior, path=path)
