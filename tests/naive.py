"""Slow and obvious reference implementations of the compiled loops.

Each is written from the definition, with Python loops over pixels, frames or coefficients, in
double precision, and shares no code with the package.
"""

from __future__ import annotations

import math

import numpy as np


def reflected(index: int, size: int) -> int:
    """`index` reflected into [0, size) at the first and the last sample."""
    while not 0 <= index < size:
        index = -index if index < 0 else 2 * (size - 1) - index
    return index


def corrected(raw, gain, dark):
    """A frame (h, w) less `dark`, times `gain`; None = none."""
    out = np.empty(raw.shape)
    for y in range(raw.shape[0]):
        for x in range(raw.shape[1]):
            value = float(raw[y, x]) - (0.0 if dark is None else float(dark[y, x]))
            out[y, x] = value * (1.0 if gain is None else float(gain[y, x]))
    return out


def cubic_b_spline(u: float) -> float:
    """The cubic B-spline at distance `u` from its centre (Unser, IEEE Signal Process. 1999)."""
    u = abs(u)
    if u < 1:
        return 2 / 3 - u**2 + u**3 / 2
    return (2 - u) ** 3 / 6 if u < 2 else 0.0


def spline_coefficients(image):
    """Coefficients (h, w) of the spline through `image`, by solving for them on each axis."""
    for axis in (0, 1):
        size = image.shape[axis]
        matrix = np.zeros((size, size))
        for i in range(size):
            for k in (-1, 0, 1):
                matrix[i, reflected(i + k, size)] += cubic_b_spline(k)
        image = np.moveaxis(np.linalg.solve(matrix, np.moveaxis(image, axis, 0)), 0, axis)
    return image


def warped(image, displacement_px):
    """The spline through `image` at p + displacement(p), for (2, h, w) displacements."""
    coefficients = spline_coefficients(np.asarray(image, float))
    height, width = image.shape
    out = np.zeros(image.shape)
    for y in range(height):
        for x in range(width):
            at_y, at_x = y + displacement_px[0, y, x], x + displacement_px[1, y, x]
            for j in range(math.floor(at_y) - 1, math.floor(at_y) + 3):
                for i in range(math.floor(at_x) - 1, math.floor(at_x) + 3):
                    weight = cubic_b_spline(at_y - j) * cubic_b_spline(at_x - i)
                    value = coefficients[reflected(j, height), reflected(i, width)]
                    out[y, x] += weight * value
    return out


def downsampled(image, weight_y, start_y, weight_x, start_x):
    """Weighted sums of pixels: output pixel i has pixel ``start[i] + k`` with ``weight[i, k]``."""
    height, width = image.shape
    out = np.zeros((len(start_y), len(start_x)))
    for y in range(len(start_y)):
        for x in range(len(start_x)):
            for j, from_y in enumerate(weight_y[y]):
                row = image[reflected(int(start_y[y]) + j, height)]
                for i, from_x in enumerate(weight_x[x]):
                    out[y, x] += from_y * from_x * row[reflected(int(start_x[x]) + i, width)]
    return out


def likelihood_sweep(spectra, ring, residual_px, weight):
    """Gradient (times, 2) and ring powers (rings,) of the sum of aligned spectra of one patch.

    Parameters
    ----------
    spectra : (times, h, w // 2 + 1) complex
    ring : (h, w // 2 + 1) number of the ring of each coefficient, -1 = left out
    residual_px : (times, 2) displacement (y, x) to correct
    weight : (rings,) W
    """
    times, height, columns = spectra.shape
    width = 2 * (columns - 1)
    gradient, power = np.zeros((times, 2)), np.zeros(len(weight))
    for j in range(height):
        for i in range(columns):
            if ring[j, i] < 0:
                continue
            ky, kx = (j if j < (height + 1) // 2 else j - height), i
            moved = [
                spectra[t, j, i]
                * np.exp(
                    2j * np.pi * (ky * residual_px[t, 0] / height + kx * residual_px[t, 1] / width)
                )
                for t in range(times)
            ]
            total = sum(moved)
            power[ring[j, i]] += abs(total) ** 2
            for t in range(times):
                gradient_part = weight[ring[j, i]] * (np.conj(total) * moved[t]).imag
                gradient[t] += gradient_part * ky, gradient_part * kx
    return gradient, power


def tapered(image, top, left, window, has_unit_sd=False):
    """A tile of `image`, reflected at its edges, less its mean, times `window`."""
    tile = np.empty(window.shape)
    for j in range(window.shape[0]):
        for i in range(window.shape[1]):
            y, x = reflected(top + j, image.shape[0]), reflected(left + i, image.shape[1])
            tile[j, i] = image[y, x]
    tile -= tile.mean()
    return tile * window / (tile.std() if has_unit_sd else 1.0)


def cross_spectrum(a, b, width):
    """conj(a) b without its mean, and the sum of its squared magnitudes over the whole plane."""
    product = np.conj(a) * b
    product[0, 0] = 0
    power = 0.0
    for j in range(product.shape[0]):
        for i in range(product.shape[1]):
            is_its_own_mirror = i == 0 or 2 * i == width
            power += (1 if is_its_own_mirror else 2) * abs(product[j, i]) ** 2
    return product, power


def highest_near(surface, radius_px, step_px=0.01):
    """Maximum of a periodic surface within a radius of the origin, on a grid of `step_px`.

    Between pixels the surface is its own band-limited interpolation.

    Returns
    -------
    top_px : (y, x)
    height : there
    """
    height, width = surface.shape
    spectrum = np.fft.fft2(surface)
    y, x = np.unravel_index(np.argmax(_within(surface, radius_px)), surface.shape)
    for step in (0.1, step_px):
        offsets = np.arange(-10, 11) * step
        along_y = np.exp(2j * np.pi * np.fft.fftfreq(height) * (y + offsets)[:, None])
        along_x = np.exp(2j * np.pi * np.fft.fftfreq(width) * (x + offsets)[:, None])
        values = (along_y @ spectrum @ along_x.T).real / surface.size
        best = np.unravel_index(np.argmax(values), values.shape)
        y, x = y + offsets[best[0]], x + offsets[best[1]]
    at = [n - size if n > size / 2 else n for n, size in ((y, height), (x, width))]
    return np.array(at), values[best]


def _within(surface, radius_px):
    away = [np.fft.fftfreq(n) * n for n in surface.shape]
    inside = np.hypot(away[0][:, None], away[1][None, :]) <= radius_px
    return np.where(inside, surface, -np.inf)
