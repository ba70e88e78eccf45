"""What is said of a gain reference, and when: the values, the sentences and the decision."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from flexalign.gain.matching import Match, Scene
from flexalign.model import JsonValue, PixelArray
from flexalign.orientation import Orientation
from flexalign.params import (
    GAIN_MARGIN_SD,
    GAIN_MIN_SHARE,
    GAIN_NONE_SHARE,
    GAIN_SURE_SD,
    option_name,
)

# Less than this from pixel to pixel is a flat reference, which any orientation fits.
MIN_VARIATION = 1e-4
# The sign with which the pattern of a reference is in the counts.
SIGNS = {"multiply": -1.0, "divide": 1.0}
# Chance may take so much from a score that is expected.
_NOISE_SD = 3.0
_MAX_NAMED = 4
# With less of its pattern in the movies a reference is noisy or old.
_MAX_SHARE = 0.5
# From this correlation of two orientations of a reference on, they are one: it is symmetrical.
_SAME = 1 - 1e-4


@dataclass(frozen=True, slots=True)
class Placement(JsonValue):
    """A reference as `--gain-rotate`, `--gain-flip` and `--gain-sense` have it.

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
    """How well a reference fits in one placement.

    Attributes
    ----------
    placement : orientation and sense
    size : of the reference: "same" as the movie's, "twice" or "half" of it
    score : standard deviations of chance by which its pattern is in the movies
    part : of the pattern that is in the movies: 1 where it fits, 0 where it does not
    margin : standard deviations by which the best placement fits better than this one; zero for
        the best itself
    is_same_as_best : the two differ in nothing, as the reference is symmetrical
    """

    placement: Placement
    size: str
    score: float
    part: float
    margin: float = 0.0
    is_same_as_best: bool = False


@dataclass(frozen=True, slots=True)
class GainCheck(JsonValue):
    """What the check of a gain reference found.

    Attributes
    ----------
    gain : path of the reference
    movies : paths of those looked at
    frame_count : frames read of them
    counts_per_px : mean counts of a pixel in all of these frames together
    variation : standard deviation of the logarithm of the reference from pixel to pixel
    given : the placement that was asked for
    verdict : "fits" (the given placement does), "other" (another one does), "none" or "unsure"
    found : the placement that fits, None when none does or that is not known
    reason : why nothing is known, or why none can fit; "" otherwise
    movies_needed : about how many movies like these would tell; None when that is not the point
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
        """Whether it is clear that the reference does not fit as it was given."""
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
        """What was found in a sentence or two."""
        best = self.candidates[0] if self.candidates else None
        if best is None and self.verdict == "none":
            return f"the gain reference does not fit: {self.reason}"
        if self.verdict == "unsure" or best is None:
            more = ""
            if self.movies_needed is not None:
                s = "" if self.movies_needed == 1 else "s"
                more = f"; about {self.movies_needed} movie{s} like these would tell"
            return f"it is not sure whether the gain reference fits: {self.reason}{more}"
        if self.verdict == "none":
            return (
                "the gain reference fits in no orientation: "
                f"{100 * max(best.part, 0):.1f} % of its pattern is in the movies at best. Is it "
                "of another detector, or are the movies corrected already?"
            )
        only = "only " if best.part < _MAX_SHARE else ""
        said = (
            f"score {best.score:.0f}, {only}{100 * best.part:.0f} % of its pattern is in the movies"
        )
        if self.verdict == "fits":
            return f"the gain reference fits ({self.given.describe()}): {said}"
        found = "" if self.found is None else self.found.describe()
        return (
            f"the gain reference does not fit as given ({self.given.describe()}); it fits {found}: "
            f"{said}"
        )

    def advice(self) -> str:
        """What to type so that the reference fits, "" when that is not known or not needed."""
        return " ".join(f"{option_name(name)} {value}" for name, value in self.options().items())


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """A reference in one orientation in which its size fits, and how far it is in the movies.

    Attributes
    ----------
    orientation, size : of the reference, see `Candidate`
    pattern : (h, w) of its logarithm
    match : of that with the excess of the movies
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
    - "none" needs electrons enough to exclude that `GAIN_NONE_SHARE` is there in any orientation.
    - Anything else is "unsure".

    Parameters
    ----------
    trials : in every orientation that is possible by size
    scene : in which they were looked for
    unweighted : gives their matches without weights, by which no orientation is excluded that fits
        in some frequencies only, as where the reference holds more noise than signal in others
    movies : number of movies read, with parts
    """
    ranked = _ranked(trials, scene)
    best = ranked[0]
    check = replace(check, candidates=tuple(ranked))
    weakest = min((trial.match for trial in trials), key=lambda match: match.expected)
    if best.score < GAIN_SURE_SD or best.part < GAIN_MIN_SHARE:
        if all(_max_share(match) < GAIN_NONE_SHARE for match in unweighted()):
            return replace(check, verdict="none")
        needed_sd = GAIN_SURE_SD + _NOISE_SD
        if weakest.expected >= needed_sd:  # it would have been found if all of it were there
            needed_sd = (GAIN_MARGIN_SD + _NOISE_SD) / GAIN_NONE_SHARE
        needed = _movies_needed(weakest, needed_sd, movies)
        reason = f"too little of it is seen in the movies (score {best.score:.1f})"
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
    """The part of the pattern that may be in the movies at most, in either sense."""
    if match.expected == 0:
        return math.inf
    return (abs(match.score) + GAIN_MARGIN_SD) / match.expected


def _movies_needed(match: Match, needed_sd: float, movies: float) -> int | None:
    """Movies that would bring the expected score to `needed_sd`; None when no number would."""
    if not 0 < match.expected < needed_sd < match.ceiling:
        return None
    # What electrons add to the variance falls with their number, the rest stays.
    now, limit = match.expected**-2, match.ceiling**-2
    return max(math.ceil(movies * (now - limit) / (needed_sd**-2 - limit)), math.floor(movies) + 1)


def _ranked(trials: Sequence[Trial], scene: Scene) -> list[Candidate]:
    """All placements that are possible by size, the best first, with margins."""
    options = [
        (sign * trial.match.score, sign, sense, trial)
        for trial in trials
        for sense, sign in SIGNS.items()
    ]
    # Of equal ones that which was tried first, which takes the fewest steps.
    options.sort(key=lambda option: -option[0])
    _, best_sign, _, best = options[0]
    ranked = []
    weighted = scene.weighted(best.pattern)
    for score, sign, sense, trial in options:
        likeness = float(np.vdot(weighted, trial.pattern)) * sign * best_sign
        likeness /= math.sqrt(best.match.energy * trial.match.energy)
        is_same = likeness > _SAME
        # Of two scores of unit variance with this correlation.
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
