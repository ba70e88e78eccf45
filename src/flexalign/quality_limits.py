"""Limits of the quality numbers, at which flags are raised and a motion is not applied."""

from __future__ import annotations

from dataclasses import dataclass

from flexalign.parameter import parameter

FLAGS = "Quality flags"


@dataclass(frozen=True, slots=True)
class QualityLimits:
    """Thresholds of the flags; the numbers are those of `flexalign.model.Quality`."""

    total_motion_A: float = parameter(
        150.0, "Maximum path length of the specimen.", FLAGS, unit="A"
    )
    largest_step_A: float = parameter(
        20.0, "Maximum displacement from one frame to the next.", FLAGS, unit="A"
    )
    roughness_A: float = parameter(
        2.0, "Maximum of the median change of step between frames.", FLAGS, unit="A"
    )
    trajectory_error_A: float = parameter(
        0.5, "Maximum standard error of a displacement, per axis.", FLAGS, unit="A"
    )
    still_errors: float = parameter(
        3.0, "Movement in standard errors from which the specimen counts as moving.", FLAGS
    )
    motion_bound_A: float = parameter(
        3.0, "Upper bound of the motion below which the specimen counts as still.", FLAGS,
        unit="A",
    )  # fmt: skip
    halves_apart: float = parameter(
        3.0, "Maximum rms distance between the motions by either half of the Fourier rings, over "
        "what their standard errors allow.",
        FLAGS,
    )  # fmt: skip
    bad_frame_count: int = parameter(0, "Frames that may be left out.", FLAGS)
    fixed_pattern_significance: float = parameter(
        6.0,
            "Significance of its pull, in standard deviations, from which a fixed pattern is "
            "accepted, if measurable.",
        FLAGS,
    )  # fmt: skip
    hot_pixel_part: float = parameter(0.001, "Maximum fraction of hot or dead pixels.", FLAGS)
    lost_part: float = parameter(
        0.05, "Maximum fraction of unusable pixels before the image itself suffers.",
        FLAGS,
    )  # fmt: skip
    drift_part: float = parameter(
        0.5, "Maximum drift over the length of the field; beyond it the motion is not applied.",
        FLAGS,
    )  # fmt: skip
    uneven_dose: float = parameter(
        0.2,
            "Maximum relative deviation of a frame's counts from a straight line through those of "
            "all (divided by its declared dose, if known).",
        FLAGS,
    )  # fmt: skip
    gain_residual: float = parameter(
        0.005, "Maximum standard deviation of rows or columns of the unaligned sum, over its mean.",
        FLAGS,
    )  # fmt: skip
    dose_ratio_low: float = parameter(
        0.5, "Minimum ratio of the measured to the declared dose.", FLAGS
    )
    dose_ratio_high: float = parameter(
        1.5, "Maximum ratio of the measured to the declared dose.", FLAGS
    )
    rings_to_A: float = parameter(
        10.0, "Resolution to which Thon rings should be visible.", FLAGS, unit="A"
    )


LIMITS = QualityLimits()
