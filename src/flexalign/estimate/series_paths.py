"""Gaussian process model of the paths of all tilts: stage motion that repeats, plus individual.

The path of tilt i at time u is, for y and x alike, ``common(angle_i, u) + own_i(u)`` with Gaussian
processes of the covariances

    common  h g(angle_i - angle_j) K(u, u')       own  [i = j] ((1 - h) K(u, u') + j^2 [u = u'])
    K(u, u') = a^2 u u' + s^2 M(2 |u - u'|)

h is the share of the variance that repeats from tilt to tilt, g a Gaussian in angle, M the Matern
correlation of order 3/2.  The likelihood of each tilt is the quadratic of its own refinement, so
the model is linear and Gaussian: the evidence selects the hyperparameters, and the prior of a tilt
is its prediction from the others.

References
----------
Rasmussen & Williams, Gaussian Processes for Machine Learning (2006), chapters 2 and 5.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import linalg

from flexalign.estimate import prior_choice, priors
from flexalign.estimate.series_prior import (
    SeriesPath,
    TiltStatistics,
    exposed_ratio,
    interpolation,
)
from flexalign.model import FloatArray

# Maximum number of nodes in time by which paths are represented.
MAX_NODES = 8
# Outlier tilts are down-weighted as under Student's t with this many degrees of freedom.
_TAIL_FREEDOM = 4.0
_ROBUST_ROUNDS = 8
_CONVERGED_WEIGHT = 0.02
# A tilt is down-weighted initially if its path is longer than this multiple of the median.
_MAX_LENGTH_RATIO = 3.0
_MIN_WEIGHT = 0.2
_MATERN_LENGTH = 0.5
# Standard deviation, as a factor, of the log-normal hyperpriors around the defaults.
_HYPERPRIOR_FACTOR = 5.0


@dataclass(frozen=True, slots=True)
class PathHyperparameters:
    """Hyperparameters of the paths, see the module docstring.

    Attributes
    ----------
    drift_px, smooth_px, jitter_px : a, s and j
    odds : h / (1 - h)
    angle_deg : correlation length of the common part in angle
    slowing : time constant t0 of the slowing, as share of the exposure; 0 = no slowing
    """

    drift_px: float = 4.0
    smooth_px: float = 1.0
    jitter_px: float = 0.1
    odds: float = 1.0
    angle_deg: float = 30.0
    slowing: float = 0.0

    def in_time(self, time: FloatArray) -> FloatArray:
        """K (n, n) at shares of the exposure (n,)."""
        clock = priors.slowed(time, 1.0, self.slowing)
        smooth = priors.matern(np.abs(clock[:, None] - clock), _MATERN_LENGTH)
        return self.drift_px**2 * np.outer(clock, clock) + self.smooth_px**2 * smooth

    def covariance(
        self, angles_deg: FloatArray, time: FloatArray, contrast: FloatArray
    ) -> FloatArray:
        """Covariance (tilts * m, tilts * m) of the contrasts (n, m) of all paths."""
        part = self.odds / (1 + self.odds)
        in_time = contrast.T @ self.in_time(time) @ contrast
        correlation = np.exp(-0.5 * ((angles_deg[:, None] - angles_deg) / self.angle_deg) ** 2)
        own = (1 - part) * in_time + (self.jitter_px**2 + 1e-6) * np.eye(len(in_time))
        # Eq. (14).
        return part * np.kron(correlation, in_time) + np.kron(np.eye(len(angles_deg)), own)


@dataclass(frozen=True, slots=True, eq=False)
class Paths:
    """Quadratic log-likelihoods of the paths of all tilts, at common times, up to constants.

    Attributes
    ----------
    angles_deg : (tilts,)
    time : (n,) shares of the exposure
    contrast : (n, n - 1) orthonormal columns, orthogonal to a constant
    precision : (tilts, n - 1, n - 1)
    linear : (tilts, n - 1, 2)
    """

    angles_deg: FloatArray
    time: FloatArray
    contrast: FloatArray
    precision: FloatArray
    linear: FloatArray

    def weighted(self, weight: FloatArray) -> Paths:
        """The same with a weight (tilts,) for each tilt."""
        return replace(
            self,
            precision=self.precision * weight[:, None, None],
            linear=self.linear * weight[:, None, None],
        )

    def log_evidence(self, hyperparameters: PathHyperparameters) -> float:
        """Log evidence of the hyperparameters, up to a constant."""
        root = _root(hyperparameters.covariance(self.angles_deg, self.time, self.contrast))
        factor, right = self._posterior(root, self.precision, self.linear)
        white = linalg.solve_triangular(factor, right, lower=True)
        return 0.5 * float((white**2).sum()) - 2 * float(np.log(np.diag(factor)).sum())

    def predicted(
        self, hyperparameters: PathHyperparameters, tilt: int
    ) -> tuple[FloatArray, FloatArray]:
        """Mean (n - 1, 2) and covariance (n - 1, n - 1) of a tilt's contrasts given all others."""
        root = _root(hyperparameters.covariance(self.angles_deg, self.time, self.contrast))
        precision, linear = self.precision.copy(), self.linear.copy()
        precision[tilt], linear[tilt] = 0, 0
        factor, right = self._posterior(root, precision, linear)
        size = self.contrast.shape[1]
        rows = root[tilt * size : (tilt + 1) * size]
        half = linalg.solve_triangular(factor, rows.T, lower=True)
        white = linalg.solve_triangular(factor, right, lower=True)
        return half.T @ white, half.T @ half

    def _posterior(
        self, root: FloatArray, precision: FloatArray, linear: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Factor of the posterior precision of whitened parameters, and the right-hand side."""
        tilts, size = len(precision), precision.shape[1]
        by_tilt = root.reshape(tilts, size, -1)
        inner = root.T @ (precision @ by_tilt).reshape(tilts * size, -1)
        inner[np.diag_indices_from(inner)] += 1
        right = root.T @ linear.reshape(tilts * size, 2)
        return _root(inner), right


def _root(matrix: FloatArray) -> FloatArray:
    """Lower Cholesky factor."""
    return np.asarray(linalg.cholesky(matrix, lower=True), np.float64)


def paths_of(angles_deg: FloatArray, tilts: Sequence[TiltStatistics]) -> Paths:
    """Quadratic log-likelihoods of the paths of all tilts at common times."""
    count = min(max(len(tilt.likelihood.frame) for tilt in tilts), MAX_NODES)
    time = exposed_ratio(np.arange(count, dtype=np.float64), count)
    contrast = linalg.null_space(np.ones((1, count)))
    precision, linear = [], []
    for tilt in tilts:
        data = tilt.likelihood
        at = interpolation(exposed_ratio(data.frame, tilt.frame_count), time) @ contrast
        precision.append(at.T @ data.precision.sum(axis=0) @ at)
        linear.append(at.T @ data.linear.sum(axis=0))
    return Paths(angles_deg, time, contrast, np.array(precision), np.array(linear))


def fit_hyperparameters(paths: Paths) -> tuple[Paths, PathHyperparameters, FloatArray]:
    """Paths with outlier tilts down-weighted, hyperparameters of greatest evidence, weights."""
    hyperparameters, weight = PathHyperparameters(), _first_weights(paths)
    for done in range(_ROBUST_ROUNDS):
        weighted, before = paths.weighted(weight), weight
        hyperparameters = _best_hyperparameters(
            weighted, hyperparameters, priors.SLOWING_RATIOS if done == 1 else ()
        )
        weight = np.array(
            [_weight(paths, weighted, hyperparameters, k) for k in range(len(weight))]
        )
        if done > 1 and np.abs(weight - before).max() < _CONVERGED_WEIGHT:
            break
    return paths.weighted(weight), hyperparameters, weight


def _first_weights(paths: Paths) -> FloatArray:
    """Initial weights (tilts,), lower for paths several times as long as the median."""
    free = np.linalg.pinv(paths.precision, rcond=1e-6, hermitian=True) @ paths.linear
    lengths = np.sqrt((free**2).sum(axis=(1, 2)))
    default = _MAX_LENGTH_RATIO * float(np.median(lengths))
    return np.array(
        [
            _clipped_weight((default / length) ** 2 if length > default else 1.0)
            for length in lengths
        ]
    )


def _best_hyperparameters(
    paths: Paths, start: PathHyperparameters, slowings: Sequence[float] = ()
) -> PathHyperparameters:
    """Hyperparameters of greatest evidence near `start`, with one of `slowings` if better."""
    span = float(np.ptp(paths.angles_deg)) + 1
    limits = ((0.01, 300.0), (0.01, 100.0), (1e-3, 50.0), (0.01, 1e3), (span / 20, 5 * span))
    first = PathHyperparameters()
    default = [first.drift_px, first.smooth_px, first.jitter_px, first.odds, first.angle_deg]

    def optimized(slowing: float, near: PathHyperparameters) -> tuple[float, PathHyperparameters]:
        def hyperparameters(*numbers: float) -> PathHyperparameters:
            drift, smooth, jitter, odds, angle = numbers
            return PathHyperparameters(drift, smooth, jitter, odds, angle, slowing)

        def score(*numbers: float) -> float:
            # Log-normal hyperpriors keep the values near the defaults if the data are weak.
            off = np.log(np.array(numbers) / default) / math.log(_HYPERPRIOR_FACTOR)
            return paths.log_evidence(hyperparameters(*numbers)) - 0.5 * float(off @ off)

        begin = (near.drift_px, near.smooth_px, near.jitter_px, near.odds, near.angle_deg)
        best = hyperparameters(*prior_choice.coordinate_ascent(score, begin, limits))
        return paths.log_evidence(best), best

    best_score, best = optimized(start.slowing, start)
    if not slowings:
        return best
    scores = {part: paths.log_evidence(replace(best, slowing=part)) for part in slowings}
    likely = max(scores, key=lambda part: scores[part])
    return max((best_score, best), optimized(likely, best), key=lambda found: found[0])[1]


def _weight(
    paths: Paths, weighted: Paths, hyperparameters: PathHyperparameters, tilt: int
) -> float:
    """Weight of a tilt, from its chi-squared distance to the prediction of the others."""
    mean, covariance = weighted.predicted(hyperparameters, tilt)
    precision = paths.precision[tilt]
    off = paths.linear[tilt] - precision @ mean
    variance = precision + precision @ covariance @ precision
    chi2 = float((off * (linalg.pinvh(variance) @ off)).sum())
    return _clipped_weight((_TAIL_FREEDOM + off.size) / (_TAIL_FREEDOM + chi2))


def _clipped_weight(weight: float) -> float:
    """At most one, and zero for a clear outlier, however small its own standard errors are."""
    return min(1.0, weight) if weight > _MIN_WEIGHT else 0.0


def path_priors(
    angles_deg: FloatArray,
    known: Sequence[int],
    tilts: Sequence[TiltStatistics | None],
    paths: Paths,
    hyperparameters: PathHyperparameters,
) -> list[SeriesPath]:
    """The prediction of the path of each tilt, measured or not, from the others."""
    frame_count = next(tilt.frame_count for tilt in tilts if tilt is not None)
    found = []
    for k, (angle, tilt) in enumerate(zip(angles_deg, tilts, strict=True)):
        if k in known:
            at, among = list(known).index(k), paths
        else:
            at, among = len(known), _with_unknown(paths, float(angle))
        mean, covariance = among.predicted(hyperparameters, at)
        contrast = paths.contrast
        found.append(
            SeriesPath(
                tilt.frame_count if tilt is not None else frame_count,
                paths.time,
                contrast @ mean,
                contrast @ covariance @ contrast.T,
                hyperparameters.jitter_px if len(paths.time) == MAX_NODES else 0.0,
            )
        )
    return found


def _with_unknown(paths: Paths, angle_deg: float) -> Paths:
    """The same with one more tilt without data."""
    return replace(
        paths,
        angles_deg=np.append(paths.angles_deg, angle_deg),
        precision=np.concatenate([paths.precision, 0 * paths.precision[:1]]),
        linear=np.concatenate([paths.linear, 0 * paths.linear[:1]]),
    )
