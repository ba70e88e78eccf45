"""The quality numbers of a movie, its flags, and its curves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from flexalign.estimate.result import Estimate
from flexalign.io.thumbnails import shown_edge_per_A
from flexalign.model import (
    Curves,
    FloatArray,
    FrameSums,
    PowerSpectrum,
    Quality,
    SignalBand,
)
from flexalign.motion import Motion, MotionField
from flexalign.params import AlignParams
from flexalign.passes import FirstPass
from flexalign.plan import Plan
from flexalign.quality import motion_statistics, raise_flags
from flexalign.quality.dose_check import counts_are_electrons
from flexalign.quality.gain_residual import line_residuals
from flexalign.quality.thon_rings import NOT_MEASURED, find_thon_rings
from flexalign.quality_limits import LIMITS

# In smaller micrographs the mean of a few tiles is too noisy to show rings.
MIN_PX_FOR_RINGS = 1000
_CURVE_DIGITS = 4


def quality_of(
    plan: Plan,
    params: AlignParams,
    first: FirstPass,
    estimate: Estimate,
    before: PowerSpectrum | None,
    after: PowerSpectrum | None,
    residuals: tuple[float, float],
) -> Quality:
    """The quality numbers of one movie, with the flags that they raise.

    Parameters
    ----------
    before, after : of the micrograph without and with the motion; None = not computed
    residuals : `gain_residuals` of rows and columns
    """
    measured = Quality(
        **_motion_numbers(estimate.motion, plan, params),
        **_errors(estimate, plan.pixel_size_A),
        **_detector_numbers(plan, first, residuals),
        **_fixed_pattern_numbers(estimate),
        **_spectrum_numbers(plan, params, estimate, before, after),
        **_choice_numbers(estimate, plan.pixel_size_A),
    )
    return replace(measured, flags=raise_flags.raised(measured))


def _motion_numbers(motion: Motion, plan: Plan, params: AlignParams) -> dict[str, Any]:
    """Motion over the summed frames, in Angstrom; paths are those of the whole frame."""
    pixel_A, frames = plan.pixel_size_A, range(plan.sum.first, plan.sum.stop)
    total, early, late, step = motion_statistics.path_lengths_A(
        motion, plan.sum, pixel_A, _dose_after_e_A2(plan, params)
    )
    return {
        "total_motion_A": total,
        "early_motion_A": early,
        "late_motion_A": late,
        "largest_step_A": step,
        "roughness_A": motion_statistics.roughness_A(motion, plan.sum, pixel_A),
        "movement_A": motion_statistics.largest_displacement_px(motion, frames) * pixel_A,
        "local_range_A": motion_statistics.local_range_px(motion.field, frames) * pixel_A,
    }


def _errors(estimate: Estimate, pixel_A: float) -> dict[str, Any]:
    """Standard errors per axis, and the residual of the tracks, in Angstrom."""
    residual_px = motion_statistics.track_residual_px(estimate.motion, estimate.tracks)
    return {
        "trajectory_error_A": estimate.trajectory_error_px * pixel_A,
        "field_error_A": _field_error_px(estimate.motion.field) * pixel_A,
        "track_residual_A": residual_px * pixel_A,
    }


def _detector_numbers(
    plan: Plan, first: FirstPass, residuals: tuple[float, float]
) -> dict[str, Any]:
    """The frames as they were recorded: gain residual, bad frames and pixels, dose."""
    hot_pixel_count = int(np.count_nonzero(first.hot_pixels))
    return {
        "gain_residual_rows": residuals[0],
        "gain_residual_columns": residuals[1],
        "bad_frame_count": len(first.bad_frames),
        "hot_pixel_count": hot_pixel_count,
        "hot_pixel_part": hot_pixel_count / first.hot_pixels.size,
        "uneven_dose": max(map(abs, first.uneven_frames.values()), default=0.0),
        "measured_dose_e_A2": _measured_dose_e_A2(plan, first),
        "declared_dose_e_A2": _declared_dose_e_A2(plan, first),
    }


def _fixed_pattern_numbers(estimate: Estimate) -> dict[str, Any]:
    """The fixed pattern, which without motion cannot be distinguished from the specimen."""
    pattern, nan = estimate.pattern, float("nan")
    is_known = pattern.significance != 0
    return {
        "fixed_pattern_pull": pattern.pull if is_known else nan,
        "fixed_pattern_significance": pattern.significance if is_known else nan,
        "fixed_pattern_removed": estimate.has_fixed_pattern,
    }


def _spectrum_numbers(
    plan: Plan,
    params: AlignParams,
    estimate: Estimate,
    before: PowerSpectrum | None,
    after: PowerSpectrum | None,
) -> dict[str, Any]:
    """Thon rings and signal of the sum of all frames."""
    rings = NOT_MEASURED
    is_large = min(plan.output_shape_px) >= MIN_PX_FOR_RINGS
    if is_large and before is not None and after is not None:
        rings = find_thon_rings(before, after, params.voltage_kV)
    return {
        "rings_to_A": rings.to_A,
        "rings_before_A": rings.before_A,
        "ring_score": rings.score,
        "signal_bands": _signal_bands(estimate),
    }


def _choice_numbers(estimate: Estimate, pixel_A: float) -> dict[str, Any]:
    """How the motion that was kept compares with the other candidates."""
    return {
        "candidate_scores": estimate.scores,
        "chosen": estimate.chosen,
        "has_signal": estimate.has_signal,
        "searched_wider": estimate.is_from_wider_search,
        "motion_bound_A": estimate.motion_bound_px * pixel_A,
        "drift_part": estimate.drift_part,
        "lost_frames": estimate.lost_frames,
        "halves_apart": estimate.halves_apart,
        "only_direction_deg": _angle_deg(estimate.direction),
        "other_error_A": estimate.other_error_px * pixel_A,
    }


def gain_residuals(
    uncorrected: tuple[float, float], sums: FrameSums, plan: Plan, motion: Motion
) -> tuple[float, float]:
    """Gain residuals of rows and columns, corrected for drift of the specimen if they are large.

    Parameters
    ----------
    uncorrected : `line_residuals` of the unaligned sum alone
    """
    if not max(uncorrected) > LIMITS.gain_residual or sums.unaligned is None:
        return uncorrected
    frames = [i for i in plan.sum if motion.trajectory.is_measured[i]]
    path_px = motion.trajectory.displacement_px[frames] / np.array(plan.binning)
    corrected = line_residuals(sums.unaligned, sums.plain, path_px)
    return uncorrected if np.isnan(corrected).any() else corrected


def curves(first: FirstPass, before: PowerSpectrum | None, after: PowerSpectrum | None) -> Curves:
    """The curves of a movie for the report."""
    counts = _rounded(first.frame_counts)
    if before is None or after is None:
        return Curves(mean_counts=counts)
    return Curves(
        frequency_per_A=_rounded(after.frequency_per_A),
        power_before=_rounded(before.radial_power),
        power_after=_rounded(after.radial_power),
        mean_counts=counts,
        spectrum_edge_per_A=shown_edge_per_A(after),
    )


def _dose_after_e_A2(plan: Plan, params: AlignParams) -> FloatArray:
    """Accumulated dose at the end of each summed frame."""
    ends = np.arange(plan.sum.first, plan.sum.stop, dtype=np.float64) + 1
    dose_e_A2 = plan.dose_before_e_A2(ends)
    if dose_e_A2 is None:
        dose_e_A2 = motion_statistics.ASSUMED_DOSE_E_A2 * ends
    return dose_e_A2 + params.pre_exposure_e_A2


def _angle_deg(direction: FloatArray | None) -> float:
    """Angle of a direction (y, x) from the x axis toward y, 0 to 180 degrees; NaN = there is none.

    Examples
    --------
    >>> _angle_deg(np.array([-1.0, 0.0]))
    90.0
    """
    if direction is None:
        return float("nan")
    return float(np.degrees(np.arctan2(*direction)) % 180)


def _signal_bands(estimate: Estimate) -> tuple[SignalBand, ...]:
    """Signal by resolution; before correction it is unknown where a fixed pattern was removed."""
    if not estimate.has_fixed_pattern:
        return estimate.signal
    return tuple(replace(band, before=float("nan")) for band in estimate.signal)


def _field_error_px(field: MotionField | None) -> float:
    """Median standard error of the field at the places of its control points; NaN = unknown."""
    if field is None or field.standard_error_px is None:
        return float("nan")
    return float(np.median(field.standard_error_px))


def _measured_dose_e_A2(plan: Plan, first: FirstPass) -> float:
    """Dose of a frame as the detector counted it; NaN if its values are not electron counts.

    The mean of a gain reference is arbitrary and is divided out.
    """
    gain, dark = first.correction.gain, first.correction.dark
    if not counts_are_electrons(plan.movie) or dark is not None:
        return float("nan")
    scale = 1.0 if gain is None else float(gain.mean())
    return first.mean_counts / (scale * plan.pixel_size_A**2)


def _declared_dose_e_A2(plan: Plan, first: FirstPass) -> float:
    """Mean declared dose of the frames whose counts were measured; NaN = unknown."""
    measured = np.flatnonzero(np.isfinite(first.frame_counts))
    dose_e_A2 = plan.dose_before_e_A2(np.stack([measured, measured + 1]).astype(np.float64))
    if dose_e_A2 is None:
        return float("nan")
    return float(np.mean(dose_e_A2[1] - dose_e_A2[0]))


def _rounded(values: FloatArray) -> tuple[float, ...]:
    """Values with few digits, so that thousands of records stay small."""
    return tuple(float(f"{value:.{_CURVE_DIGITS}g}") for value in values)
