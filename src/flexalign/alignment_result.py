"""The result of the alignment of one movie, and how it is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from flexalign.arrays import power_spectrum
from flexalign.errors import InputError
from flexalign.files import displayed
from flexalign.io.record import is_plain_name, parameters_of
from flexalign.io.results import check_output, write_result
from flexalign.model import (
    WRITING_STAGE,
    CtfSpectrum,
    FrameSums,
    MovieRecord,
    PatchTracks,
    PixelArray,
    PowerSpectrum,
    Quality,
)
from flexalign.motion import Motion
from flexalign.naming import SUFFIXES, movie_root
from flexalign.params import AlignParams, quoted
from flexalign.plan import Plan
from flexalign.timing import StageTimer


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class AlignmentResult:
    """The result of `align_movie`; nothing is on disk until `save` is called.

    Attributes
    ----------
    motion : the motion that was applied
    sums : the images made along it
    tracks : patch tracks, None without local alignment
    spectrum_before, spectrum_after : of the unaligned and aligned sum, None when not requested
    quality : numbers and flags
    record : parameters, inputs, decisions, warnings
    plan : the sizes that were computed before a pixel was read
    spectrum_for_ctf : None when not requested
    """

    motion: Motion
    sums: FrameSums
    tracks: PatchTracks | None
    spectrum_before: PowerSpectrum | None
    spectrum_after: PowerSpectrum | None
    quality: Quality
    record: MovieRecord
    plan: Plan
    spectrum_for_ctf: CtfSpectrum | None = None

    def __repr__(self) -> str:
        """Name of the movie, motion, flags and the micrograph."""
        shape_px = self.sums.plain.shape
        micrograph = f"micrograph {shape_px} at {self.plan.output_pixel_size_A:.4g} A"
        return f"<AlignmentResult: {self.record.summary}, {micrograph}>"

    def save(
        self, folder: str | Path, name: str | None = None, *, overwrite: bool = False
    ) -> MovieRecord:
        """Write the files that ``flexalign align`` writes: all of them or none.

        Parameters
        ----------
        folder : is made if it is missing
        name : beginning of the file names; default: the name of the movie without its extension
        overwrite : replace earlier results of this name

        Returns
        -------
        The record as it was written; its ``outputs`` are the names of the files

        Raises
        ------
        InputError
            If there are results of that name and `overwrite` is off, an output is an input, or the
            name leads to another folder.
        OccupiedError
            If a file that is not ours has the name of an output, whatever `overwrite` is.
        OutputError
            If a file cannot be written.

        Examples
        --------
        >>> from flexalign import AlignParams, align_movie, simulate_movie
        >>> movie = simulate_movie(shape_px=(64, 64), frame_count=4, particles=0, threads=1)
        >>> result = align_movie(movie.counts, AlignParams(pixel_size_A=1.5, local=False))
        >>> record = result.save(getfixture("tmp_path"), "stack_1")
        >>> record.outputs["micrograph"]
        'stack_1_aligned_mic.mrc'
        """
        root = name or movie_root(self.record.movie.path)
        if not is_plain_name(root):
            raise InputError(
                f"{quoted('name')}: expected the beginning of names of files in the folder, found "
                f"'{displayed(root)}'"
            )
        read = [facts["path"] for facts in self.record.inputs.values() if "modified_ns" in facts]
        params = parameters_of(self.record)
        check_output(folder, root, params, overwrite=overwrite, inputs=read)
        return write_alignment(self, params, folder, root, overwrite=overwrite)


def write_alignment(
    result: AlignmentResult,
    params: AlignParams,
    folder: str | Path,
    root: str,
    *,
    overwrite: bool = False,
    suffixes: Mapping[str, str] = SUFFIXES,
    plot: Callable[[], bytes] | None = None,
) -> MovieRecord:
    """Write all files of `result` to `folder`; return the record with their names.

    Parameters
    ----------
    params : with which the movie was aligned
    root : beginning of the file names
    overwrite, suffixes, plot : as for `write_result`

    Raises
    ------
    InputError
        As `write_result`.
    """
    clock = StageTimer()
    with clock(WRITING_STAGE):
        outputs = write_result(
            result,
            folder,
            root,
            overwrite=overwrite,
            float16=params.float16,
            save_unaligned=params.save_unaligned,
            amplitudes=_amplitudes(result.sums, params),
            suffixes=suffixes,
            plot=plot,
        )
    timings = {**result.record.timings_s, **clock.seconds}
    return replace(result.record, outputs=outputs, timings_s=timings)


def _amplitudes(sums: FrameSums, params: AlignParams) -> Callable[[], PixelArray] | None:
    """A function that computes the image of both amplitude spectra; None = not requested."""
    if not params.psd or sums.unaligned is None:
        return None
    return partial(
        power_spectrum.amplitude_composite, sums.plain, sums.unaligned, threads=params.thread_count
    )
