"""The values that pass between modules: frozen, checked where made, plain JSON and back.

Arrays are in (t, y, x) order, rows as MRC stores them; units are in the names.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from flexalign.array_value import ShortRepr
from flexalign.movie_info import ARRAY_FORMAT as ARRAY_FORMAT
from flexalign.movie_info import EerInfo as EerInfo
from flexalign.movie_info import FrameRange as FrameRange
from flexalign.movie_info import MovieInfo as MovieInfo
from flexalign.plain import EqualAsJson, is_number
from flexalign.plain import JsonValue as JsonValue
from flexalign.plain import from_plain as from_plain
from flexalign.plain import to_plain as to_plain
from flexalign.quality_numbers import Flag as Flag
from flexalign.quality_numbers import Quality as Quality
from flexalign.quality_numbers import SignalBand as SignalBand

FloatArray = npt.NDArray[np.float64]
PixelArray = npt.NDArray[np.float32]
MaskArray = npt.NDArray[np.bool_]


def read_only(array: npt.ArrayLike, dtype: npt.DTypeLike = np.float64) -> npt.NDArray[Any]:
    """A read-only copy of `array`."""
    copy = np.array(array, dtype=dtype)
    copy.flags.writeable = False
    return copy


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class References(ShortRepr):
    """The detector's correction images, turned and sized to the movie.

    Attributes
    ----------
    gain : (h, w) float32 or None; multiplies. One where the pixel is a defect
    dark : (h, w) float32 or None; subtracted before the gain
    defects : (h, w) bool; True = bad pixel, filled from good neighbours
    notes : how they were made to fit, one sentence each
    """

    gain: PixelArray | None
    dark: PixelArray | None
    defects: MaskArray
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("gain", "dark", "defects"):
            array = getattr(self, name)
            if array is not None:
                array.flags.writeable = False


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class PairwiseShifts(ShortRepr, JsonValue):
    """Displacement of frame `second` relative to frame `first`, pair by pair.

    Attributes
    ----------
    first, second : (pairs,) indices of the images of the stack that was measured
    shift_px : (pairs, 2) (y, x), pixels of the unbinned movie
    score : (pairs,) height of the correlation peak over its noise, in standard deviations
    weight : (pairs,) weight in the robust fit, 0 = rejected
    """

    first: npt.NDArray[np.int64]
    second: npt.NDArray[np.int64]
    shift_px: FloatArray
    score: FloatArray
    weight: FloatArray


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class PatchTracks(ShortRepr, JsonValue):
    """Displacement of each patch over time, measured by correlation, one value for each group.

    Attributes
    ----------
    center_px : (patches, 2) (y, x) of the unbinned movie
    frame : (groups,) mean frame index of each group, zero-based in the file
    displacement_px : (patches, groups, 2) (y, x), mean over groups removed
    standard_error_px : (patches, groups) of each displacement, per axis
    """

    center_px: FloatArray
    frame: FloatArray
    displacement_px: FloatArray
    standard_error_px: FloatArray


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class PowerSpectrum(ShortRepr, JsonValue):
    """Mean periodogram of an image.

    Attributes
    ----------
    power : (n, n) float32, zero frequency at (n // 2, n // 2), of tiles scaled to mean 0, sd 1
    frequency_per_A, radial_power : (rings,) mean over rings
    """

    power: PixelArray
    frequency_per_A: FloatArray
    radial_power: FloatArray


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class CtfSpectrum(ShortRepr):
    """Sum of the Fourier amplitudes of groups of frames, for CTF estimation.

    Attributes
    ----------
    amplitude : (n, n) float32, zero frequency at (n // 2, n // 2)
    pixel_size_A : of an image with this spectrum: Nyquist is at the edge
    """

    amplitude: PixelArray
    pixel_size_A: float


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class FrameSums(ShortRepr):
    """Results of the second pass, (h, w) float32, means over frames; None = not requested.

    Attributes
    ----------
    plain : of the aligned frames
    dose_weighted : with the weights of their exposure; has the noise power of `plain`
    odd, even : of the odd and even frames, counted from 1
    unaligned : of the frames as they are
    aligned : (t, h, w), the aligned frames themselves
    amplitude : no image but the sum of the Fourier amplitudes (h, w) of groups of unaligned frames,
        zero frequency at (h // 2, w // 2)
    """

    plain: PixelArray
    dose_weighted: PixelArray | None = None
    odd: PixelArray | None = None
    even: PixelArray | None = None
    unaligned: PixelArray | None = None
    aligned: PixelArray | None = None
    amplitude: PixelArray | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Curves(ShortRepr, JsonValue):
    """The curves of one movie for the report, rounded; empty where not measured.

    Attributes
    ----------
    frequency_per_A : of the rings of the power spectra
    power_before, power_after : mean power of each ring, white noise = 1
    mean_counts : corrected counts per pixel in each frame of the file, NaN = not read
    spectrum_edge_per_A : frequency at the edge of the picture of the spectra
    """

    frequency_per_A: tuple[float, ...] = ()
    power_before: tuple[float, ...] = ()
    power_after: tuple[float, ...] = ()
    mean_counts: tuple[float, ...] = ()
    spectrum_edge_per_A: float = np.nan


# Name of the stage that is not in the record on disk, which is written in it.
WRITING_STAGE = "writing"
# Of a process for one movie, until its libraries are loaded.
START_UP_STAGE = "start-up"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class MovieRecord(EqualAsJson, JsonValue):
    """The record of how one movie was processed; written last, as `<root>_record.json`.

    Attributes
    ----------
    version : of the program
    movie : size and format
    inputs : identity of the movie and its references: path, size, time, SHA-256
    parameters : all of them, by the names of `AlignParams`, and their hash
    decisions : the plan, and what else was decided
    timings_s : time of each stage
    peak_memory_bytes : of the process
    quality : numbers and flags
    outputs : names of the files beside the record, by kind
    warnings : one sentence each
    motion : as JSON; `Motion.from_dict` makes a motion of it
    curves : for the report
    output_states : size and time of each output, by which it is known again
    """

    schema: ClassVar[int] = 2

    version: str
    movie: MovieInfo
    inputs: dict[str, dict[str, Any]]
    parameters: dict[str, Any]
    decisions: dict[str, Any]
    timings_s: dict[str, float]
    peak_memory_bytes: int
    quality: Quality
    outputs: dict[str, str]
    warnings: tuple[str, ...] = ()
    motion: dict[str, Any] = field(default_factory=dict)
    curves: Curves | None = None
    output_states: dict[str, dict[str, int]] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Name of the movie, motion and flags."""
        return f"<MovieRecord: {self.summary}>"

    @property
    def summary(self) -> str:
        """The movie and its alignment in one line."""
        return f"{self.movie.summary}, {self.quality.summary}"

    @property
    def seconds(self) -> float:
        """Total time of the stages of the movie before its results were written."""
        others = (START_UP_STAGE, WRITING_STAGE)
        return sum(s for stage, s in self.timings_s.items() if stage not in others)

    @property
    def pixel_size_A(self) -> float:
        """Pixel size of the movie as aligned."""
        return float(self.decisions["pixel_size_A"])

    @property
    def output_pixel_size_A(self) -> float:
        """Pixel size of the micrograph."""
        return float(self.decisions["output_pixel_size_A"])

    @property
    def output_shape_px(self) -> tuple[int, int]:
        """(h, w) of the micrograph."""
        height, width = self.decisions["output_shape_px"]
        return int(height), int(width)

    @property
    def mean_counts(self) -> float:
        """Mean counts per pixel and frame."""
        return float(self.decisions["mean_counts"])

    @property
    def dose_per_frame_e_A2(self) -> float | None:
        """Dose of a frame as aligned, the mean where they differ; None = unknown."""
        dose_e_A2: float | None = self.decisions["dose_per_frame_e_A2"]
        return dose_e_A2

    @property
    def align(self) -> FrameRange:
        """Frames from which the motion was estimated, zero-based, half open."""
        return FrameRange.from_dict(self.decisions["align"])

    @property
    def patches(self) -> tuple[int, int]:
        """Number of patches (y, x)."""
        y, x = (int(count) for count in self.decisions["patches"])
        return y, x

    @classmethod
    def upgraded(cls, plain: dict[str, Any]) -> dict[str, Any]:
        """The standard error was in pixels in schema 1."""
        quality, decisions = plain.get("quality"), plain.get("decisions")
        if not isinstance(quality, dict) or not isinstance(decisions, dict):
            return plain
        error_px, pixel_A = quality.get("trajectory_error_px"), decisions.get("pixel_size_A")
        if not is_number(error_px) or not is_number(pixel_A):
            return plain
        return {**plain, "quality": {**quality, "trajectory_error_A": error_px * pixel_A}}
