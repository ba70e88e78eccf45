"""The verdict on a gain reference: its values, the decision rule and its wording."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from flexalign.gain.limits import GAIN_MARGIN_SD, GAIN_MIN_SHARE, GAIN_NONE_SHARE, GAIN_SURE_SD
from flexalign.gain.matching import Match, Scene
from flexalign.model import JsonValue, PixelArray
from flexalign.orientation import Orientation
from flexalign.params import quoted

# A reference with less pixel-to-pixel variation is flat, so that every orientation fits.
MIN_VARIATION = 1e-4
# Sign with which the pattern of a reference appears in the counts.
SIGNS = {"multiply": -1.0, "divide": 1.0}
# Noise margin, in standard deviations, below an expected score.
_NOISE_SD = 3.0
_MAX_NAMED = 4
# With a smaller share of its pattern in the movies, a reference is noisy or outdated.
_GOOD_SHARE = 0.5
# Two orientations of a reference with at least this correlation count as the same.
_SAME = 1 - 1e-4


@dataclass(frozen=True, slots=True)
class Placement(JsonValue):
    """Orientation and sense of a reference: `--gain-rotate`, `--gain-flip` and `--gain-sense`.

    Attributes
    ----------
    rotate, flip : see `Orientation`; of several that do the same, the first of `ORIENTATIONS`
    sense : "multiply" or "divide"
    """

    rotate: int
    flip: str
    sense: str

    def describe(self) -> str:
        """The placement in words."""
        words = "multiplies" if self.sense == "multiply" else "divides"
        return f"{Orientation(self.rotate, self.flip).describe()}, {words}"


@dataclass(frozen=True, slots=True)
class Candidate(JsonValue):
    """The fit of a reference in one placement.

    Attributes
    ----------
    placement : orientation and sense
    size : of the reference: "same" as the movie's, "twice" or "half" of it
    score : significance of its pattern in the movies, in standard deviations of the noise
    part : fraction of the pattern that is in the movies: 1 where it fits, 0 where it does not
    margin : standard deviations by which the best placement fits better than this one; zero for
        the best itself
    is_same_as_best : the two are equal, as the reference is symmetrical
    """

    placement: Placement
    size: str
    score: float
    part: float
    margin: float = 0.0
    is_same_as_best: bool = False


@dataclass(frozen=True, slots=True)
class GainCheck(JsonValue):
    """Result of the check of a gain reference.

    Attributes
    ----------
    gain : path of the reference
    movies : paths of the movies read
    frame_count : number of frames read
    counts_per_px : mean counts of a pixel in all of these frames together
    variation : standard deviation of the logarithm of the reference from pixel to pixel
    given : the requested placement
    verdict : "fits" (the given placement does), "other" (another one does), "none" or "unsure"
    found : the placement that fits, None when none does or it is not known
    reason : why the verdict is unsure or none; "" otherwise
    movies_needed : estimated number of such movies for a verdict; None when more would not help
    candidates : best first
    """

    gain: str
    movies: tuple[str, ...]
    frame_count: int
    counts_per_px: float
    variation: float
    given: Placement
    verdict: str
    found: Placement | None = None
    reason: str = ""
    movies_needed: int | None = None
    candidates: tuple[Candidate, ...] = ()

    @property
    def is_mismatch(self) -> bool:
        """Whether the reference certainly does not fit as it was given."""
        return self.verdict in ("other", "none")

    def options(self) -> dict[str, str | int]:
        """The parameters to change for the placement found, with their values."""
        if self.found is None or self.verdict != "other":
            return {}
        found, given = self.found, self.given
        wanted: dict[str, str | int] = {}
        if (found.rotate, found.flip) != (given.rotate, given.flip):
            wanted = {"gain_rotate": found.rotate, "gain_flip": found.flip}
        return wanted if found.sense == given.sense else {**wanted, "gain_sense": found.sense}

    def describe(self) -> str:
        """The verdict in a sentence or two."""
        best = self.candidates[0] if self.candidates else None
        if best is None and self.verdict == "none":
            return f"the gain reference does not fit: {self.reason}"
        if self.verdict == "unsure" or best is None:
            more = ""
            if self.movies_needed is not None:
                s = "" if self.movies_needed == 1 else "s"
                more = f"; about {self.movies_needed} movie{s} like these are needed"
            return f"it is uncertain whether the gain reference fits: {self.reason}{more}"
        if self.verdict == "none":
            return (
                "the gain reference fits in no orientation: "
                f"{100 * max(best.part, 0):.1f} % of its pattern is in the movies at best. Is it "
                "of another detector, or are the movies gain-corrected already?"
            )
        only = "only " if best.part < _GOOD_SHARE else ""
        overlap_text = (
            f"score {best.score:.0f}, {only}{100 * best.part:.0f} % of its pattern is in the movies"
        )
        if self.verdict == "fits":
            return f"the gain reference fits ({self.given.describe()}): {overlap_text}"
        found = "" if self.found is None else self.found.describe()
        return (
            f"the gain reference does not fit as given ({self.given.describe()}); it fits with: "
            f"{found} ({overlap_text})"
        )

    def advice(self) -> str:
        """The parameters that make the reference fit, "" when unknown or not needed."""
        return " ".join(f"{quoted(name)} {value}" for name, value in self.options().items())


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """A reference in one orientation in which its size fits, and its match with the movies.

    Attributes
    ----------
    orientation, size : of the reference, see `Candidate`
    pattern : (h, w), see `reference_pattern`
    match : of the pattern with the excess of the movies
    """

    orientation: Orientation
    size: str
    pattern: PixelArray
    match: Match


def decided(
    check: GainCheck,
    trials: Sequence[Trial],
    scene: Scene,
    unweighted: Callable[[], Sequence[Match]],
    movies: float,
) -> GainCheck:
    """`check` with its candidates and the verdict that follows from them.

    - A placement is found from a score of `GAIN_SURE_SD` on, if it is better by `GAIN_MARGIN_SD`
      than every other one in which the reference is not the same, and if `GAIN_MIN_SHARE` of the
      pattern is there.
    - "none" needs enough electrons to exclude `GAIN_NONE_SHARE` of it in every orientation.
    - Anything else is "unsure".

    Parameters
    ----------
    trials : in every orientation that is possible by size
    scene : in which they were searched
    unweighted : gives their matches without whitening, so that no orientation is excluded that fits
        at some frequencies only, as when the reference is mostly noise at others
    movies : number of movies read, fractions included
    """
    ranked = _ranked(trials, scene)
    best = ranked[0]
    check = replace(check, candidates=tuple(ranked))
    weakest = min((trial.match for trial in trials), key=lambda match: match.expected)
    if best.score < GAIN_SURE_SD or best.part < GAIN_MIN_SHARE:
        if all(_max_share(match) < GAIN_NONE_SHARE for match in unweighted()):
            return replace(check, verdict="none")
        needed_sd = GAIN_SURE_SD + _NOISE_SD
        if weakest.expected >= needed_sd:  # a complete pattern would have been found
            needed_sd = (GAIN_MARGIN_SD + _NOISE_SD) / GAIN_NONE_SHARE
        needed = _movies_needed(weakest, needed_sd, movies)
        reason = f"too little of its pattern is in the movies (score {best.score:.1f})"
        return replace(check, reason=reason, movies_needed=needed)
    possible = [c for c in ranked if c.is_same_as_best or c.margin < GAIN_MARGIN_SD]
    if not all(c.is_same_as_best for c in possible):
        words = " or ".join(f"({c.placement.describe()})" for c in possible[:_MAX_NAMED])
        words += " or others" if len(possible) > _MAX_NAMED else ""
        needed = _movies_needed(weakest, math.sqrt(2) * weakest.expected, movies)
        return replace(check, reason=f"it may be {words}", movies_needed=needed)
    if any(c.placement == check.given for c in possible):
        return replace(check, verdict="fits", found=check.given)
    return replace(check, verdict="other", found=best.placement)


def _max_share(match: Match) -> float:
    """Upper bound of the share of the pattern that is in the movies, in either sense."""
    if match.expected == 0:
        return math.inf
    return (abs(match.score) + GAIN_MARGIN_SD) / match.expected


def _movies_needed(match: Match, needed_sd: float, movies: float) -> int | None:
    """Number of movies for an expected score of `needed_sd`; None when no number suffices."""
    if not 0 < match.expected < needed_sd < match.ceiling:
        return None
    # The counting noise falls with the number of electrons, the self-noise of the pattern stays.
    now, limit = match.expected**-2, match.ceiling**-2
    return max(math.ceil(movies * (now - limit) / (needed_sd**-2 - limit)), math.floor(movies) + 1)


def _ranked(trials: Sequence[Trial], scene: Scene) -> list[Candidate]:
    """All placements that are possible by size, the best first, with margins."""
    options = [
        (sign * trial.match.score, sign, sense, trial)
        for trial in trials
        for sense, sign in SIGNS.items()
    ]
    # A stable sort: of equal scores the simplest orientation comes first.
    options.sort(key=lambda option: -option[0])
    _, best_sign, _, best = options[0]
    ranked = []
    weighted = scene.weighted(best.pattern)
    for score, sign, sense, trial in options:
        likeness = float(np.vdot(weighted, trial.pattern)) * sign * best_sign
        likeness /= math.sqrt(best.match.energy * trial.match.energy)
        is_same = likeness > _SAME
        # Standard deviation of the difference of two correlated scores of unit variance.
        margin = (options[0][0] - score) / math.sqrt(max(2 * (1 - likeness), 2 - 2 * _SAME))
        candidate = Candidate(
            placement=Placement(trial.orientation.rotate, trial.orientation.flip, sense),
            size=trial.size,
            score=score,
            part=sign * trial.match.overlap / trial.match.energy,
            margin=0.0 if is_same else margin,
            is_same_as_best=is_same,
        )
        ranked.append(candidate)
    return ranked
