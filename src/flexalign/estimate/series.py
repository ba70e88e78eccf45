"""Priors for the tilts of a series, estimated from their neighbours (empirical Bayes).

`series_paths` predicts the path of each tilt; this module estimates the signal and the prior of the
local motion, and combines all three.

References
----------
Robbins, Proc. Third Berkeley Symp. 1 (1956) 157 (empirical Bayes).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from threadpoolctl import threadpool_limits

from flexalign.estimate import prior_choice
from flexalign.estimate.priors import FieldPrior
from flexalign.estimate.series_paths import (
    MAX_NODES,
    PathHyperparameters,
    fit_hyperparameters,
    path_priors,
    paths_of,
)
from flexalign.estimate.series_prior import (
    ExpectedSignal,
    MeasuredSignal,
    SeriesPath,
    SeriesPrior,
    TiltStatistics,
    exposed_ratio,
)
from flexalign.estimate.spectral_powers import with_significant_detail
from flexalign.model import FloatArray

# Number of other tilts needed for a prior.
MIN_NEIGHBOURS = 3
# Width, in angular steps, of the Gaussian with which signal is averaged over neighbouring tilts.
_SIGNAL_STEPS = 2.0
# Rings averaged on either side: this minimum, and this share of the ring index.
_MIN_RINGS, _RING_RATIO = 2, 0.1
_SCATTER_LIMITS = (0.1, 1.0)
# Number of tilts from which the prior of the field is chosen.
_FIELD_TILTS = 6


def default_prior(frame_count: int) -> SeriesPrior:
    """The default prior of a tilt, before its neighbours have been measured."""
    count = min(frame_count, MAX_NODES)
    time = exposed_ratio(np.arange(count, dtype=np.float64), count)
    default, nothing = PathHyperparameters(), np.zeros(2)
    signal = MeasuredSignal(np.array([0.0, 1.0]), nothing, np.full(2, np.inf))
    path = SeriesPath(
        frame_count, time, np.zeros((count, 2)), default.in_time(time), default.jitter_px
    )
    return SeriesPrior(path, ExpectedSignal(signal, _SCATTER_LIMITS[0]), FieldPrior())


def series_priors(
    angles_deg: Sequence[float], tilts: Sequence[TiltStatistics | None]
) -> list[SeriesPrior | None]:
    """The prior of each tilt, estimated from the others; None if these are too few.

    Parameters
    ----------
    angles_deg : of each tilt
    tilts : statistics of each; None for one that could not be aligned
    """
    # The linear systems are small: one BLAS thread is fastest.
    with threadpool_limits(limits=1, user_api="blas"):
        return _series_priors(angles_deg, tilts)


def _series_priors(
    angles_deg: Sequence[float], tilts: Sequence[TiltStatistics | None]
) -> list[SeriesPrior | None]:
    known = [k for k, tilt in enumerate(tilts) if tilt is not None]
    if len(known) <= MIN_NEIGHBOURS:
        return [None] * len(tilts)
    angles = np.asarray(angles_deg, np.float64)
    known_tilts = [tilt for tilt in tilts if tilt is not None]
    paths, hyperparameters, weight = fit_hyperparameters(paths_of(angles[known], known_tilts))
    expected = path_priors(angles, known, tilts, paths, hyperparameters)
    signals = _expected_signals(angles, known, known_tilts, weight)
    field = _field_of(known_tilts, [expected[k] for k in known])
    return [
        SeriesPrior(path, signal, field) for path, signal in zip(expected, signals, strict=True)
    ]


def _expected_signals(
    angles_deg: FloatArray,
    known: Sequence[int],
    tilts: Sequence[TiltStatistics],
    weight: FloatArray,
) -> list[ExpectedSignal]:
    """Mean signal of the neighbours of each tilt, weighted by proximity, and scatter among tilts.

    The scatter is the same for all.
    """
    frequency = tilts[0].signal.frequency_per_A
    power, error = (np.array(v) for v in zip(*(t.signal.at(frequency) for t in tilts), strict=True))
    power, error = _smoothed(power, error)
    is_known = np.isfinite(error).all(axis=0)
    error = np.where(is_known, error, 0.0)
    at = angles_deg[known]
    step = np.median(np.diff(np.unique(at))) if len(at) > 1 else 1.0
    means, errors = [], []
    for k, angle in enumerate(angles_deg):
        near = weight * np.exp(-0.5 * ((at - angle) / (_SIGNAL_STEPS * step)) ** 2)
        near = np.maximum(near, 1e-6) * (np.asarray(known) != k)
        near /= near.sum()
        means.append(near @ power)
        errors.append(np.sqrt(near**2 @ error**2))
    mean, of_mean = np.array(means), np.array(errors)
    off = (power - mean[known]) ** 2 - error**2 - of_mean[known] ** 2
    significant = np.where(mean[known] > 3 * of_mean[known], mean[known], 0.0)
    among = (off * (significant > 0)).sum() / max(float((significant**2).sum()), 1e-300)
    scatter = float(np.sqrt(np.clip(among, 0, None)).clip(*_SCATTER_LIMITS))
    return [
        ExpectedSignal(MeasuredSignal(frequency, p.clip(0), np.where(is_known, e, np.inf)), scatter)
        for p, e in zip(mean, of_mean, strict=True)
    ]


def _smoothed(power: FloatArray, error: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Means over neighbouring rings (tilts, rings) and their errors, over more rings at finer ones.

    A ring's own power alone would give it more weight where noise happens to resemble signal.  It
    is kept where it differs from the mean by more than noise.
    """
    rings = np.arange(power.shape[1])
    half = np.maximum(_MIN_RINGS, np.rint(_RING_RATIO * rings)).astype(np.int64)
    first, last = np.maximum(rings - half, 0), np.minimum(rings + half + 1, len(rings))
    is_known = np.isfinite(error)
    precise = np.where(is_known, 1 / np.where(is_known, error, 1.0) ** 2, 0.0)

    def around(values: FloatArray) -> FloatArray:
        total = np.cumsum(np.concatenate([0 * values[:, :1], values], axis=1), axis=1)
        return np.asarray(total[:, last] - total[:, first])

    together = np.maximum(around(precise), 1e-300)
    mean = around(np.where(is_known, power, 0.0) * precise) / together
    mean = with_significant_detail(mean, power, error**2)
    return np.where(is_known, mean, 0.0), np.where(is_known, 1 / np.sqrt(together), np.inf)


def _field_of(tilts: Sequence[TiltStatistics], paths: Sequence[SeriesPath]) -> FieldPrior:
    """The local motion prior of greatest evidence for tilts spread over the series."""
    some = [k for k, tilt in enumerate(tilts) if tilt.shape is not None]
    if not some:
        return FieldPrior()
    chosen = np.unique(np.linspace(0, len(some) - 1, min(_FIELD_TILTS, len(some))).astype(int))
    shape = tilts[some[0]].shape
    assert shape is not None
    return prior_choice.choose_common_field_prior(
        [tilts[some[k]].likelihood for k in chosen],
        [paths[some[k]] for k in chosen],
        [tilts[some[k]].shape or shape for k in chosen],
        FieldPrior(smooth_px=shape.width_px / 2),
    )
