"""Exposure weights: how much of the signal is left at each frequency after a dose."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from flexalign.model import FloatArray, PixelArray

ELECTRON_REST_ENERGY_KEV = 510.99895
PUBLISHED_VOLTAGES_KV = (100.0, 200.0, 300.0)
PUBLISHED_TOLERANCE = (1.0 / 1.57, 0.8, 1.0)
VOLTAGE_LIMITS_KV = (60.0, 1000.0)


def dose_tolerance(voltage_kV: float) -> float:
    """Dose that does the same damage as a dose of one does at 300 kV.

    Damage follows the inelastic cross-section, which falls as 1 / beta^2 (beta = v/c, the leading
    term of Bethe's formula [3]_), so the tolerance is close to proportional to beta^2.  The
    factor between the two is chosen such that the published values are met exactly: 0.8 at
    200 kV [1]_, 1 / 1.57 at 100 kV (measured fading of diffraction spots [2]_) and 1 at
    300 kV; it is linear between these voltages and constant outside.

    Parameters
    ----------
    voltage_kV : from 60 to 1000

    Raises
    ------
    ValueError
        If the voltage is outside these limits.

    References
    ----------
    .. [1] Grant & Grigorieff, eLife 4:e06980 (2015).
    .. [2] Peet, Henderson & Russo, Ultramicroscopy 203:125 (2019).
    .. [3] Reimer & Kohl, Transmission Electron Microscopy, 5th ed., chapter 5 (2008).

    Examples
    --------
    >>> dose_tolerance(300), dose_tolerance(200)
    (1.0, 0.8)
    """
    lowest, highest = VOLTAGE_LIMITS_KV
    if not lowest <= voltage_kV <= highest:
        raise ValueError(f"expected {lowest:g} to {highest:g} kV, found {voltage_kV:g}")
    published = np.array(PUBLISHED_TOLERANCE) / _beta_squared(np.array(PUBLISHED_VOLTAGES_KV))
    factor = np.interp(voltage_kV, PUBLISHED_VOLTAGES_KV, published)
    return round(float(factor * _beta_squared(np.array(voltage_kV))), 12)


def critical_exposure_e_A2(frequency_per_A: npt.ArrayLike, voltage_kV: float = 300.0) -> FloatArray:
    """Dose at which the signal's amplitude has fallen to exp(-1/2), at each frequency.

    ``Nc = (0.24499 k^-1.6649 + 2.8141) * dose_tolerance(voltage)``; infinite at k = 0.

    Parameters
    ----------
    frequency_per_A : of any shape, not negative
    voltage_kV : from 60 to 1000

    References
    ----------
    Grant & Grigorieff, eLife 4:e06980 (2015), equation 3 and figure 5.

    Examples
    --------
    >>> critical_exposure_e_A2([0.0, 0.1, 0.25]).round(2)
    array([  inf, 14.14,  5.28])
    """
    frequency = np.asarray(frequency_per_A, dtype=np.float64)
    with np.errstate(divide="ignore"):
        critical = 0.24499 * frequency**-1.6649 + 2.8141
    return np.asarray(critical * dose_tolerance(voltage_kV))


def exposure_weights(
    frequency_per_A: npt.ArrayLike, dose_after_e_A2: npt.ArrayLike, voltage_kV: float = 300.0
) -> PixelArray:
    """Remaining signal amplitude at each frequency: ``exp(-dose / (2 Nc))``, float32, 1 at k = 0.

    A frame is weighted by the accumulated dose at the *end* of the frame, pre-exposure included, as
    in the paper's program; with a dose D per frame the first one has D.

    Parameters
    ----------
    frequency_per_A : broadcasts against the dose, for instance (h, w)
    dose_after_e_A2 : accumulated dose at the end of the frame; for instance a number, or (t, 1, 1)
    voltage_kV : from 60 to 1000

    Notes
    -----
    The sum that has the noise power of a single frame is ``sum(w F) / sqrt(sum(w^2))``
    (equation 9 of the paper).

    References
    ----------
    Grant & Grigorieff, eLife 4:e06980 (2015).

    Examples
    --------
    >>> exposure_weights([0.0, 0.25], dose_after_e_A2=20.0).round(3)
    array([1.  , 0.15], dtype=float32)
    """
    dose = np.asarray(dose_after_e_A2, dtype=np.float64)
    return np.asarray(np.exp(log_weight_per_dose(frequency_per_A, voltage_kV) * dose), np.float32)


def log_weight_per_dose(frequency_per_A: npt.ArrayLike, voltage_kV: float = 300.0) -> FloatArray:
    """Logarithm of the exposure weight after a dose of 1 e/A2: ``-1 / (2 Nc)``; 0 at k = 0.

    With it the weight of each further frame costs one exponential.

    Examples
    --------
    >>> log_weight_per_dose([0.0, 0.25]).round(4)
    array([-0.    , -0.0947])
    """
    return np.asarray(-0.5 / critical_exposure_e_A2(frequency_per_A, voltage_kV))


def _beta_squared(voltage_kV: FloatArray) -> FloatArray:
    """Squared speed of the electrons relative to light."""
    gamma = 1.0 + voltage_kV / ELECTRON_REST_ENERGY_KEV
    return np.asarray(1.0 - gamma**-2)
