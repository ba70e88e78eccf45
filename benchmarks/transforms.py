"""Time of the Fourier transforms of the passes with each library, on this machine.

Real images to spectra and back, 32-bit floats, at the sizes of detectors and of patches.  Measured
are the libraries that are installed; SciPy is, the others by hand::

    python -m pip install ducc0 pyfftw mkl_fft mkl-service
    python benchmarks/transforms.py --threads 2
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy import fft

SHAPES_PX = (
    (3838, 3710), (4096, 4096), (4092, 5760), (8184, 11520), (32, 512, 512), (8, 820, 820),
)  # fmt: skip
AXES = (-2, -1)
Transform = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.complex64]]
Inverse = Callable[[npt.NDArray[np.complex64], tuple[int, ...]], npt.NDArray[np.float32]]


def libraries(threads: int) -> dict[str, tuple[Transform, Inverse]]:
    """Transform and inverse of each installed library, over (..., h, w)."""
    found: dict[str, tuple[Transform, Inverse]] = {
        "scipy": (
            lambda images: fft.rfft2(images, workers=threads),
            lambda spectra, shape: fft.irfft2(spectra, s=shape[-2:], workers=threads),
        )
    }
    try:
        import ducc0

        found["ducc0"] = (
            lambda images: ducc0.fft.r2c(images, axes=AXES, nthreads=threads),
            lambda spectra, shape: ducc0.fft.c2r(
                spectra, axes=AXES, lastsize=shape[-1], forward=False, inorm=2, nthreads=threads
            ),
        )
    except ImportError:
        pass
    try:
        from pyfftw.interfaces import cache, numpy_fft

        cache.enable()  # plans are made once
        options = {"threads": threads, "planner_effort": "FFTW_ESTIMATE"}
        found["pyfftw"] = (
            lambda images: numpy_fft.rfft2(images, **options),
            lambda spectra, shape: numpy_fft.irfft2(spectra, s=shape[-2:], **options),
        )
    except ImportError:
        pass
    try:
        import mkl
        import mkl_fft

        mkl.set_num_threads(threads)
        found["mkl_fft"] = (
            mkl_fft.rfft2, lambda spectra, shape: mkl_fft.irfft2(spectra, s=shape[-2:])
        )  # fmt: skip
    except ImportError:
        pass
    return found


def shortest_ms(work: Callable[[], object], repeats: int) -> float:
    """Milliseconds of the fastest of some calls, after a warm-up."""
    work()
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return 1e3 * min(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    chosen = parser.parse_args()
    known = libraries(chosen.threads)
    print(f"Milliseconds there / back, {chosen.threads} threads\n")
    print("| images | " + " | ".join(known) + " |")
    print("| --- |" + " --: |" * len(known))
    rng = np.random.default_rng(0)
    for shape in SHAPES_PX:
        images = rng.random(shape, dtype=np.float32)
        cells = []
        for transform, inverse in known.values():
            spectra = transform(images)
            forward_ms = shortest_ms(lambda: transform(images), chosen.repeats)  # noqa: B023
            back = shortest_ms(lambda: inverse(spectra, shape), chosen.repeats)  # noqa: B023
            cells.append(f"{forward_ms:.0f} / {back:.0f}")
        print(f"| {' x '.join(map(str, shape))} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
