"""The table of the report's columns: title, unit, source and meaning of each.

Those of the quality numbers come from `flexalign.quality.table`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flexalign.batch.rows import (
    Source,
    movie_path,
    signal_after,
    signal_before,
    warning_count,
)
from flexalign.io.mdoc import time_of
from flexalign.model import MovieRecord
from flexalign.option_messages import with_options
from flexalign.quality.table import CHOICE, NUMBERS, SPECTRUM


@dataclass(frozen=True, slots=True)
class Column:
    """A number or a word of each movie.

    Attributes
    ----------
    name : in the CSV and the JSON; ends in its unit
    title : heading without the unit
    source : its place in the record, or a function that computes it
    unit : as displayed
    digits : significant digits
    priority : when columns do not fit the window, those of the highest number are hidden first
    about : meaning, in one sentence
    group : heading above it on the page of a movie
    """

    name: str
    title: str
    source: Source
    unit: str = ""
    digits: int = 4
    priority: int = 5
    about: str = ""
    group: str = "Run"

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
    title, unit : of the vertical axis
    columns : names of the plotted columns; flags and selection are shown on the first
    labels : of the columns in the legend, if there are several
    about : explanation below the plot
    """

    title: str
    unit: str
    columns: tuple[str, ...]
    labels: tuple[str, ...] = ()
    about: str = ""


def rounded(value: Any, digits: int) -> Any:
    """`value` with numbers, also in lists, rounded to significant digits.

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


DOSE = "Dose"
_UNITS = {"A": "Å", "e/A2": "e/Å²"}


def _quality(name: str, source: str = "") -> Column:
    """The column of one of the quality numbers."""
    number = NUMBERS[name]
    assert number.report is not None
    shown, unit = number.report, _UNITS.get(number.unit, number.unit)
    return Column(
        name, shown.title, source or f"quality.{name}", unit, shown.digits, shown.priority,
        shown.about, DOSE if "dose" in name else number.group,
    )  # fmt: skip


def _movie_time_s(record: MovieRecord) -> int | None:
    modified_ns = record.inputs["movie"].get("modified_ns")
    return None if modified_ns is None else modified_ns // 10**9


def _acquired(record: MovieRecord) -> str | None:
    time = time_of(record.inputs["movie"].get("acquired"))
    return None if time is None else time.isoformat(sep=" ", timespec="seconds")


def _flag_names(record: MovieRecord) -> list[str]:
    return list(record.quality.flag_names)


def _flag_messages(record: MovieRecord) -> list[str]:
    return [with_options(flag.message or flag.name) for flag in record.quality.flags]


def _warnings(record: MovieRecord) -> list[str]:
    return [with_options(warning) for warning in record.warnings]


def _severity(record: MovieRecord) -> str | None:
    return record.quality.flags[0].severity if record.quality.flags else None


def _signal_gained(record: MovieRecord) -> float | None:
    before, after = signal_before(record), signal_after(record)
    return None if before is None or after is None else after - before


def _model(record: MovieRecord) -> str:
    return record.quality.model


def _seconds(record: MovieRecord) -> float | None:
    return float(record.seconds) if record.timings_s else None


COLUMNS = (
    Column("movie", "Movie", movie_path, about="the file"),
    Column("micrograph", "Micrograph", "outputs.micrograph", about="sum of the frames, a file"),
    Column(
        "dose_weighted", "Dose-weighted", "outputs.dose_weighted",
        about="dose-weighted micrograph, a file",
    ),
    Column("thumbnail", "Thumbnail", "outputs.thumbnail", about="small picture, a file"),
    Column("movie_pixel_size_A", "Pixel size of the movie", "pixel_size_A", "Å", 6),
    Column("micrograph_pixel_size_A", "Pixel size", "output_pixel_size_A", "Å", 6),
    Column("voltage_kV", "Voltage", "parameters.voltage_kV", "kV"),
    Column("movie_time_s", "Time", _movie_time_s, "s", about="when the movie was written"),
    Column("flags", "Flags", _flag_names, priority=1, about="flags, worst first"),
    Column("severity", "Severity", _severity, about="of the worst flag: problem, warning or note"),
    Column("why", "Why", _flag_messages, about="what was found, a sentence for each flag"),
    _quality("total_motion_A"),
    _quality("early_motion_A"),
    _quality("late_motion_A"),
    _quality("largest_step_A"),
    _quality("roughness_A"),
    _quality("local_range_A"),
    _quality("trajectory_error_A"),
    _quality("field_error_A"),
    _quality("track_residual_A"),
    _quality("rings_to_A"),
    _quality("rings_before_A"),
    Column(
        "signal_gained", "Signal gained", _signal_gained, "", 3, priority=4,
        about="by correction: signal over noise of the sum around 8 Å, after less before",
        group=SPECTRUM,
    ),
    Column(
        "signal_after", "Signal after", signal_after, "", 3, priority=8,
        about="signal over noise of the sum around 8 Å, along the motion that was kept",
        group=SPECTRUM,
    ),
    Column(
        "signal_before", "Signal before", signal_before, "", 3, priority=8,
        about="the same without motion correction",
        group=SPECTRUM,
    ),
    _quality("measured_dose_e_A2"),
    # The dose as given, even if no counts were measured.
    _quality("declared_dose_e_A2", "dose_per_frame_e_A2"),
    _quality("fixed_pattern_pull"),
    _quality("gain_residual_columns"),
    _quality("gain_residual_rows"),
    _quality("hot_pixel_count"),
    _quality("bad_frame_count"),
    Column("chosen", "Choice", "quality.chosen", about="motion that was kept", group=CHOICE),
    Column("model", "Model", _model, about="of the motion that was kept", group=CHOICE),
    Column(
        "acquired", "Acquired", _acquired, priority=8,
        about="when the movie was recorded, by the clock of the microscope",
    ),
    Column("frames", "Frames", "movie.frame_count", priority=8, about="of the movie as aligned"),
    Column(
        "warnings", "Warnings", warning_count, priority=8,
        about="number of sentences on what was left out or not used",
    ),
    Column("warning_texts", "Warnings", _warnings, about="the sentences"),
    Column("seconds", "Time", _seconds, "s", priority=6, about="that the alignment took"),
    Column("version", "Version", "version", priority=9, about="of flexalign"),
    Column(
        "parameters_hash", "Parameters", "parameters.hash", priority=9,
        about="movies aligned with the same parameters have the same value here",
    ),
    Column("device", "Device", "decisions.device", priority=9, about="what computed"),
    Column("gain", "Gain", "inputs.gain.sha256", priority=9, about="SHA-256 of the gain reference"),
)  # fmt: skip

# Columns that the table of the page does not show.
NOT_IN_TABLE = (
    "movie", "severity", "why", "warning_texts", "version", "parameters_hash", "device", "gain",
    "movie_time_s", "micrograph", "dose_weighted", "thumbnail", "movie_pixel_size_A",
    "micrograph_pixel_size_A", "voltage_kV", "chosen",
)  # fmt: skip

# Numbers by which movies are accepted, with the words before "at most".
THRESHOLDS = {
    "early_motion_A": "Early motion",
    "total_motion_A": "Total motion",
    "local_range_A": "Local motion",
    "rings_to_A": "Thon rings to",
}

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
        about="Maximum deviation of the local motion from the global one.",
    ),
    Panel(
        "Residual and uncertainty", "Å", ("track_residual_A", "trajectory_error_A"),
        ("residual of patches", "standard error of the frame"),
        about="Rises when there is little signal: thick ice, empty holes, low dose.",
    ),
    Panel(
        "Dose per frame", "e/Å²", ("measured_dose_e_A2", "declared_dose_e_A2"),
        ("measured", "declared"),
        about="Measured if counts are electrons. A trend indicates the beam, a step a changed "
        "setting.",
    ),
    Panel(
        "Signal around 8 Å", "signal / noise", ("signal_after", "signal_before"),
        ("after", "before"),
        about="Of the sum of all frames. The distance between the two curves is the gain by "
        "correction.",
    ),
    Panel(
        "Rings seen to", "Å", ("rings_to_A", "rings_before_A"), ("after", "before"),
        about="Resolution to which Thon rings are visible: lower is better.",
    ),
    Panel("Time per movie", "s", ("seconds",), about="Seconds that the alignment took."),
)  # fmt: skip
