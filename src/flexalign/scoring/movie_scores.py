"""Scores of several motions of one movie, by resolution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from flexalign.model import FloatArray, JsonValue, read_only
from flexalign.scoring.freedom import Freedom
from flexalign.scoring.ring_sums import RingSums

BANDS_A = ((45.0, 15.0), (15.0, 10.0), (10.0, 7.0), (7.0, 5.0), (5.0, 4.0))
SIGNIFICANT = 4.0
# Name of the alignment without motion, and what the name of a trajectory alone ends with.
NO_MOTION, GLOBAL = "none", " global"
# A search over a whole correlation map finds noise of about this log-likelihood for each of the
# two parameters of a displacement: half the logarithm of the number of independent places in it.
_SEARCH_LOG_LIKELIHOOD = 5.0


@dataclass(frozen=True, slots=True, eq=False)
class MotionScore(JsonValue):
    """Scores of one motion, patch by patch; each is the sum over patches.

    Attributes
    ----------
    name : of the alignment
    ssnr : (patches, bands) spectral signal-to-noise ratio of the aligned sum
    log_likelihood : (patches,) relative to frames without common signal
    ssnr_bias, log_likelihood_bias : (patches, bands, 2) and (patches, 2), smallest and largest
        part of the score that is noise which the motion was fitted to
    freedom : smallest and largest number of fitted parameters
    """

    name: str
    ssnr: FloatArray
    log_likelihood: FloatArray
    ssnr_bias: FloatArray
    log_likelihood_bias: FloatArray
    freedom: tuple[float, float]

    def __post_init__(self) -> None:
        for name in ("ssnr", "log_likelihood", "ssnr_bias", "log_likelihood_bias"):
            object.__setattr__(self, name, read_only(getattr(self, name)))


@dataclass(frozen=True, slots=True, eq=False)
class MovieScores(JsonValue):
    """Scores of all motions of one movie.

    Attributes
    ----------
    movie : its name
    bands_A : coarsest and finest resolution of each band
    scores : of each motion
    noise_sd : standard deviation of a log-likelihood when frames share nothing
    frames : number of frames that were compared
    """

    movie: str
    bands_A: tuple[tuple[float, float], ...]
    scores: tuple[MotionScore, ...]
    noise_sd: float
    frames: int

    def __getitem__(self, name: str) -> MotionScore:
        """The scores of one motion."""
        return next(score for score in self.scores if score.name == name)

    @property
    def has_signal(self) -> bool:
        """Whether frames share a signal along any motion that chance does not explain.

        Displacements that were found by a search in noise alone have a positive log-likelihood.
        """
        return any(
            _is_significant(float(score.log_likelihood.sum()), score.freedom[1], self.noise_sd)
            for score in self.scores
        )


def _is_significant(log_likelihood: float, freedom: float, noise_sd: float) -> bool:
    """Whether a log-likelihood exceeds what a search finds in noise with this freedom."""
    return log_likelihood - _SEARCH_LOG_LIKELIHOOD * freedom > SIGNIFICANT * noise_sd


def score_motions(
    movie: str,
    sums: Mapping[str, RingSums],
    freedoms: Mapping[str, Freedom],
    frames: int,
    bands_A: tuple[tuple[float, float], ...] = BANDS_A,
) -> MovieScores:
    """Scores of all motions of a movie, with the powers along one of them.

    It is the one of highest log-likelihood above what a search finds in noise with its freedom.

    Parameters
    ----------
    sums, freedoms : of each motion by name
    frames : number of frames
    bands_A : those beyond the finest ring are left out
    """
    best = sums[max(sums, key=lambda name: _above_search(sums[name], freedoms[name]))]
    finest_A = 1 / best.ring_frequency_per_A[np.flatnonzero(best.ring_count)[-1]]
    bands = tuple(band for band in bands_A if band[1] > 0.97 * finest_A)
    factor = _ssnr_per_cross(best, bands)  # (bands, rings)
    likelihood_factor = best.weight * best.share  # (patches, rings)
    coarser = _share_of_coarser(best, bands)
    scores = []
    for name, one in sums.items():
        minimum, maximum = freedoms[name]
        # Fits give coarse rings at least the weight that they should have: where the number of
        # parameters is not known, the noise of a band is at most its share of all coarser ones.
        share = coarser if minimum < maximum else 1.0
        of_bands = np.array([np.full(len(bands), minimum), np.full(len(bands), maximum) / share])
        score = MotionScore(
            name,
            one.cross @ factor.T,
            (one.cross * likelihood_factor).sum(axis=1),
            np.einsum("pr,lbr,br->pbl", one.cross, _noise_share(best, of_bands), factor),
            (one.cross * likelihood_factor) @ _noise_share(best, np.array(freedoms[name])).T,
            freedoms[name],
        )
        scores.append(_with_search_in_noise(score, best.noise_sd))
    return MovieScores(movie, bands, tuple(scores), best.noise_sd, frames)


def _above_search(sums: RingSums, freedom: Freedom) -> float:
    """Log-likelihood above what a search finds in noise with this freedom."""
    return sums.log_likelihood - _SEARCH_LOG_LIKELIHOOD * freedom.maximum


def _with_search_in_noise(score: MotionScore, noise_sd: float) -> MotionScore:
    """The score with limits of its bias that include noise found by a search, where it may be.

    The number of parameters limits the fitted noise only of displacements that signal determines.
    Of others, where the log-likelihood does not exceed what a search finds, all may be noise.
    """
    minimum, maximum = score.freedom
    if minimum == maximum:
        return score
    value = score.log_likelihood
    may_be_noise = value < _SEARCH_LOG_LIKELIHOOD * maximum / len(value)
    if not _is_significant(float(value.sum()), maximum, noise_sd):
        may_be_noise[:] = True
    ssnr_bias, log_likelihood_bias = score.ssnr_bias.copy(), score.log_likelihood_bias.copy()
    for bias, values in ((ssnr_bias, score.ssnr), (log_likelihood_bias, value)):
        upper = bias[may_be_noise, ..., 1]
        bias[may_be_noise, ..., 1] = np.maximum(upper, values[may_be_noise])
    return replace(score, ssnr_bias=ssnr_bias, log_likelihood_bias=log_likelihood_bias)


def _ssnr_per_cross(sums: RingSums, bands_A: tuple[tuple[float, float], ...]) -> FloatArray:
    """Factors (bands, rings) from cross-power to the signal-to-noise ratio of the weighted sum.

    The ratio of a coefficient is A P / N; that of a band is the mean over its coefficients.
    """
    frequency, count = sums.ring_frequency_per_A, sums.ring_count
    patches = len(sums.cross)
    of_ring = sums.summed / (sums.powers.noise * sums.pairs * patches)
    rows = []
    for coarsest_A, finest_A in bands_A:
        inside = (frequency > 1 / coarsest_A) & (frequency <= 1 / finest_A) & (count > 0)
        rows.append(np.where(inside, of_ring, 0.0) / max(float(count[inside].sum()), 1.0))
    return np.array(rows)


def _noise_share(sums: RingSums, parameters: FloatArray) -> FloatArray:
    """Expected share (..., rings) of the cross-power that is noise, for fitted parameters (...).

    Fitted errors add the variance v = K (2 pi k)^2 / F to phase differences of two frames, and
    fitted noise is v times the signal.  Both are blurred alike by the errors of a motion, so that
    the share is v / (1 + v) (S2, S3).
    """
    total = max(float(sums.information.sum()), 1e-30)
    wave_per_A = 2 * np.pi * sums.ring_frequency_per_A
    variance = parameters[..., None] * wave_per_A**2 / total
    return np.asarray(variance / (1 + variance))


def _share_of_coarser(sums: RingSums, bands_A: tuple[tuple[float, float], ...]) -> FloatArray:
    """Share (bands,) of the information that is in each band and all coarser ones."""
    information = sums.information.sum(axis=(0, 1))
    total = max(float(information.sum()), 1e-30)
    frequency = sums.ring_frequency_per_A
    shares = [information[frequency <= 1 / finest_A].sum() / total for _, finest_A in bands_A]
    return np.maximum(shares, 1e-6)


def with_names(movie: MovieScores, names: Sequence[str]) -> MovieScores:
    """The scores of these motions only."""
    return replace(movie, scores=tuple(movie[name] for name in names))
