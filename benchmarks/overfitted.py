"""A motion with as many parameters as possible: every patch of every frame is aligned alone.

It has no prior, no smoothness in time or space and no low-pass filter: the displacement of a patch
in a frame is the highest peak of its correlation with the sum of the other frames, in some rounds.
In noise it aligns noise.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from flexalign.estimate.patch_spectra import cut_spectra
from flexalign.estimate.patches import make_grid
from flexalign.io.motion_formats.field_fit import fit_field
from flexalign.io.movies.open_movie import open_for
from flexalign.io.references import references_for
from flexalign.model import FloatArray
from flexalign.motion import Motion
from flexalign.params import AlignParams
from flexalign.passes import first_pass
from flexalign.plan import make_plan
from flexalign.scoring.score_movie import MIN_PATCH_A

ROUNDS = 5
MAX_SHIFT_A = 30.0


def overfitted_motion(movie: Path, params: AlignParams, rounds: int = ROUNDS) -> Motion:
    """The motion of all patches of a movie, with one control point for each of their shifts.

    Patches are those of the scores, so that as much noise as possible is aligned.
    """
    params = replace(params, min_patch_A=MIN_PATCH_A)
    with open_for(movie, params) as reader:
        plan = make_plan(reader.info, params)
        references = references_for(reader.info, params)
        frames, _ = first_pass(reader, plan, references, params, params.thread_count, _silent)
    grid = make_grid(frames, plan.patches)
    still = np.zeros((len(grid.center_px), len(frames.frame), 2))
    spectra = cut_spectra(frames, grid, still).spectra
    scale = np.array(frames.scale)
    radius_px = MAX_SHIFT_A / frames.pixel_size_A / scale.max()
    found = [scale * patch_shifts_px(one, grid.shape_px, radius_px, rounds) for one in spectra]
    path = Motion.still(len(still[0])).trajectory
    field = fit_field(
        np.array(found), *grid.center_px.T, plan.align, (len(still[0]), *plan.patches),
        frames.full_shape_px,
    )  # fmt: skip
    return Motion(path, field)


def patch_shifts_px(
    spectra: npt.NDArray[np.complex64], shape_px: tuple[int, int], radius_px: float, rounds: int
) -> FloatArray:
    """Displacements (frames, 2) of one patch with spectra (frames, h, w // 2 + 1), whole pixels.

    Examples
    --------
    >>> image = np.random.default_rng(1).standard_normal((32, 32))
    >>> frames = [image, np.roll(image, (2, -3), axis=(0, 1)), image]
    >>> patch_shifts_px(np.fft.rfft2(frames).astype(np.complex64), (32, 32), 8, 2).tolist()
    [[0.0, 0.0], [2.0, -3.0], [0.0, 0.0]]
    """
    y, x = np.meshgrid(*(np.fft.fftfreq(n, 1 / n) for n in shape_px), indexing="ij")
    inside = np.hypot(y, x) <= radius_px
    ky, kx = np.fft.fftfreq(shape_px[0])[:, None], np.fft.rfftfreq(shape_px[1])
    moved = spectra.copy()
    shifts = np.zeros((len(spectra), 2))
    total = moved[0].copy()  # the first round adds the frames one by one
    for turn in range(rounds):
        for frame in range(1, len(spectra)):
            others = total - moved[frame] if turn else total
            peaks = np.fft.irfft2(spectra[frame] * others.conj(), shape_px)
            row, column = np.unravel_index(np.where(inside, peaks, -np.inf).argmax(), shape_px)
            dy, dx = y[row, column], x[row, column]
            moved[frame] = spectra[frame] * np.exp(2j * np.pi * (ky * dy + kx * dx))
            total = others + moved[frame]
            shifts[frame] = dy, dx
    return shifts


def _silent(stage: str, done: int, total: int) -> None:
    """No progress is shown."""
