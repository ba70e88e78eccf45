"""What a tilt series is: its exposures as they were made, each with its angle, dose and movie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from flexalign.plain import JsonValue

# Why an exposure is no image of the stack, and the words for it.
LEFT_OUT = {
    "no-movie": "no movie is named",
    "missing": "the movie was not found",
    "re-shot": "the angle was shot again later",
    "overwritten": "a later exposure has the same movie",
    "no-angle": "no tilt angle is said",
    "unreadable": "the movie cannot be read",
    "failed": "the alignment failed",
    "dark": "the image is dark",
    "other-size": "the image has another size than the others",
}
# These are losses, for which a run does not end as if all had gone well.
LOSSES = ("missing", "no-angle", "unreadable", "failed", "other-size")


# In a title of the mdoc of a stack that we wrote.
STACK_TITLE = "sorted by angle"


@dataclass(frozen=True, slots=True)
class Exposure:
    """One image of a series, as a file of the microscope or a table says it.

    Attributes
    ----------
    number : ZValue, or the order that stands in a name or a table
    angle_deg : of the stage; None = not said
    movie_name : without folder; "" = not said
    time : at which it was made; None = not said
    dose_e_A2 : of this exposure alone; None = not said
    pre_exposure_e_A2 : that a table says; None where it follows from the others
    section : the items of its mdoc section
    movie : path, where the source says it
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
    """A series as it was read, before anything is decided.

    Attributes
    ----------
    name : of the series
    path : of the file that says it; for names of movies, of their folder
    exposures : in any order
    pixel_size_A : of the images, None = not said
    image_size_px : (w, h) of these images, None = not said
    voltage_kV, tilt_axis_deg : None = not said
    pixel_is_rendered : the pixel size is that of EER frames after upsampling, as in RELION
    shares_file : other series are in the same file
    gain_name : of the gain reference, without folder; "" = not said
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
    """One exposure of a series with what was decided about it.

    Attributes
    ----------
    number : ZValue, or the order that stands in a name or a table
    order : of exposure, from 1, over all exposures of the series
    angle_deg : of the stage, as the microscope says it; NaN = not known
    dose_e_A2 : of this exposure alone; NaN = not known
    pre_exposure_e_A2 : dose of all earlier exposures of the series, and of what was before it
    time : in ISO 8601; "" = not known
    movie_name : without folder; "" = not known
    movie : absolute path; "" = not found
    frame_count : as aligned; 0 = not known
    leftover_raw_frames : of an EER movie, that fill no frame
    section : the items of its mdoc section
    left_out : one of `LEFT_OUT`; "" = it is an image of the stack
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
        """Whether it is to be an image of the stack."""
        return not self.left_out

    @property
    def may_be_used(self) -> bool:
        """Whether it is used, or would be if a later exposure of its angle were lost."""
        return self.left_out in ("", "re-shot")

    @property
    def is_lost(self) -> bool:
        """Whether the stack lacks an image because of it, which the user should know of."""
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
        why : in a sentence, which need not begin with the path of the movie
        """
        why = why.removeprefix(f"{self.movie}: ") if self.movie else why
        return replace(self, left_out=kind, why=why or LEFT_OUT[kind])


@dataclass(frozen=True, slots=True)
class TiltSeries(JsonValue):
    """A series as it was understood.

    Attributes
    ----------
    name : what the names of its files begin with
    source : path of the file that says it; where names do, or the file says several, followed by
        the name of the series
    tilts : in order of exposure
    parameters : of `AlignParams`, that hold for all of its movies
    own : parameters of the movies that are, or may be, used, by their paths
    tilt_axis_deg : from the vertical of the image, counter-clockwise, as IMOD has it; NaN = unknown
    titles : of the mdoc
    notes : what a user should know, one sentence each
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
        """The tilts that are to be images of the stack, nearest to zero first."""
        return tuple(sorted((t for t in self.tilts if t.is_used), key=lambda t: abs(t.angle_deg)))

    @property
    def left_out(self) -> tuple[Tilt, ...]:
        """The others, in order of exposure."""
        return tuple(t for t in self.tilts if not t.is_used)
