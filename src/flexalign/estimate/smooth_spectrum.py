"""Signal power of the rings with a prior by which the spectrum is smooth.

The power spectrum of a specimen falls about as A k^-a exp(-B k^2 / 2), a power law times the decay
by the B-factor, and rings scatter about that, by the contrast transfer function for one.
Amplitude, exponent, B-factor and scatter are not known: the result is the mean over a grid of
them, each weighted by the probability of the measured powers.
"""

from __future__ import annotations

import numpy as np

from flexalign.model import FloatArray

_EXPONENTS = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0)
_B_FACTORS_A2 = (0.0, 15.0, 30.0, 60.0, 120.0, 240.0, 480.0, 960.0)
# Standard deviation of the power of a ring relative to the smooth spectrum.
_SCATTERS = (0.03, 0.1, 0.3, 1.0)
# Amplitudes, as the ratio of signal to noise of all rings together: their number, the minimum,
# and the maximum relative to the measured ratio.
_AMPLITUDES, _MIN_RATIO, _MAX_RELATIVE_RATIO = 32, 0.1, 3.0


def expected_power(
    measured: FloatArray, variance: FloatArray, frequency_per_A: FloatArray
) -> FloatArray:
    """Posterior mean of the signal power of each ring (rings,), not negative.

    Parameters
    ----------
    measured : (rings,) power, which noise makes negative in some rings
    variance : (rings,) of the noise of `measured`
    frequency_per_A : (rings,) greater than zero

    Examples
    --------
    >>> expected_power(np.array([9.0, -1.0, 5.0]), np.ones(3), np.array([0.1, 0.2, 0.3])).round(1)
    array([8.9, 0. , 4.5])
    """
    smooth = _smooth_spectra(measured, variance, frequency_per_A)
    scatter = (np.array(_SCATTERS)[:, None, None] * smooth) ** 2
    total = scatter + variance
    log_probability = -0.5 * ((measured - smooth) ** 2 / total + np.log(total)).sum(axis=-1)
    probability = np.exp(log_probability - log_probability.max())
    power = (smooth + (measured - smooth) * scatter / total).clip(0)
    return np.asarray(np.tensordot(probability / probability.sum(), power, axes=2))


def _smooth_spectra(
    measured: FloatArray, variance: FloatArray, frequency_per_A: FloatArray
) -> FloatArray:
    """The spectra (spectra, rings) of the grid of amplitudes, exponents and B-factors."""
    exponent = np.array(_EXPONENTS)[:, None, None]
    half_B_A2 = np.array(_B_FACTORS_A2)[:, None] / 2
    lowest = frequency_per_A.min()
    decay = np.exp(-half_B_A2 * (frequency_per_A**2 - lowest**2))
    shape = ((frequency_per_A / lowest) ** -exponent * decay).reshape(-1, len(frequency_per_A))
    shape /= np.sqrt((shape**2 / variance).sum(axis=-1, keepdims=True))
    measured_ratio = np.sqrt((measured.clip(0) ** 2 / variance).sum())
    highest = _MAX_RELATIVE_RATIO * max(measured_ratio, 1.0)
    ratio = np.geomspace(_MIN_RATIO, highest, _AMPLITUDES)
    return np.asarray((ratio[:, None, None] * shape).reshape(-1, len(frequency_per_A)))
