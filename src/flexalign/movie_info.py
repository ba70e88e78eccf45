"""A movie before a frame is read: its frames, size and format."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from flexalign.plain import JsonValue


@dataclass(frozen=True, slots=True)
class FrameRange(JsonValue):
    """Frames `first` up to, not including, `stop`; zero-based in the file."""

    first: int
    stop: int

    def __post_init__(self) -> None:
        if not 0 <= self.first < self.stop:
            raise ValueError(f"expected 0 <= first < stop, found {self.first}, {self.stop}")

    @property
    def count(self) -> int:
        """Number of frames."""
        return self.stop - self.first

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.first, self.stop))

    def __contains__(self, frame: int) -> bool:
        return self.first <= frame < self.stop

    def __str__(self) -> str:
        return f"{self.first + 1}-{self.stop}"


@dataclass(frozen=True, slots=True)
class EerInfo(JsonValue):
    """Fractionation of an EER file: how raw frames are summed into frames.

    Attributes
    ----------
    raw_frames_per_frame : the maximum, where `groups` differ
    groups : raw frames in each frame; empty when all have the same number
    doses_e_A2 : of each frame, if the file of groups gives them
    """

    raw_frame_count: int
    raw_frames_per_frame: int
    leftover_raw_frames: int
    upsampling: int
    groups: tuple[int, ...] = ()
    doses_e_A2: tuple[float, ...] = ()


# Format of movies that are arrays and have no file.
ARRAY_FORMAT = "array"


@dataclass(frozen=True, slots=True)
class MovieInfo(JsonValue):
    """Properties of a movie, known before a frame is read.

    Attributes
    ----------
    path : the file; without one, a name
    file_format : "mrc", "tiff" or "eer", with the compression in front ("bz2 mrc"), "array", or
        what a reader of one's own calls its format
    frame_count, height_px, width_px : size as aligned (EER: fractions, after upsampling)
    pixel_dtype : numpy name of a decoded frame's pixels
    pixel_size_A : from the header where it can be trusted, else None
    size_bytes : of the file
    eer : fractionation, for EER only
    notes : remarks for the user, one sentence each
    """

    path: str
    file_format: str
    frame_count: int
    height_px: int
    width_px: int
    pixel_dtype: str
    pixel_size_A: float | None
    size_bytes: int
    eer: EerInfo | None = None
    notes: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """Name and size in one line."""
        name = self.path.rpartition("/")[2]
        return f"{name}, {self.frame_count} frames of {self.height_px} x {self.width_px} px (h, w)"
