"""Exhaustive search for the simple path with the highest total correlation of all frame pairs.

Where single pairs have too little signal for a peak, their sum may have enough: a straight path
with one of a few speed profiles has three parameters, whatever the number of frames, so that all
can be tried.  Further such terms let the path bend.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
from scipy.ndimage import map_coordinates

from flexalign.arrays import correlate, fourier
from flexalign.estimate import pairwise, priors
from flexalign.estimate.frames import SmallFrames
from flexalign.estimate.spectral_powers import half_of_ring
from flexalign.model import FloatArray

# More frames than this are summed in groups.
_MAX_GROUPS = 10
# Maximum length of each term of the path.
_REACH_A = 60.0
# Terms of the path are searched one after the other, each in addition to those found.
_ROUNDS = 3
# The low-pass is a Gaussian that is one half at this resolution.
_LOW_PASS_A = 12.0


def straight_path(
    frames: SmallFrames, threads: int = 1, mask: FloatArray | None = None
) -> FloatArray:
    """Displacement (n, 2) along the best of all tested paths, in unbinned pixels, mean zero.

    Parameters
    ----------
    mask : (h, w // 2 + 1) of the coefficients to use, None = all
    """
    groups = np.array_split(np.arange(len(frames.frame)), min(len(frames.frame), _MAX_GROUPS))
    spectra = pairwise.filtered_spectra(frames, groups, _LOW_PASS_A, threads, mask)
    pixel_A = frames.pixel_size_A * min(frames.scale)
    reach = min(round(_REACH_A / pixel_A), (min(frames.shape_px) - 1) // 3)
    pairs = list(combinations(range(len(groups)), 2))
    near = [
        np.roll(
            fourier.irfft2(spectra[a].conj() * spectra[b], frames.shape_px, threads),
            (reach, reach),
            (0, 1),
        )[: 2 * reach + 1, : 2 * reach + 1]
        for a, b in pairs
    ]
    ends = np.mgrid[-reach : reach + 1, -reach : reach + 1].reshape(2, -1)
    ends = ends[:, np.hypot(*ends) <= reach]
    profiles = _speed_profiles(frames.frame)
    of_group = np.array([[profile[group].mean() for group in groups] for profile in profiles])
    displacement = np.zeros((len(profiles), 2))
    for _ in range(_ROUNDS):
        best = -np.inf
        for k, profile in enumerate(of_group):
            others = displacement.T @ of_group - np.outer(displacement[k], profile)  # (2, groups)
            agreement = np.zeros(ends.shape[1])
            for surface, (a, b) in zip(near, pairs, strict=True):
                apart = (others[:, b] - others[:, a])[:, None] + (profile[b] - profile[a]) * ends
                agreement += map_coordinates(surface, reach + apart, order=1, mode="nearest")
            if agreement.max() > best:
                best, chosen, end = agreement.max(), k, ends[:, np.argmax(agreement)]
        displacement[chosen] = end
    path = (profiles.T @ displacement) * np.array(frames.scale)
    return np.asarray(path - path.mean(axis=0))


def straight_path_by_halves(
    frames: SmallFrames, rings_per_A: float, threads: int = 1
) -> tuple[FloatArray, FloatArray]:
    """As `straight_path`, from each half-set of rings; see `spectral_powers.half_of_ring`.

    Parameters
    ----------
    rings_per_A : number of rings per unit of frequency (1 / Angstrom)
    """
    scale = np.array(frames.scale) * frames.pixel_size_A
    frequency = correlate.ring_index(frames.shape_px, (scale[0], scale[1]))
    ring = np.rint(frequency * rings_per_A).astype(np.int64)
    half = half_of_ring(int(ring.max()) + 1)[ring]
    one, other = (straight_path(frames, threads, half == h) for h in (0, 1))
    return one, other


def _speed_profiles(frame: FloatArray) -> FloatArray:
    """Share (paces, n) of the path completed at each time: at constant speed, and slowing down."""
    since, span = frame - frame[0], float(np.ptp(frame))
    slowings = [part * (span + 1) for part in priors.SLOWING_RATIOS]
    return np.array([priors.slowed(since, span, t0) / max(span, 1e-9) for t0 in slowings])


def is_erratic(path_px: FloatArray) -> bool:
    """Whether a path (n, 2) jumps back and forth between frames, as real specimens do not.

    The median change between consecutive steps is 1.4 times their length for independent steps and
    1.7 times for independent positions, but less than one for a drift, a bend or a single jump.
    Displacements of filaments and crystals are ambiguous, and coarse detail does not resolve that.
    """
    steps = np.diff(path_px, axis=0)
    if len(steps) < 2:
        return False
    changes = np.hypot(*np.diff(steps, axis=0).T)
    return bool(np.median(changes) > np.median(np.hypot(*steps.T)))
