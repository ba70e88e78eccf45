"""Data model of a tilt series: its exposures, each with angle, dose and movie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from flexalign.plain import JsonValue

# Reasons for which an exposure is not in the stack, with their descriptions.
LEFT_OUT = {
    "no-movie": "no movie is named",
    "missing": "the movie was not found",
    "re-shot": "the angle was recorded again later",
    "overwritten": "a later exposure has the same movie",
    "no-angle": "no tilt angle is given",
    "unreadable": "the movie cannot be read",
    "failed": "the alignment failed",
    "dark": "the image is dark",
    "other-size": "the image has another size than the others",
}
# Reasons that count as losses: they are reported, and set the exit code.
LOSSES = ("missing", "no-angle", "unreadable", "failed", "other-size")


# Part of a title that identifies the mdoc of a stack written by flexalign.
STACK_TITLE = "sorted by angle"


@dataclass(frozen=True, slots=True)
class Exposure:
    """One image of a series, as described by a file of the microscope or a table.

    Attributes
    ----------
    number : ZValue, or the order given in a name or a table
    angle_deg : of the stage; None = not given
    movie_name : without folder; "" = not given
    time : of acquisition; None = not given
    dose_e_A2 : of this exposure alone; None = not given
    pre_exposure_e_A2 : from a table; None = computed from the other exposures
    section : the items of its mdoc section
    movie : path, if the source contains it
    """

    number: int
    angle_deg: float | None
    movie_name: str
    time: datetime | None = None
    dose_e_A2: float | None = None
    pre_exposure_e_A2: float | None = None
    section: Mapping[str, str] = field(default_factory=dict)
    movie: Path | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """A series as read from its source, without any interpretation.

    Attributes
    ----------
    name : of the series
    path : of the file that describes it; for names of movies, of their folder
    exposures : in any order
    pixel_size_A : of the images, None = not given
    image_size_px : (w, h) of these images, None = not given
    voltage_kV, tilt_axis_deg : None = not given
    pixel_is_rendered : the pixel size is that of EER frames after upsampling, as in RELION
    shares_file : whether other series are described by the same file
    gain_name : of the gain reference, without folder; "" = not given
    titles : of an mdoc
    """

    name: str
    path: Path
    exposures: tuple[Exposure, ...]
    pixel_size_A: float | None = None
    image_size_px: tuple[int, int] | None = None
    voltage_kV: float | None = None
    tilt_axis_deg: float | None = None
    gain_name: str = ""
    titles: tuple[str, ...] = ()
    pixel_is_rendered: bool = False
    shares_file: bool = False


@dataclass(frozen=True, slots=True)
class Tilt(JsonValue):
    """One exposure of a series and its processing status.

    Attributes
    ----------
    number : ZValue, or the order given in a name or a table
    order : of exposure, from 1, over all exposures of the series
    angle_deg : of the stage, with the microscope's sign; NaN = not known
    dose_e_A2 : of this exposure alone; NaN = not known
    pre_exposure_e_A2 : dose of all earlier exposures of the series, and of any before the series
    time : in ISO 8601; "" = not known
    movie_name : without folder; "" = not known
    movie : absolute path; "" = not found
    frame_count : as aligned; 0 = not known
    leftover_raw_frames : of an EER movie, too few for another frame
    section : the items of its mdoc section
    left_out : one of `LEFT_OUT`; "" = it is in the stack
    why : the reason in a sentence
    replaced_by : order of the exposure of the same angle that is used instead; 0 = none
    """

    number: int
    order: int
    angle_deg: float
    dose_e_A2: float
    pre_exposure_e_A2: float
    time: str = ""
    movie_name: str = ""
    movie: str = ""
    frame_count: int = 0
    leftover_raw_frames: int = 0
    section: dict[str, str] = field(default_factory=dict)
    left_out: str = ""
    why: str = ""
    replaced_by: int = 0

    @property
    def is_used(self) -> bool:
        """Whether it is to be in the stack."""
        return not self.left_out

    @property
    def may_be_used(self) -> bool:
        """Whether it is used, or would be if a later exposure of its angle were lost."""
        return self.left_out in ("", "re-shot")

    @property
    def is_lost(self) -> bool:
        """Whether the stack lacks its angle, which is reported to the user."""
        return self.left_out in LOSSES and not self.replaced_by

    @property
    def reason(self) -> str:
        """Why it is left out, and which exposure is used instead."""
        if not self.replaced_by or self.left_out == "re-shot":
            return self.why
        return f"{self.why}; exposure {self.replaced_by} of this angle is used instead"

    def without(self, kind: str, why: str = "") -> Self:
        """The tilt, left out for a reason of `LEFT_OUT`.

        Parameters
        ----------
        why : the reason in a sentence; the path of the movie is removed from its beginning
        """
        why = why.removeprefix(f"{self.movie}: ") if self.movie else why
        return replace(self, left_out=kind, why=why or LEFT_OUT[kind])


@dataclass(frozen=True, slots=True)
class TiltSeries(JsonValue):
    """A tilt series, as interpreted from its source.

    Attributes
    ----------
    name : prefix of the names of its files
    source : path of the file that describes it; for names of movies, or a file that describes
        several series, followed by the name of the series
    tilts : in order of exposure
    parameters : values of `AlignParams` common to all of its movies
    own : parameters of each movie that is, or may be, used, by path
    tilt_axis_deg : from the vertical of the image, counter-clockwise, as in IMOD; NaN = unknown
    titles : of the mdoc
    notes : for the user, one sentence each
    """

    schema: ClassVar[int] = 1

    name: str
    source: str
    tilts: tuple[Tilt, ...]
    parameters: dict[str, Any] = field(default_factory=dict)
    own: dict[str, dict[str, Any]] = field(default_factory=dict)
    tilt_axis_deg: float = np.nan
    titles: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def used(self) -> tuple[Tilt, ...]:
        """The tilts that are to be in the stack, by absolute angle."""
        return tuple(sorted((t for t in self.tilts if t.is_used), key=lambda t: abs(t.angle_deg)))

    @property
    def left_out(self) -> tuple[Tilt, ...]:
        """The others, in order of exposure."""
        return tuple(t for t in self.tilts if not t.is_used)
