"""The table of flags: meaning, cause, remedy and condition of each.

It imports no numerical library, so that pages can be generated without one; `raise_flags` applies
the conditions to the quality numbers of a movie.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flexalign.params import Parameter
from flexalign.quality import flag_conditions as conditions
from flexalign.quality_limits import LIMITS, QualityLimits

if TYPE_CHECKING:
    from flexalign.model import Quality

# From the mildest on: for information, to be checked, not usable as it is.
SEVERITIES = ("note", "warning", "problem")


@dataclass(frozen=True, slots=True)
class FlagDefinition:
    """One flag.

    Attributes
    ----------
    name : short, with hyphens
    severity : one of `SEVERITIES`
    meaning : condition that raises it, without the threshold
    message : sentence about a movie, with {value} and {limit} for the numbers
    cause : most frequent cause
    remedy : what to do
    quantity : the number of `flexalign.model.Quality` that raises it
    limits : fields of `flexalign.quality_limits.QualityLimits` with its thresholds
    condition : when it is raised; None = `quantity` exceeds its only limit
    """

    name: str
    severity: str
    meaning: str
    message: str
    cause: str
    remedy: str
    quantity: str
    limits: tuple[str, ...] = ()
    condition: conditions.Condition | None = None

    def thresholds(self) -> dict[str, tuple[float, Parameter]]:
        """Value and description of each limit, by its name."""
        known = {f.name: f.metadata["parameter"] for f in dataclasses.fields(QualityLimits)}
        return {name: (getattr(LIMITS, name), known[name]) for name in self.limits}

    def exceeded(self, quality: Quality, limits: QualityLimits) -> conditions.Exceeded | None:
        """The number that raises the flag and its limit; None if the flag is not raised."""
        condition = self.condition or conditions.above(self.quantity, *self.limits)
        return condition(quality, limits)


def _table(*definitions: FlagDefinition) -> dict[str, FlagDefinition]:
    return {definition.name: definition for definition in definitions}


DEFINITIONS: dict[str, FlagDefinition] = _table(
    FlagDefinition(
        "no-signal", "problem",
        meaning="the frames have no significant common signal, so no motion was corrected",
        message="no common signal above noise: not corrected",
        cause="An empty or very thick area, no specimen, a dose that is far too low, or a wrong "
        "pixel size.",
        remedy="Inspect the micrograph; leave the movie out if there is nothing to see. If there "
        "is, check `pixel_size_A`, and raise `max_shift_A` if the motion may be large.",
        quantity="has_signal", condition=conditions.is_false("has_signal"),
    ),
    FlagDefinition(
        "dose-mismatch", "problem",
        meaning="the counts of the detector do not agree with the dose that was declared",
        message="the detector counted {value:.3g} times the declared dose per frame",
        cause="The dose of the whole movie or of another number of frames was given, a pixel size "
        "that is wrong by a factor of two (super-resolution), or very thick ice.",
        remedy="Compare `dose_per_frame_e_A2` and `pixel_size_A` with the microscope's; dose "
        "weights and CTF depend on both.",
        quantity="measured_dose_e_A2", limits=("dose_ratio_low", "dose_ratio_high"),
        condition=conditions.dose_mismatch,
    ),
    FlagDefinition(
        "beyond-field", "problem",
        meaning="the frames drift so far that the first and the last have less than half of the "
        "field in common; the motion was rejected, and none was corrected",
        message="a drift over {value:.0%} of the field (at most {limit:.0%}): none was corrected",
        cause="A stage that moved during the exposure, or noise taken for motion in frames with "
        "too little signal.",
        remedy="Inspect the frames. Align those that belong together with `align_first` and "
        "`align_last`, or lower `max_shift_A` if such a large motion is impossible.",
        quantity="drift_part", limits=("drift_part",),
    ),
    FlagDefinition(
        "unsafe-motion", "problem",
        meaning="some frames are misaligned (lost_frames in the record), or the two half-sets of "
        "Fourier rings give inconsistent motions: the standard errors are not valid",
        message="frames, or the half-sets of Fourier rings, give inconsistent motions",
        cause="Large displacements, blurred frames, or too little signal to find the right peak.",
        remedy="Inspect the micrograph. Leave out the frames named in lost_frames with "
        "`sum_first`, `sum_last` or `align_first`, `align_last`, and raise `max_shift_A` if they "
        "moved far. If there are none, use frames of a higher dose (for EER, fewer fractions).",
        quantity="halves_apart", limits=("halves_apart",), condition=conditions.unsafe_motion,
    ),
    FlagDefinition(
        "gain-residual", "problem",
        meaning="rows or columns of the unaligned sum differ by more than noise explains",
        message="rows or columns scatter by {value:.2%} of the mean beyond noise (at most "
        "{limit:.2%} is normal)",
        cause="A gain reference that is missing, old, rotated or flipped, or that divides where it "
        "should multiply.",
        remedy="Run flexalign check-gain to find `gain_rotate`, `gain_flip` and `gain_sense`; "
        "record a new reference if it is old.",
        quantity="gain_residual_rows", limits=("gain_residual",),
        condition=conditions.gain_residual,
    ),
    FlagDefinition(
        "fixed-pattern", "warning",
        meaning="a fixed pattern of the detector biased the motion toward zero; it was removed for "
        "the estimate, not from the micrograph",
        message="a fixed pattern of the detector was removed for the estimate",
        cause="A gain reference that does not fit, bad columns or pixels that are not listed, "
        "dirt, or a support that does not move with the specimen.",
        remedy="Check `gain` with flexalign check-gain; list known bad pixels with `defects`.",
        quantity="fixed_pattern_removed", limits=("fixed_pattern_significance",),
        condition=conditions.fixed_pattern,
    ),
    FlagDefinition(
        "bad-frames", "warning",
        meaning="frames were blank, broken or corrupt, and were left out",
        message="{value:.0f} frames were left out",
        cause="The beam was off or blanked, the camera dropped frames, or the file was not copied "
        "whole.",
        remedy="Read the warnings in the record, which name the frames. If it is always the first "
        "or last ones, leave them out with `align_first` and `align_last`; copy corrupt files "
        "again.",
        quantity="bad_frame_count", limits=("bad_frame_count",),
    ),
    FlagDefinition(
        "uneven-dose", "warning",
        meaning="some frames have more or fewer counts than the others and their dose explain",
        message="the counts of a frame are {value:.0%} off those of the others (at most "
        "{limit:.0%} is normal)",
        cause="A shutter or beam that was late, frames summed from different numbers of raw "
        "frames, a beam that flickers, or lost frames that were replaced.",
        remedy="Read the warnings in the record, which name the frames. Where their doses are "
        "known, give them as a list to `dose_per_frame_e_A2`; else leave the frames out.",
        quantity="uneven_dose", limits=("uneven_dose",),
    ),
    FlagDefinition(
        "jump", "warning",
        meaning="the specimen moved far from one frame to the next",
        message="{value:.0f} A from one frame to the next (at most {limit:.0f} A is normal)",
        cause="A stage that slipped, a bump of the microscope, ice that broke.",
        remedy="Inspect the trajectory and the micrograph. Leave the frames before or after the "
        "jump out of the sum (`sum_first`, `sum_last`) if the image is blurred.",
        quantity="largest_step_A", limits=("largest_step_A",),
    ),
    FlagDefinition(
        "large-motion", "warning",
        meaning="the path of the specimen is long",
        message="a path of {value:.0f} A (at most {limit:.0f} A is normal)",
        cause="A stage that had not settled, or ice that is not held by its support.",
        remedy="Wait longer after moving the stage; check whether the trajectory is straight "
        "(drift) or only the start is fast (beam-induced: another grid or support may help).",
        quantity="total_motion_A", limits=("total_motion_A",),
    ),
    FlagDefinition(
        "rough-path", "warning",
        meaning="the steps of the path vary strongly from frame to frame",
        message="steps change by {value:.1f} A from frame to frame (at most {limit:.1f} A is "
        "normal)",
        cause="Vibration or an unstable stage; or too little signal for such short frames.",
        remedy="Compare with other movies: if all are rough, have the microscope checked. If the "
        "standard errors are as large, sum more raw frames to one.",
        quantity="roughness_A", limits=("roughness_A",),
    ),
    FlagDefinition(
        "uncertain", "warning",
        meaning="the standard error of the motion is large",
        message="a standard error of {value:.2f} A per frame (at most {limit:.2f} A is normal)",
        cause="Thick ice, few particles, a low dose per frame, or a strong defocus gradient.",
        remedy="Use frames of a higher dose (for EER, fewer fractions); expect little signal at "
        "high resolution.",
        quantity="trajectory_error_A", limits=("trajectory_error_A",),
    ),
    FlagDefinition(
        "hot-pixels", "warning",
        meaning="many pixels are hot or dead",
        message="{value:.2%} of the pixels are hot or dead (at most {limit:.2%} is normal)",
        cause="A camera that needs annealing or a new dark reference, or a gain reference that "
        "does not fit.",
        remedy="List known bad pixels and columns with `defects`, renew the camera's references, "
        "check the orientation of `gain`.",
        quantity="hot_pixel_part", limits=("hot_pixel_part",), condition=conditions.hot_pixels,
    ),
    FlagDefinition(
        "no-rings", "warning",
        meaning="no Thon rings are visible in the power spectrum of the micrograph",
        message="no Thon rings are visible",
        cause="Empty or very thick ice, a very small defocus, strong motion within frames, or a "
        "wrong pixel size.",
        remedy="Inspect the power spectrum before you use the micrograph; rely on your CTF "
        "program.",
        quantity="ring_score", condition=conditions.no_thon_rings,
    ),
    FlagDefinition(
        "poor-rings", "warning",
        meaning="Thon rings fade early",
        message="Thon rings are visible to {value:.1f} A only ({limit:.0f} A or finer is normal)",
        cause="Thick ice, motion within frames, a charging or tilted specimen, or a wrong pixel "
        "size.",
        remedy="Inspect the power spectrum before you use the micrograph; rely on your CTF "
        "program.",
        quantity="rings_to_A", limits=("rings_to_A",),
    ),
    FlagDefinition(
        "uncorrected", "warning",
        meaning="there is signal, but no significant motion; the bound of the remaining motion is "
        "large or unknown",
        message="no motion was significant, and some may remain uncorrected",
        cause="Little signal in each frame: few or dim frames, a high tilt, thick ice.",
        remedy="Inspect the micrograph: if it is blurred, record frames of a higher dose (for "
        "EER, sum more raw frames to one), check `gain` with flexalign check-gain, or use an "
        "alignment of another program with flexalign apply.",
        quantity="motion_bound_A", limits=("motion_bound_A",), condition=conditions.uncorrected,
    ),
    FlagDefinition(
        "lost-area", "problem",
        meaning="a large part of the detector has no image, and was filled from its surroundings",
        message="{value:.0%} of the pixels give no image (at most {limit:.0%} is tolerable)",
        cause="A part of the camera that is not read out, or a gain reference that does not fit.",
        remedy="Check the frames with flexalign info, and `gain`; leave the movies out if the "
        "camera is broken.",
        quantity="hot_pixel_part", limits=("lost_part",),
    ),
    FlagDefinition(
        "one-direction", "warning",
        meaning="the frames determine motion in one direction only; motion perpendicular to it is "
        "unknown, and was not corrected",
        message="motion was corrected along {value:.0f} degrees only, from the x axis toward y",
        cause="Parallel filaments, stripes or edges, which look the same after any "
        "motion along them, and nothing else with as much signal.",
        remedy="Use the movie for what varies across the filaments. Otherwise use areas with "
        "more ice, particles or filaments of other directions; see other_error_A in the record.",
        quantity="only_direction_deg", condition=conditions.is_measured("only_direction_deg"),
    ),
    FlagDefinition(
        "wide-search", "note",
        meaning="the default search found no motion; it was found by coarser detail, or by all "
        "frames together",
        message="the motion was found by a wider search than the default",
        cause="Little signal finer than 18 A: negative stain, a high tilt, dim frames.",
        remedy="Check whether the micrograph is sharp; expect larger errors.",
        quantity="searched_wider", condition=conditions.is_true("searched_wider"),
    ),
    FlagDefinition(
        "still", "note",
        meaning="nothing moved by more than its error",
        message="nothing moved by more than {limit:.2g} A",
        cause="A very quiet specimen; frames that were aligned before; or a fixed pattern so "
        "strong that it hides the motion.",
        remedy="If the movie was aligned before, use the raw one. If many movies of a session are "
        "still, check the gain reference.",
        quantity="movement_A", limits=("still_errors",), condition=conditions.still,
    ),
)  # fmt: skip
