"""Transfer function of one interpolation, by Fourier ring up to Nyquist.

White noise is moved by 0, 0.1 ... 0.5 pixels in y and x, as the frames of a drifting movie are,
and compared with the exact result, a phase shift in Fourier space.  A uniform shift is a filter,
so a ring has one complex factor H per shift.  Over many frames with random fractions of a pixel

    amplitude kept = mean Re H,    SNR kept = (mean Re H)^2 / mean |H|^2,

since the signal of the frames adds up and their noise does not: a factor that is the same in all
frames costs no SNR, one that varies with the fraction of the pixel does.  (H of the opposite shift
is the complex conjugate, so the imaginary parts cancel.)  The tables are Markdown::

    python benchmarks/transfer.py
    python benchmarks/transfer.py --rings
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from flexalign.arrays import resample

Array = npt.NDArray[np.float64]
Mover = Callable[[Array, tuple[float, float]], Array]

# Odd, so that no coefficient lies on Nyquist, where the sign of the phase is ambiguous.
SIZE_PX = 255
SHIFTS_PX = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
# Fractions are uniform in [-0.5, 0.5]: the trapezoidal rule over half of it.
SHIFT_WEIGHTS = (0.5, 1.0, 1.0, 1.0, 1.0, 0.5)
QUOTED = (0.25, 0.5, 0.75, 0.9)
RING_WIDTH = 0.05
# More than any of the kernels reaches, prefilter included.
MARGIN_PX = 32


@dataclass(frozen=True, slots=True, eq=False)
class Transfer:
    """Transfer of one interpolation, against frequency over Nyquist.

    Attributes
    ----------
    frequency : (rings,) middle of each ring, 1 = Nyquist
    amplitude, snr : (rings,) kept of the amplitude and of the signal-to-noise ratio
    """

    frequency: Array
    amplitude: Array
    snr: Array

    def at(self, frequency: float) -> tuple[float, float]:
        """Amplitude and SNR ratio at a frequency."""
        return (
            float(np.interp(frequency, self.frequency, self.amplitude)),
            float(np.interp(frequency, self.frequency, self.snr)),
        )


def by_flexalign(image: Array, shift_px: tuple[float, float]) -> Array:
    """``image(p + shift)`` by the package, with a periodic margin that is cropped."""
    padded = np.pad(image, MARGIN_PX, mode="wrap").astype(np.float32)
    nodes = [resample.lattice_nodes(n, 16).size for n in padded.shape]
    lattice = np.broadcast_to(np.array(shift_px, np.float32)[:, None, None], (2, *nodes))
    moved = resample.sample(resample.spline_coefficients(padded), lattice, 16)
    return moved[MARGIN_PX:-MARGIN_PX, MARGIN_PX:-MARGIN_PX].astype(np.float64)


def by_scipy(order: int) -> Mover:
    """The B-spline of `order` of `scipy.ndimage`; order 1 is linear interpolation."""

    def move(image: Array, shift_px: tuple[float, float]) -> Array:
        shift = [-s for s in shift_px]
        return np.asarray(ndimage.shift(image, shift, order=order, mode="grid-wrap"))

    return move


def by_catmull_rom(image: Array, shift_px: tuple[float, float]) -> Array:
    """Keys' cubic convolution (a = -1/2) on four points per axis, without a prefilter."""
    for axis, s in enumerate(shift_px):
        weights = np.array([
            -0.5 * s**3 + s**2 - 0.5 * s, 1.5 * s**3 - 2.5 * s**2 + 1,
            -1.5 * s**3 + 2 * s**2 + 0.5 * s, 0.5 * s**3 - 0.5 * s**2,
        ])  # fmt: skip
        image = sum(w * np.roll(image, 1 - k, axis) for k, w in enumerate(weights))
    return image


def by_fourier(image: Array, shift_px: tuple[float, float]) -> Array:
    """The exact result for a periodic image."""
    ky, kx = np.fft.fftfreq(image.shape[0])[:, None], np.fft.rfftfreq(image.shape[1])
    phase = np.exp(2j * np.pi * (ky * shift_px[0] + kx * shift_px[1]))
    return np.fft.irfft2(np.fft.rfft2(image) * phase, s=image.shape)


METHODS: dict[str, Mover] = {
    "linear": by_scipy(1),
    "Catmull-Rom cubic": by_catmull_rom,
    "cubic B-spline (flexalign)": by_flexalign,
    "cubic B-spline (scipy)": by_scipy(3),
    "quintic B-spline (scipy)": by_scipy(5),
    "Fourier phase shift": by_fourier,
}


def measure(move: Mover, seed: int = 0) -> Transfer:
    """The transfer of an interpolation method, on white noise."""
    image = np.random.default_rng(seed).normal(size=(SIZE_PX, SIZE_PX))
    frequency = 2 * np.hypot(np.fft.fftfreq(SIZE_PX)[:, None], np.fft.rfftfreq(SIZE_PX))
    # The first ring is half as wide: its middle is 0.
    ring = np.rint(frequency / RING_WIDTH).astype(int)
    ring_count = round(1 / RING_WIDTH) + 1
    signal, noise = np.zeros(frequency.shape), np.zeros(frequency.shape)
    total = 0.0
    weighted = list(zip(SHIFTS_PX, SHIFT_WEIGHTS, strict=True))
    for (dy, weight_y), (dx, weight_x) in itertools.product(weighted, repeat=2):
        weight = weight_y * weight_x
        exact = np.fft.rfft2(by_fourier(image, (dy, dx)))
        factor = np.fft.rfft2(move(image, (dy, dx))) / exact
        signal += weight * factor.real
        noise += weight * np.abs(factor) ** 2
        total += weight

    def ring_mean(values: Array) -> Array:
        count = np.bincount(ring.ravel())
        return (np.bincount(ring.ravel(), values.ravel()) / count)[:ring_count]

    signal, noise = signal / total, noise / total
    return Transfer(
        np.arange(ring_count) * RING_WIDTH,
        ring_mean(signal),
        ring_mean(signal**2) / ring_mean(noise),
    )


def quoted_table(found: dict[str, Transfer]) -> str:
    """Amplitude and SNR ratios of each method at a few frequencies, in Markdown."""
    lines = [
        "| kept at ... of Nyquist | " + " | ".join(f"{f:g}" for f in QUOTED) + " |",
        "| --- |" + " --- |" * len(QUOTED),
    ]
    for name, transfer in found.items():
        cells = ("{:.3f} / {:.3f}".format(*transfer.at(f)) for f in QUOTED)
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", "Amplitude / SNR kept; 1 = all of it."])


def ring_table(found: dict[str, Transfer]) -> str:
    """Amplitude ratio of each method in every ring, in Markdown."""
    lines = [
        "| amplitude at | " + " | ".join(found) + " |",
        "| --- |" + " --- |" * len(found),
    ]
    rings = next(iter(found.values())).frequency
    for k, frequency in enumerate(rings):
        cells = (f"{transfer.amplitude[k]:.3f}" for transfer in found.values())
        lines.append(f"| {frequency:.2f} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--rings", action="store_true", help="print the amplitude of every ring too"
    )
    chosen = parser.parse_args()
    found = {name: measure(move) for name, move in METHODS.items()}
    print(quoted_table(found))
    if chosen.rings:
        print()
        print(ring_table(found))


if __name__ == "__main__":
    main()
