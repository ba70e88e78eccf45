"""Removal of a fixed pattern from frames."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from flexalign.arrays import correlate, fourier
from flexalign.estimate.fixed_pattern import FixedPattern
from flexalign.estimate.frames import SmallFrames
from flexalign.model import FloatArray

# Number of strengths for which frames are filtered, and ratio of the largest to the smallest.
_LEVELS = 7
_LEVEL_RANGE = 64.0


def remove_pattern(frames: SmallFrames, pattern: FixedPattern, threads: int = 1) -> SmallFrames:
    """Frames in which noise plus pattern are uncorrelated from frame to frame.

    The mean of all n frames times 1 - 1 / sqrt(1 + n G / N) is subtracted from each, ring by ring,
    which decorrelates noise of power N and a common pattern of power G.  Subtracting the whole mean
    would add its noise with the opposite sign.  Between the centres of patches G is interpolated.
    """
    shape, pixel_A = frames.shape_px, frames.pixel_size_A
    mean = fourier.rfft2(frames.stack.mean(), threads)
    frequency = correlate.ring_index(shape, (frames.scale[0] * pixel_A, frames.scale[1] * pixel_A))
    power = np.interp(frequency, pattern.ring_frequency_per_A, pattern.power_over_noise)
    strength = _over_field(pattern.strength, shape)
    levels = _levels(pattern.strength)
    common = np.zeros(shape, np.float32)
    for level, of_level in zip(levels, np.eye(len(levels)), strict=True):
        # Eq. (12).
        part = 1 - 1 / np.sqrt(1 + len(frames.frame) * level * power)
        image = fourier.irfft2(mean * part.astype(np.float32), shape, threads)
        common += image * np.interp(strength, levels, of_level).astype(np.float32)
    cleaned = replace(frames, pixels=frames.pixels.copy())
    cleaned.stack.add_scaled(common, np.full(len(frames.frame), -1, np.float32), threads)
    return cleaned


def _levels(strength: FloatArray) -> FloatArray:
    """Increasing strengths (n,) between which the filter is interpolated."""
    highest, lowest = float(strength.max()), float(strength.min())
    if highest == lowest:
        return np.array([highest])
    return np.append(0.0, np.geomspace(highest / _LEVEL_RANGE, highest, _LEVELS))


def _over_field(strength: FloatArray, shape_px: tuple[int, int]) -> FloatArray:
    """Values (y, x) of adjacent patches at every pixel, interpolated linearly between centres."""
    weights = []
    for count, size in zip(strength.shape, shape_px, strict=True):
        place = (np.arange(size) + 0.5) * count / size - 0.5
        weights.append([np.interp(place, np.arange(count), one) for one in np.eye(count)])
    in_y, in_x = np.array(weights[0]), np.array(weights[1])
    return np.asarray(in_y.T @ strength @ in_x)
