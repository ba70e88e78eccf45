"""Two alignments compared over the movies of a session: differences, intervals, a verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from flexalign.model import FloatArray, JsonValue
from flexalign.scoring.movie_scores import (
    GLOBAL,
    NO_MOTION,
    MotionScore,
    MovieScores,
    with_names,
)
from flexalign.scoring.ratio_limits import ratio_limits

CONFIDENCE = 0.95
# All of n samples are on one side of the median with a probability of 2^(1 - n), so that fewer
# have no interval of 95 %.  With fewer movies, their patches are the samples.
MIN_SAMPLES = 6
# Limits of a change of which nothing is known.
_UNKNOWN = (-100.0, 100.0)
# Changes that are written as zero, such as those of rounding errors, are not significant.
_ZERO_PERCENT = 0.05


@dataclass(frozen=True, slots=True)
class Change(JsonValue):
    """Signal of B minus that of A, in percent of the larger one, with its confidence interval.

    The interval includes what is unknown of the noise that either motion was fitted to.

    Attributes
    ----------
    percent : estimate
    low, high : limits of the interval
    more_in : number of movies in which B has more
    """

    percent: float
    low: float
    high: float
    more_in: int

    @property
    def has_interval(self) -> bool:
        """Whether there were enough samples for an interval."""
        return (self.low, self.high) != _UNKNOWN

    @property
    def is_significant(self) -> bool:
        """Whether the interval excludes zero, and all that is written as zero."""
        return self.low > _ZERO_PERCENT or self.high < -_ZERO_PERCENT

    def less(self) -> str:
        """By how much the one with less signal has less, with the limits of the interval.

        Examples
        --------
        >>> Change(-6.0, -7.2, -5.0, 0).less()
        '6.0 % less (5.0 to 7.2)'
        """
        low, high = sorted((abs(self.low), abs(self.high)))
        return f"{abs(self.percent):.1f} % less ({low:.1f} to {high:.1f})"


@dataclass(frozen=True, slots=True, eq=False)
class SessionScores(JsonValue):
    """Alignment B against alignment A over all movies with signal.

    Attributes
    ----------
    a, b : names
    movies : number of movies with signal
    without_signal : names of the others
    bands_A : coarsest and finest resolution of each band
    bands : change of the spectral signal-to-noise ratio in each band
    overall : change of the log-likelihood
    b_factor_A2 : of B relative to A: positive = the signal of B falls off faster
    """

    a: str
    b: str
    movies: int
    without_signal: tuple[str, ...]
    bands_A: tuple[tuple[float, float], ...]
    bands: tuple[Change, ...]
    overall: Change
    b_factor_A2: float

    def verdict(self) -> str:
        """The verdict in words, with intervals in parentheses.

        Examples
        --------
        >>> less, same = Change(-6.0, -7.0, -5.0, 0), Change(0.5, -1.0, 2.0, 2)
        >>> bands = (45.0, 7.0), (7.0, 4.0)
        >>> SessionScores("x", "y", 3, (), bands, (same, less), less, 9.0).verdict()
        'y has less signal than x, in 3 of 3 movies: 6.0 % less (5.0 to 7.0) at 7 to 4 A'
        """
        if not self.movies:
            return f"{self.a} and {self.b}: frames share no signal along them, so no verdict"
        change = self.overall
        if not change.is_significant:
            return (
                f"{self.a} and {self.b} do not differ significantly: signal of {self.b} "
                f"{change.percent:+z.1f} % ({change.low:+z.1f} to {change.high:+z.1f})"
            )
        is_more = change.low > 0
        less, more = (self.a, self.b) if is_more else (self.b, self.a)
        count = change.more_in if is_more else self.movies - change.more_in
        significant = [
            f"{one.less()} at {coarsest:g} to {finest:g} A"
            for (coarsest, finest), one in zip(self.bands_A, self.bands, strict=True)
            if one.is_significant and (one.low > 0) == is_more
        ]
        finest_two = significant[-2:] or [change.less()]
        return (
            f"{less} has less signal than {more}, in {count} of {self.movies} movies: "
            + ", ".join(finest_two)
        )


def best_of(movies: Sequence[MovieScores]) -> str:
    """Name of the alignment of the highest log-likelihood, less the noise it was fitted to."""
    names = [score.name for score in movies[0].scores]
    used = [movie for movie in movies if movie.has_signal] or movies

    def total(name: str) -> float:
        return sum(corrected_log_likelihood(movie[name]) for movie in used)

    return max(names, key=total)


def compare_scores(movies: Sequence[MovieScores], a: str, b: str) -> SessionScores:
    """Compare two alignments over movies.

    Ratios are those of sums over movies.  The samples of the interval are the movies, or the
    patches of few movies; A and B share most noise, which `ratio_limits` takes into account.
    Fewer than six samples say nothing: the limits are -100 and 100 %.
    """
    used = [movie for movie in movies if movie.has_signal]
    without = tuple(movie.movie for movie in movies if not movie.has_signal)
    if not used:
        nothing = Change(0.0, *_UNKNOWN, 0)
        return SessionScores(a, b, 0, without, (), (), nothing, float("nan"))
    bands_A = min((movie.bands_A for movie in used), key=len)
    patches = [[_values(movie[name], len(bands_A)) for movie in used] for name in (a, b)]
    per_movie = [np.stack([values.sum(axis=0) for values in side]) for side in patches]
    are_few = len(used) < MIN_SAMPLES
    samples = [np.concatenate(side) for side in patches] if are_few else per_movie
    middle = [_corrected(side) for side in per_movie]
    more_in = (middle[1] > middle[0]).sum(axis=0)
    changes = [
        Change(*limits, int(count))
        for limits, count in zip(_limits(*samples), more_in, strict=True)
    ]
    return SessionScores(
        a, b, len(used), without, bands_A, tuple(changes[:-1]), changes[-1],
        _b_factor_A2(bands_A, middle[0].sum(axis=0)[:-1], middle[1].sum(axis=0)[:-1]),
    )  # fmt: skip


def rival_of(movies: Sequence[MovieScores], best: str) -> str:
    """Name of the best of the other alignments: one that was given, if there is one.

    No motion, and the global motion of the best alignment, were not given.
    """
    names = [score.name for score in movies[0].scores if score.name != best]
    given = [name for name in names if name not in (NO_MOTION, best + GLOBAL)]
    return best_of([with_names(movie, given or names) for movie in movies])


def changes_of_movie(movie: MovieScores, a: str, b: str, bands: int) -> FloatArray:
    """Changes from A to B in percent of the larger one (bands + 1,); the log-likelihood is last."""
    of_a, of_b = (signal_of_movie(movie[name], bands) for name in (a, b))
    larger = np.maximum(np.maximum(of_a, of_b), 1e-30)
    return np.asarray((100 * (of_b - of_a) / larger).clip(-100, 100))


def signal_of_movie(score: MotionScore, bands: int) -> FloatArray:
    """Corrected signal (bands + 1,): signal-to-noise ratios, and the log-likelihood."""
    return np.asarray(_corrected(_values(score, bands)).sum(axis=0))


def corrected_log_likelihood(score: MotionScore) -> float:
    """Log-likelihood of a motion, less the middle of the limits of its bias."""
    return float(signal_of_movie(score, 0)[0])


def _values(score: MotionScore, bands: int) -> FloatArray:
    """Scores (patches, bands + 1, 3): value, and limits of its bias; the log-likelihood is last."""
    value = np.column_stack([score.ssnr[:, :bands], score.log_likelihood])
    bias = np.concatenate([score.ssnr_bias[:, :bands], score.log_likelihood_bias[:, None]], axis=1)
    return np.concatenate([value[..., None], bias], axis=-1)


def _corrected(values: FloatArray) -> FloatArray:
    """Scores (..., 3) less the middle of the limits of their bias (...)."""
    return np.asarray(values[..., 0] - values[..., 1:].mean(axis=-1))


def _limits(a: FloatArray, b: FloatArray) -> list[tuple[float, float, float]]:
    """Estimate and limits of the change in percent, for each column of scores (n, columns, 3)."""
    largest_a, smallest_a = (a[..., 0] - a[..., limit] for limit in (1, 2))
    largest_b, smallest_b = (b[..., 0] - b[..., limit] for limit in (1, 2))
    found = []
    for column in range(a.shape[1]):
        lowest = largest_a[:, column], smallest_b[:, column]
        highest = smallest_a[:, column], largest_b[:, column]
        estimates = [_percent(_ratio(x.sum(), y.sum())) for x, y in (lowest, highest)]
        limits = _UNKNOWN
        if len(a) >= MIN_SAMPLES:
            limits = (
                _percent(ratio_limits(*lowest, CONFIDENCE)[0]),
                _percent(ratio_limits(*highest, CONFIDENCE)[1]),
            )
        found.append((sum(estimates) / 2, *limits))
    return found


def _ratio(a: float, b: float) -> float:
    """The ratio of B to A, between zero and infinity."""
    a, b = max(a, 0.0), max(b, 0.0)
    if a == b:
        return 1.0
    return b / a if a > 0 else math.inf


def _percent(ratio: float) -> float:
    """Change from A to B in percent of the larger one, by the ratio of B to A."""
    return 100 * (ratio - 1) if ratio < 1 else 100 * (1 - 1 / ratio)


def _b_factor_A2(bands_A: tuple[tuple[float, float], ...], a: FloatArray, b: FloatArray) -> float:
    """B-factor of the amplitudes of B relative to A; NaN where fewer than two bands have signal.

    The power falls off as exp(-B k^2 / 2), fitted with the signal of A as weights.
    """
    middle = np.array([2 / (coarsest + finest) for coarsest, finest in bands_A]) ** 2
    used = (a > 0) & (b > 0)
    if used.sum() < 2:
        return float("nan")
    ratio, weight = np.log(b[used] / a[used]), np.sqrt(a[used])
    slope, _ = np.polyfit(middle[used], ratio, 1, w=weight)
    return float(-2 * slope)
