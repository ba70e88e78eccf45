"""The table of quality numbers: name, unit, definition of each, and where it is shown.

The reference page, the columns of ``micrographs.csv`` and those of the report come from `NUMBERS`;
`metrics` computes the values, the fields of `flexalign.model.Quality`.  It imports no numerical
library, so that pages can be generated without one.
"""

from __future__ import annotations

from dataclasses import dataclass

MOTION = "Motion"
ERRORS = "Errors"
DETECTOR = "Detector"
SPECTRUM = "Spectrum"
CHOICE = "Choice of the motion"

# Introduction to each group on the reference page.
GROUPS = {
    MOTION: "Of the motion that was kept, over the frames that are summed. Paths and steps are "
    "those of the whole frame: of the mean over 9 x 9 places. The same numbers are in RELION's "
    "tables, as `rlnAccumMotionTotal`, `rlnAccumMotionEarly` and `rlnAccumMotionLate`.",
    ERRORS: "Standard errors are per axis.",
    DETECTOR: "Of the frames as recorded, and of the fixed pattern of the detector in them.",
    SPECTRUM: "Of the sum of all frames, before and after correction.",
    CHOICE: "How the motion that was kept compares with the others that were considered.",
}


@dataclass(frozen=True, slots=True)
class ReportColumn:
    """The column of a number in the report.

    Attributes
    ----------
    title : heading without the unit
    about : meaning, in one sentence
    digits : significant digits
    priority : when columns do not fit the window, those of the highest number are hidden first
    """

    title: str
    about: str
    digits: int = 4
    priority: int = 5


@dataclass(frozen=True, slots=True)
class QualityNumber:
    """One field of `flexalign.model.Quality`.

    Attributes
    ----------
    name : of the field; ends in its unit
    group : one of `GROUPS`, its heading on the reference page
    definition : as on the reference page
    unit : "" for none
    in_csv : whether it is a column of ``micrographs.csv``; columns have the order of this table
    report : its column in the report, None = none
    """

    name: str
    group: str
    definition: str
    unit: str = ""
    in_csv: bool = False
    report: ReportColumn | None = None


def _table(*numbers: QualityNumber) -> dict[str, QualityNumber]:
    return {number.name: number for number in numbers}


NUMBERS: dict[str, QualityNumber] = _table(
    QualityNumber(
        "total_motion_A", MOTION, "length of the path: the sum of the steps from frame to frame",
        "A", True, ReportColumn("Motion", "length of the path of the whole frame", 4, 1),
    ),
    QualityNumber(
        "early_motion_A", MOTION,
        "the steps to frames that end within the first 4 e/A2, with pre-exposure, as in RELION; "
        "without a dose, the steps between the first 4 frames",
        "A", True,
        ReportColumn(
            "Early motion",
            "the part of it over the first 4 e/Å² (without dose: the first 4 frames)", 4, 2,
        ),
    ),
    QualityNumber(
        "late_motion_A", MOTION, "the other steps",
        "A", True, ReportColumn("Late motion", "the rest of it", 4, 7),
    ),
    QualityNumber(
        "largest_step_A", MOTION, "the longest step",
        "A", True, ReportColumn("Largest step", "between two consecutive frames"),
    ),
    QualityNumber(
        "roughness_A", MOTION,
        "median over frames of the change of the step, |d(t+1) - 2 d(t) + d(t-1)|: zero for steady "
        "drift, small for a single jump, 2.9 times the error of a displacement if there is no "
        "other change",
        "A", True,
        ReportColumn("Roughness", "how much the step changes from one frame to the next", 3, 7),
    ),
    QualityNumber(
        "movement_A", MOTION,
        "maximum distance along x or y, between any two frames, at any of 9 x 9 positions", "A",
    ),
    QualityNumber(
        "local_range_A", MOTION,
        "the largest distance between the motion of any of 9 x 9 places and its mean over places",
        "A", True,
        ReportColumn(
            "Local motion", "largest deviation of any place from the motion of the whole frame", 4,
            2,
        ),
    ),
    QualityNumber(
        "trajectory_error_A", ERRORS,
        "median over frames of the standard error of the displacement of the whole frame; the "
        "trajectory in `motion` has that of each frame",
        "A", True,
        ReportColumn(
            "Uncertainty", "standard error of the displacement of a frame, per axis", 3, 3
        ),
    ),
    QualityNumber(
        "field_error_A", ERRORS,
        "median over control points of the standard error of the local motion at their places",
        "A", True,
        ReportColumn("Uncertainty, local", "standard error of the local motion, per axis", 3, 8),
    ),
    QualityNumber(
        "track_residual_A", ERRORS,
        "root mean square distance between the tracks of patches, as given by pair "
        "correlations, and the motion kept, means over time removed. The tracks are less precise",
        "A",
        report=ReportColumn(
            "Residual", "distance of the tracks of patches from the motion that was kept", 3, 4
        ),
    ),
    QualityNumber(
        "fixed_pattern_pull", DETECTOR,
        "weight of the fixed pattern in the likelihood, relative to that of the specimen; `null` "
        "without motion, where pattern and specimen cannot be distinguished",
        "", True,
        ReportColumn(
            "Fixed pattern", "weight of the fixed pattern relative to that of the specimen", 3,
            6,
        ),
    ),
    QualityNumber(
        "fixed_pattern_significance", DETECTOR,
        "significance of that pull in standard deviations of the noise; `null` where the pull is",
    ),
    QualityNumber(
        "fixed_pattern_removed", DETECTOR,
        "whether such a pattern was removed for the estimate (pull above 0.02 and significance "
        "above 6, or a movie that would otherwise be reported as still)",
    ),
    QualityNumber(
        "gain_residual_rows", DETECTOR,
        "[scatter of the rows](../explanation/quality.md#gain-residual) of the unaligned sum "
        "beyond noise, over its mean",
        "", True,
        ReportColumn(
            "Rows left", "scatter of rows that the gain reference has left, over the mean", 2, 7
        ),
    ),
    QualityNumber(
        "gain_residual_columns", DETECTOR,
        "the same of the columns; the larger of the two raises the flag",
        "", True,
        ReportColumn(
            "Columns left", "scatter of columns that the gain reference has left, over the mean", 2,
            7,
        ),
    ),
    QualityNumber(
        "bad_frame_count", DETECTOR,
        "frames left out because they were blank, broken, corrupt or copies of the one before; the "
        "warnings name them",
        "", True, ReportColumn("Bad frames", "frames left out: blank, broken or corrupt", 4, 7),
    ),
    QualityNumber(
        "hot_pixel_count", DETECTOR, "pixels found hot or dead in the movie itself",
        "", True, ReportColumn("Hot pixels", "pixels found bad from the movie itself", 4, 6),
    ),
    QualityNumber("hot_pixel_part", DETECTOR, "those pixels over all"),
    QualityNumber(
        "uneven_dose", DETECTOR,
        "maximum relative deviation of the counts of a frame from a line through all (divided "
        "by the dose declared for each, if there is a list); 0 if at most 20 % or not significant",
    ),
    QualityNumber(
        "measured_dose_e_A2", DETECTOR,
        "[dose of a frame as the detector counted it](../explanation/quality.md#measured-dose)",
        "e/A2", True, ReportColumn("Dose measured", "per frame, where counts are electrons", 3, 4),
    ),
    QualityNumber(
        "declared_dose_e_A2", DETECTOR,
        "dose of a frame as given, the mean over the frames whose counts were measured",
        "e/A2", True, ReportColumn("Dose declared", "per frame, as given", 4, 6),
    ),
    QualityNumber(
        "rings_before_A", SPECTRUM,
        "[resolution to which Thon rings are visible](../explanation/quality.md#thon-rings) before "
        "correction",
        "A", True, ReportColumn("Rings before", "the same without motion correction", 3, 8),
    ),
    QualityNumber(
        "rings_to_A", SPECTRUM, "the same after correction",
        "A", True, ReportColumn("Rings to", "resolution to which Thon rings are visible", 3, 3),
    ),
    QualityNumber(
        "ring_score", SPECTRUM,
        "correlation of the spectrum with these rings, as far as they are visible",
    ),
    QualityNumber(
        "signal_bands", SPECTRUM,
        "in each band of resolution the [spectral signal-to-noise "
        "ratio](../explanation/quality.md#signal) of the sum of the frames: `before` without "
        "motion, `after` along the motion kept, and the standard `error` of both for noise alone. "
        "The CSV has the band from 10 to 7 A (`signal_before_10_7_A`, `signal_after_10_7_A`), as "
        "has the report",
    ),
    QualityNumber(
        "chosen", CHOICE,
        'the motion that was kept: "none", "global", "local", "refined", or "given"; the report '
        'shows its model, such as "global + local (refined)"',
        "", True,
    ),
    QualityNumber(
        "candidate_scores", CHOICE,
        "held-out log-likelihood of each candidate, minus that of no motion",
    ),
    QualityNumber(
        "has_signal", CHOICE,
        "whether the score of any candidate exceeds four noise standard deviations",
    ),
    QualityNumber(
        "searched_wider", CHOICE,
        "whether the motion was found only by coarser detail than the default, or by all frames "
        "together",
    ),
    QualityNumber(
        "motion_bound_A", CHOICE,
        "where no motion was kept, upper bound of the motion along x or y: the extent of the most "
        "likely motion plus two standard errors",
        "A",
    ),
    QualityNumber(
        "drift_part", CHOICE,
        "extent of the estimated motion, relative to the field along the same axis; above "
        "0.5 it is not applied",
    ),
    QualityNumber(
        "lost_frames", CHOICE,
        "frames, counted from 0, whose cross-power with the others is below 0.3 of that expected, "
        "by more than five standard deviations, along the motion kept",
    ),
    QualityNumber(
        "halves_apart", CHOICE,
        "root mean square distance of the paths from the two half-sets of rings, in units of "
        "its standard error; about one if they are consistent",
    ),
    QualityNumber(
        "only_direction_deg", CHOICE,
        "the only direction in which motion is known, and was corrected, from the x axis toward y: "
        "that in which the Fisher information of the frames on their displacements exceeds the "
        "noise; `null` where motion is known in all directions",
        "degrees",
    ),
    QualityNumber(
        "other_error_A", CHOICE,
        "where motion is known in one direction only, the standard error perpendicular to it: "
        "the standard deviation over frames of the path in the known one",
        "A",
    ),
    QualityNumber(
        "flags", CHOICE,
        "the [flags](flags.md) that these numbers raise, worst first, with the number and the "
        "limit",
    ),
)  # fmt: skip


def csv_names() -> tuple[str, ...]:
    """Names of the numbers that are columns of ``micrographs.csv``, in their order."""
    return tuple(number.name for number in NUMBERS.values() if number.in_csv)
