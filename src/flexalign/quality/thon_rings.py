"""Thon rings in power spectra: the resolution to which they are visible.

This is not a CTF estimate: defocus and astigmatism are fitted only as well as needed to average
the spectrum along the rings.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from flexalign.model import FloatArray, PowerSpectrum

# At coarser resolution the structure of the particles, not the CTF, dominates the spectrum.
COARSEST_A = 20.0
FINEST_A = 3.0
SECTORS = 12
# Minimum local correlation of the spectrum with rings that count as visible.
VISIBLE_CORRELATION = 0.5
# Detection threshold in standard deviations of the noise, for the best of thousands of trials.
SIGNIFICANCE = 8.0
MIN_BINS = 48
# Threshold for a section of the rings, a single trial.
_VISIBLE_DEVIATIONS = 3.0
_STRONG_DEVIATIONS = 2.0
_CS_A = 2.7e7
_DEFOCUS_A = (2000.0, 50000.0)
_DEFOCUS_STEP_A = 50.0
_COARSE_STEPS = 4
_ASTIGMATISM_A = (300.0, 700.0, 1200.0)
_BACKGROUND_BINS = 8.0
# Values are clipped at this many standard deviations, so that lines and ice do not dominate.
_CLIP_DEVIATIONS = 6.0
# Weight of the rings: their power decays about as exp(-40 A2 k^2).
_DECAY_A2 = 40.0
# Window of the local correlation in ring spacings, and its minimum in bins.
_WINDOW_SPACINGS = 1.5
_WINDOW_BINS = 12
# Rings closer than this are not resolved by the tiles.
_MIN_BINS_PER_SPACING = 2.5


@dataclass(frozen=True, slots=True, eq=False)
class ThonRings:
    """Thon rings of one micrograph.

    Attributes
    ----------
    to_A, before_A : resolution to which they are visible after and before correction; NaN = none
    score : correlation of the spectrum with the rings up to the limit of visibility; NaN = not
        measured, because the spectrum is too small
    """

    to_A: float
    before_A: float
    score: float


NOT_MEASURED = ThonRings(math.nan, math.nan, math.nan)


@dataclass(frozen=True, slots=True, eq=False)
class _Profiles:
    """Ring strength (sectors, bins) over a smooth background, in noise standard deviations."""

    strength: FloatArray
    frequency_per_A: FloatArray
    angle: FloatArray


def find_thon_rings(before: PowerSpectrum, after: PowerSpectrum, voltage_kV: float) -> ThonRings:
    """The resolution to which Thon rings are visible in two spectra of one micrograph.

    Parameters
    ----------
    before, after : of one size

    Notes
    -----
    The spectrum after correction is divided into sectors of 15 degrees and by its smooth part.
    Defocus, astigmatism and a constant phase (amplitude contrast, phase plate) are those at which

        | sum over sectors and frequencies of y w exp(2 i chi) |

    is largest, with w = exp(-40 A2 k^2), chi = pi lambda dz k^2 - pi/2 Cs lambda^3 k^4 and Cs = 2.7
    mm. The sectors are averaged along the rings of this model. Rings are visible up to the highest
    frequency to which, from their strongest section on, the local correlation with cos(2 chi +
    phase) is at least 0.5 and significant by three standard deviations of the noise.

    References
    ----------
    Rohou & Grigorieff, J. Struct. Biol. 192:216 (2015), for local correlation as the criterion.
    """
    profiles = _profiles(after)
    if profiles is None:
        return NOT_MEASURED
    wavelength_A = electron_wavelength_A(voltage_kV)
    defocus_A, phase, significance = _fit_rings(profiles, wavelength_A)
    frequency = profiles.frequency_per_A
    model = np.cos(2 * _chi(frequency, float(np.mean(defocus_A)), wavelength_A) - phase)
    averaged = _along_rings(profiles, defocus_A)
    if significance < SIGNIFICANCE:
        return ThonRings(math.nan, math.nan, _correlation(averaged, model))
    spacing_bins = _spacing_bins(frequency, float(np.mean(defocus_A)), wavelength_A)
    end = _last_visible(averaged, model, spacing_bins)
    score = 0.0 if end is None else _correlation(averaged[: end + 1], model[: end + 1])
    if end is None or score < VISIBLE_CORRELATION:
        return ThonRings(math.nan, math.nan, _correlation(averaged, model))
    other = _profiles(before)
    end_before = None
    if other is not None:
        end_before = _last_visible(_along_rings(other, defocus_A), model, spacing_bins)
    return ThonRings(
        to_A=1 / float(frequency[end]),
        before_A=math.nan if end_before is None else 1 / float(frequency[end_before]),
        score=score,
    )


def electron_wavelength_A(voltage_kV: float) -> float:
    """Wavelength of electrons, relativistic.

    References
    ----------
    Reimer & Kohl, Transmission Electron Microscopy, 5th ed. (2008), equation 2.12; constants of
    CODATA 2018.

    Examples
    --------
    >>> round(electron_wavelength_A(300), 5)
    0.01969
    """
    energy_eV = 1e3 * voltage_kV
    return 12.26426 / math.sqrt(energy_eV * (1 + 0.978476e-6 * energy_eV))


def _profiles(spectrum: PowerSpectrum) -> _Profiles | None:
    """Sector profiles over the range in which rings are searched; None when it is too short."""
    frequency = np.asarray(spectrum.frequency_per_A)
    finest_per_A = min(0.9 * float(frequency[-1]), 1 / FINEST_A)
    wanted = np.flatnonzero((frequency >= 1 / COARSEST_A) & (frequency <= finest_per_A))
    if wanted.size < MIN_BINS:
        return None
    power, count = _sector_means(spectrum)
    smooth = gaussian_filter1d(
        np.log(np.maximum(power, 1e-12)), _BACKGROUND_BINS, axis=1, mode="nearest"
    )
    # The noise of a mean falls with the number of its coefficients.
    strength = ((power / np.exp(smooth) - 1) * np.sqrt(count))[:, wanted]
    fine = strength[:, wanted.size // 2 :]
    deviation = 1.4826 * float(np.median(np.abs(fine - np.median(fine))))
    if deviation == 0:
        return None
    clipped = (strength / deviation).clip(-_CLIP_DEVIATIONS, _CLIP_DEVIATIONS)
    angle = (np.arange(SECTORS) + 0.5) * math.pi / SECTORS
    return _Profiles(clipped, frequency[wanted], angle)


def _sector_means(spectrum: PowerSpectrum) -> tuple[FloatArray, FloatArray]:
    """Mean power (sectors, rings) and number of coefficients of each ring in each sector."""
    side = spectrum.power.shape[0]
    rings = len(spectrum.frequency_per_A)
    # The spectrum is symmetric; its axes hold the residual row and column structure.
    y = np.arange(side)[:, None] - side // 2
    x = np.arange(1, side // 2)
    ring = np.rint(np.hypot(y, x)).astype(np.int64)
    sector = np.floor((np.arctan2(y, x) + math.pi / 2) * SECTORS / math.pi).astype(np.int64)
    used = (ring < rings) & (np.abs(y) > 0)
    index = (sector.clip(0, SECTORS - 1) * rings + ring)[used]
    power = spectrum.power[:, side // 2 + 1 :][used]
    count = np.bincount(index, minlength=SECTORS * rings)
    total = np.bincount(index, weights=power, minlength=SECTORS * rings)
    mean = (total / np.maximum(count, 1)).reshape(SECTORS, rings)
    counts = count.reshape(SECTORS, rings).astype(np.float64)
    # Small rings miss some sectors.
    over_all = np.broadcast_to(np.asarray(spectrum.radial_power), mean.shape)
    return np.where(counts > 0, mean, over_all), np.maximum(counts, 1)


def _chi(
    frequency_per_A: FloatArray, defocus_A: float | FloatArray, wavelength_A: float
) -> FloatArray:
    """Phase of the CTF."""
    squared = frequency_per_A**2
    return np.asarray(
        math.pi * wavelength_A * defocus_A * squared
        - math.pi / 2 * _CS_A * wavelength_A**3 * squared**2
    )


def _spacing_bins(frequency_per_A: FloatArray, defocus_A: float, wavelength_A: float) -> FloatArray:
    """Distance (bins,) of neighbouring rings."""
    step = float(frequency_per_A[1] - frequency_per_A[0])
    slope = np.gradient(_chi(frequency_per_A, defocus_A, wavelength_A), step)
    return np.asarray(math.pi / np.maximum(np.abs(slope), 1e-9) / step)


def _fit_rings(profiles: _Profiles, wavelength_A: float) -> tuple[FloatArray, float, float]:
    """Defocus (sectors,) and phase of the strongest rings, and their significance."""
    grid_A: FloatArray = np.arange(*_DEFOCUS_A, _DEFOCUS_STEP_A)
    waves = np.exp(-2j * _chi(profiles.frequency_per_A[:, None], grid_A, wavelength_A))
    weighted = profiles.strength * np.exp(-_DECAY_A2 * profiles.frequency_per_A**2)
    projections = weighted @ waves  # (sectors, defocus)
    cosine, sine = np.cos(2 * profiles.angle), np.sin(2 * profiles.angle)

    def strongest(*trials: FloatArray) -> tuple[float, ...]:
        """Mean defocus, both components of astigmatism and phase of the strongest rings."""
        mean, a, b = (grid.ravel() for grid in np.meshgrid(*trials, indexing="ij"))
        sums = np.zeros(len(mean), np.complex128)
        for s in range(SECTORS):
            step = (mean + a * cosine[s] + b * sine[s] - grid_A[0]) / _DEFOCUS_STEP_A
            sums += projections[s, np.rint(step).astype(np.int64).clip(0, len(grid_A) - 1)]
        best = int(np.argmax(np.abs(sums)))
        return float(mean[best]), float(a[best]), float(b[best]), float(np.angle(sums[best]))

    steps_A = np.array(_ASTIGMATISM_A)
    sides_A = np.concatenate([-steps_A[::-1], [0.0], steps_A])
    start = strongest(grid_A[::_COARSE_STEPS], sides_A, sides_A)
    near_A = np.asarray(_DEFOCUS_STEP_A * np.arange(-6, 7), np.float64)
    mean, a, b, phase = strongest(start[0] + near_A, start[1] + near_A, start[2] + near_A)
    defocus_A = mean + a * cosine + b * sine
    model = np.cos(2 * _chi(profiles.frequency_per_A, defocus_A[:, None], wavelength_A) + phase)
    model *= np.exp(-_DECAY_A2 * profiles.frequency_per_A**2)
    significance = float((profiles.strength * model).sum() / np.sqrt((model**2).sum()))
    return defocus_A, -phase, significance


def _along_rings(profiles: _Profiles, defocus_A: FloatArray) -> FloatArray:
    """Mean over sectors (bins,) at equal phase of the rings."""
    frequency = profiles.frequency_per_A
    scale = np.sqrt(np.mean(defocus_A) / defocus_A)
    stretched = [
        np.interp(frequency * factor, frequency, values)
        for factor, values in zip(scale, profiles.strength, strict=True)
    ]
    return np.asarray(np.mean(stretched, axis=0))


def _correlation(values: FloatArray, model: FloatArray) -> float:
    """Pearson's correlation of two curves; 0 when one is constant."""
    spread = float(np.std(values) * np.std(model))
    covariance = float(np.mean((values - values.mean()) * (model - model.mean())))
    return covariance / spread if spread > 0 else 0.0


def _last_visible(values: FloatArray, model: FloatArray, spacing_bins: FloatArray) -> int | None:
    """Last bin to which rings are visible, from their strongest section on; None = nowhere."""
    # At the end of strong rings, those inside the window must not count for the whole window.
    limited = (values * math.sqrt(SECTORS)).clip(-_STRONG_DEVIATIONS, _STRONG_DEVIATIONS)
    correlation = np.full(len(values), -1.0)
    deviations = np.zeros(len(values))
    resolved = np.flatnonzero(spacing_bins >= _MIN_BINS_PER_SPACING)
    for i in resolved:
        reach = math.ceil(max(_WINDOW_BINS, _WINDOW_SPACINGS * spacing_bins[i]) / 2)
        window = slice(max(0, i - reach), i + reach + 1)
        correlation[i] = _correlation(limited[window], model[window])
        centred = model[window] - model[window].mean()
        # Mean over sectors, each with unit noise.
        deviations[i] = (values[window] @ centred) * math.sqrt(SECTORS) / np.linalg.norm(centred)
    is_visible = (correlation >= VISIBLE_CORRELATION) & (deviations >= _VISIBLE_DEVIATIONS)
    best = int(np.argmax(np.where(is_visible, deviations, -1.0)))
    if not is_visible[best]:
        return None
    beyond = np.flatnonzero(~is_visible[best:])
    return best + int(beyond[0]) - 1 if beyond.size else len(values) - 1
