"""What the report says about every movie: each number once, with its name, unit and meaning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Column:
    """One number, or word, of every movie.

    Attributes
    ----------
    name : in the CSV and the JSON; ends in its unit
    title : for people, without the unit
    place : where it stands in the record, keys joined by dots
    unit : as people write it
    digits : significant ones that are kept
    priority : of columns that do not fit beside each other, those of the lowest number stay
    about : what it means, in one sentence
    """

    name: str
    title: str
    place: str
    unit: str = ""
    digits: int = 4
    priority: int = 5
    about: str = ""

    @property
    def heading(self) -> str:
        """Title and unit.

        Examples
        --------
        >>> Column("total_motion_A", "Motion", "quality.total_motion_A", "Å").heading
        'Motion (Å)'
        """
        return f"{self.title} ({self.unit})" if self.unit else self.title


@dataclass(frozen=True, slots=True)
class Panel:
    """One plot over the session.

    Attributes
    ----------
    title, unit : of what is drawn upward
    columns : names of what is drawn, the first for flags and selection
    labels : what the columns are called in the legend, where there is more than one
    about : how to read it
    """

    title: str
    unit: str
    columns: tuple[str, ...]
    labels: tuple[str, ...] = ()
    about: str = ""


def look_up(record: Mapping[str, Any], place: str) -> Any:
    """What stands in the record at `place`, None when it is not there.

    Examples
    --------
    >>> look_up({"quality": {"chosen": "refined"}}, "quality.chosen")
    'refined'
    >>> look_up({"quality": {}}, "quality.total_motion_A")
    """
    found: Any = record
    for key in place.split("."):
        if not isinstance(found, Mapping):
            return None
        found = found.get(key)
    return found


def rounded(value: Any, digits: int) -> Any:
    """Numbers with so many significant digits, also in lists; anything else as it is.

    Examples
    --------
    >>> rounded([0.123456, 1234.56, 7, None, "word"], 3)
    [0.123, 1230.0, 7, None, 'word']
    """
    if isinstance(value, float):
        return float(f"{value:.{digits}g}")
    if isinstance(value, list):
        return [rounded(item, digits) for item in value]
    return value


COLUMNS = (
    Column("movie", "Movie", "inputs.movie.path", about="the file"),
    Column("movie_time_s", "Time", "", "s", about="when the movie was written"),
    Column("flags", "Flags", "", priority=1, about="what looks wrong, worst first"),
    Column("severity", "Severity", "", about="of the worst flag: problem, warning or note"),
    Column("why", "Why", "", about="what was found, a sentence for each flag"),
    Column(
        "total_motion_A", "Motion", "quality.total_motion_A", "Å", priority=1,
        about="length of the path in the middle of the field",
    ),
    Column(
        "early_motion_A", "Early motion", "quality.early_motion_A", "Å", priority=2,
        about="the part of it over the first 4 e/Å² (without dose: the first 4 frames)",
    ),
    Column(
        "late_motion_A", "Late motion", "quality.late_motion_A", "Å", priority=7,
        about="the rest of it",
    ),
    Column(
        "largest_step_A", "Largest step", "quality.largest_step_A", "Å", priority=5,
        about="between two consecutive frames",
    ),
    Column(
        "roughness_A", "Roughness", "quality.roughness_A", "Å", 3, priority=7,
        about="how much the step changes from one frame to the next",
    ),
    Column(
        "local_range_A", "Local motion", "quality.local_range_A", "Å", priority=2,
        about="largest deviation of any place from the motion of the whole frame",
    ),
    Column(
        "trajectory_error_A", "Uncertainty", "quality.trajectory_error_A", "Å", 3, priority=3,
        about="standard error of the displacement of a frame, per axis",
    ),
    Column(
        "field_error_A", "Uncertainty, local", "quality.field_error_A", "Å", 3, priority=8,
        about="standard error of the local motion, per axis",
    ),
    Column(
        "track_residual_A", "Residual", "quality.track_residual_A", "Å", 3, priority=4,
        about="distance of the tracks of patches from the motion that was kept",
    ),
    Column(
        "rings_to_A", "Rings to", "quality.rings_to_A", "Å", 3, priority=3,
        about="resolution to which Thon rings are seen",
    ),
    Column(
        "rings_before_A", "Rings before", "quality.rings_before_A", "Å", 3, priority=8,
        about="the same without motion correction",
    ),
    Column(
        "signal_gained", "Signal gained", "", "", 3, priority=4,
        about="by correction: signal over noise of the sum around 8 Å, after less before",
    ),
    Column(
        "signal_after", "Signal after", "", "", 3, priority=8,
        about="signal over noise of the sum around 8 Å, along the motion that was kept",
    ),
    Column(
        "signal_before", "Signal before", "", "", 3, priority=8,
        about="the same without motion correction",
    ),
    Column(
        "measured_dose_e_A2", "Dose measured", "quality.measured_dose_e_A2", "e/Å²", 3, priority=4,
        about="per frame, where counts are electrons",
    ),
    Column(
        "declared_dose_e_A2", "Dose declared", "decisions.dose_per_frame_e_A2", "e/Å²", priority=6,
        about="per frame, as given",
    ),
    Column(
        "fixed_pattern_pull", "Fixed pattern", "quality.fixed_pattern_pull", "", 3, priority=6,
        about="pull of what stays with the detector, over that of the specimen",
    ),
    Column(
        "gain_residual_columns", "Columns left", "quality.gain_residual_columns", "", 2, priority=7,
        about="scatter of columns that the gain reference has left, over the mean",
    ),
    Column(
        "gain_residual_rows", "Rows left", "quality.gain_residual_rows", "", 2, priority=7,
        about="scatter of rows that the gain reference has left, over the mean",
    ),
    Column(
        "hot_pixel_count", "Hot pixels", "quality.hot_pixel_count", priority=6,
        about="pixels found bad from the movie itself",
    ),
    Column(
        "bad_frame_count", "Bad frames", "quality.bad_frame_count", priority=7,
        about="frames left out: blank, broken or corrupt",
    ),
    Column("chosen", "Kept", "quality.chosen", priority=5, about="the motion that was kept"),
    Column("frames", "Frames", "movie.frame_count", priority=8, about="of the movie as aligned"),
    Column("warnings", "Warnings", "", priority=8, about="sentences to read in the record"),
    Column("seconds", "Time", "", "s", priority=6, about="that the alignment took"),
    Column("version", "Version", "version", priority=9, about="of flexalign"),
    Column(
        "parameters_hash", "Parameters", "parameters.hash", priority=9,
        about="movies aligned with the same parameters have the same word here",
    ),
    Column("device", "Device", "decisions.device", priority=9, about="what computed"),
    Column("gain", "Gain", "inputs.gain.sha256", priority=9, about="SHA-256 of the gain reference"),
)  # fmt: skip

# What the table of the page leaves to other places.
NOT_IN_TABLE = (
    "movie", "severity", "why", "version", "parameters_hash", "device", "gain", "movie_time_s",
)  # fmt: skip

PANELS = (
    Panel(
        "Motion of the whole frame", "Å", ("total_motion_A",),
        about="Length of the path. Trends come from the stage; single high points are jumps.",
    ),
    Panel(
        "Early motion", "Å", ("early_motion_A",),
        about="Over the first 4 e/Å², where the signal is least damaged.",
    ),
    Panel(
        "Local motion", "Å", ("local_range_A",),
        about="How far any place moved differently from the frame.",
    ),
    Panel(
        "Residual and uncertainty", "Å", ("track_residual_A", "trajectory_error_A"),
        ("residual of patches", "standard error of the frame"),
        about="Rises when there is little signal: thick ice, empty holes, low dose.",
    ),
    Panel(
        "Dose per frame", "e/Å²", ("measured_dose_e_A2", "declared_dose_e_A2"),
        ("measured", "declared"),
        about="Measured where counts are electrons. A trend is the beam, a step a changed setting.",
    ),
    Panel(
        "Signal around 8 Å", "signal / noise", ("signal_after", "signal_before"),
        ("after", "before"),
        about="Of the sum of all frames. What correction has gained is the distance between both.",
    ),
    Panel(
        "Rings seen to", "Å", ("rings_to_A", "rings_before_A"), ("after", "before"),
        about="Resolution to which Thon rings are seen: lower is better.",
    ),
    Panel("Time per movie", "s", ("seconds",), about="Seconds that the alignment took."),
)  # fmt: skip
