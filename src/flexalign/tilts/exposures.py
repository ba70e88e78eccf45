"""Sort the exposures of a series by time, and compute pre-exposures and repeated angles."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import pairwise
from statistics import median
from typing import NamedTuple

from flexalign.io.mdoc import base_name, number_of, numbers_of
from flexalign.tilts.model import Exposure, Tilt, TiltSeries

# Pixel sizes outside this range are not used to compute a dose.
MIN_PIXEL_A, MAX_PIXEL_A = 0.01, 1000.0
# Angles that differ by less than this fraction of the median step count as equal, within limits:
# the readout of the stage scatters by hundredths of a degree.
SAME_ANGLE_STEP_RATIO = 0.25
MIN_SAME_ANGLE_DEG, MAX_SAME_ANGLE_DEG = 0.1, 0.5
MAX_ANGLE_DEG = 90.0
# Tolerated difference between the pre-exposure in a file and the sum of earlier doses.
PRIOR_DOSE_TOLERANCE = 0.05


class OrderedExposures(NamedTuple):
    """Exposures in order of time, and notes on that order."""

    exposures: list[Exposure]
    notes: list[str]


def in_order(exposures: Sequence[Exposure]) -> OrderedExposures:
    """`exposures` in the order of acquisition.

    They are sorted by time.  One without a time follows the one with the preceding number; if none
    has a time, they are sorted by a table's pre-exposure, else by number.  Duplicates with the same
    movie and time are removed.
    """
    by_number = sorted(enumerate(exposures), key=lambda item: (item[1].number, item[0]))
    listed = [exposure for _, exposure in by_number]
    notes = []
    if all(e.pre_exposure_e_A2 is not None for e in listed):
        return OrderedExposures(sorted(listed, key=lambda e: e.pre_exposure_e_A2 or 0.0), [])
    timeless = [e.number for e in listed if e.time is None]
    if listed and len(timeless) == len(listed):
        if any(e.section for e in listed):
            notes.append("no DateTime in the mdoc: the order of exposure is that of ZValue")
        return OrderedExposures(listed, notes)
    if timeless:
        notes.append(
            f"no DateTime for ZValue {_numbers(timeless)}: assumed to follow the preceding ZValue"
        )
    times = _times(listed)
    places = sorted(range(len(listed)), key=lambda place: (times[place], place))
    kept: dict[tuple[object, ...], Exposure] = {}
    for place in places:
        exposure = listed[place]
        is_named = exposure.movie_name and exposure.time is not None
        kept[(exposure.movie_name, exposure.time) if is_named else (place,)] = exposure
    if len(kept) < len(listed):
        notes.append(f"{len(listed) - len(kept)} exposures are listed twice: each counts once")
    return OrderedExposures(list(kept.values()), notes)


def _times(exposures: Sequence[Exposure]) -> list[datetime]:
    """A time for each of the exposures; missing ones are taken from the one before."""
    last = min(exposure.time for exposure in exposures if exposure.time is not None)
    times = []
    for exposure in exposures:
        last = exposure.time or last
        times.append(last)
    return times


def section_dose_e_A2(section: Mapping[str, str], pixel_size_A: float | None) -> float | None:
    """The dose of an exposure from its mdoc section, None where it is not given.

    ``ExposureDose``, else the sum over ``FrameDosesAndNumber``, pairs of dose and number of frames,
    else ``DoseRate``, electrons per unbinned pixel and second, times ``ExposureTime`` over the
    area of such a pixel.  Zero means that the dose was not measured.

    Parameters
    ----------
    pixel_size_A : of the image, used if the section does not contain it

    Examples
    --------
    >>> section_dose_e_A2({"ExposureDose": "0", "FrameDosesAndNumber": "0.5 6"}, None)
    3.0
    >>> section_dose_e_A2({"DoseRate": "8", "ExposureTime": "1.5"}, 2.0)
    3.0
    """
    dose = number_of(section.get("ExposureDose"))
    if dose is not None and dose > 0:
        return dose
    pairs = numbers_of(section.get("FrameDosesAndNumber"))
    total = sum(d * n for d, n in zip(pairs[::2], pairs[1::2], strict=False))
    if 0 < total < math.inf:
        return total
    rate, time_s = number_of(section.get("DoseRate")), number_of(section.get("ExposureTime"))
    pixel_A = number_of(section.get("PixelSpacing")) or pixel_size_A
    binning = number_of(section.get("Binning")) or 1.0
    if rate and time_s and pixel_A and min(rate, time_s, binning) > 0:
        unbinned_A = pixel_A / binning
        if MIN_PIXEL_A < unbinned_A < MAX_PIXEL_A and rate * time_s < math.inf:
            return rate * time_s / unbinned_A**2
    return None


def tilts_of(
    exposures: Sequence[Exposure],
    typed_dose_e_A2: float | None = None,
    *,
    has_options: bool = True,
) -> tuple[list[Tilt], list[str]]:
    """The tilts of sorted exposures, with doses and pre-exposures; and notes.

    An unknown dose is set to the median of the others, since the specimen was exposed whether or
    not there is an image.

    Parameters
    ----------
    typed_dose_e_A2 : of each exposure, given by the user; None = as in the source
    has_options : whether the user can give it, as a note recommends
    """
    notes: list[str] = []
    doses = _doses_e_A2(exposures, typed_dose_e_A2)
    known = [dose for dose in doses if dose is not None]
    if not known and exposures:
        advice = ": give --tilt-dose" if has_options else ""
        notes.append(f"the dose is not known, so there is no pre-exposure{advice}")
    elif len(known) < len(doses):
        assumed = median(known)
        unknown = [order for order, dose in enumerate(doses, start=1) if dose is None]
        notes.append(
            f"no dose for exposure {_numbers(unknown)}: taken as {assumed:.3g} e/A2, the median"
        )
        doses = [assumed if dose is None else dose for dose in doses]
    is_typed = typed_dose_e_A2 is not None
    tilts: list[Tilt] = []
    before = 0.0
    for order, (exposure, dose) in enumerate(zip(exposures, doses, strict=True), start=1):
        given = None if is_typed else exposure.pre_exposure_e_A2
        tilts.append(_tilt(exposure, order, dose, before if given is None else given))
        before += dose or 0.0
    return tilts, notes + _prior_notes(exposures, tilts)


def _doses_e_A2(exposures: Sequence[Exposure], typed_dose_e_A2: float | None) -> list[float | None]:
    """The dose of each exposure: given, from its source, or the step of a table's pre-exposure."""
    if typed_dose_e_A2 is not None:
        return [typed_dose_e_A2] * len(exposures)
    before = [exposure.pre_exposure_e_A2 for exposure in exposures]
    steps: list[float | None] = [
        later - earlier if later is not None and earlier is not None and later > earlier else None
        for earlier, later in pairwise(before)
    ]
    steps += [None] * (len(exposures) - len(steps))
    return [
        step if exposure.dose_e_A2 is None else exposure.dose_e_A2
        for exposure, step in zip(exposures, steps, strict=True)
    ]


def _tilt(exposure: Exposure, order: int, dose: float | None, before: float) -> Tilt:
    """The tilt of one exposure, with the values of its source."""
    tilt = Tilt(
        number=exposure.number,
        order=order,
        angle_deg=math.nan if exposure.angle_deg is None else exposure.angle_deg,
        dose_e_A2=math.nan if dose is None else dose,
        pre_exposure_e_A2=before,
        time="" if exposure.time is None else exposure.time.isoformat(sep=" "),
        movie_name=base_name(exposure.movie_name),
        section=dict(exposure.section),
    )
    if exposure.angle_deg is None:
        return tilt.without("no-angle")
    if abs(exposure.angle_deg) > MAX_ANGLE_DEG:
        return tilt.without("no-angle", f"no stage tilts to {exposure.angle_deg:g} degrees")
    return tilt if exposure.movie_name else tilt.without("no-movie")


def _prior_notes(exposures: Sequence[Exposure], tilts: Sequence[Tilt]) -> list[str]:
    """Notes where the pre-exposures of the source differ from ours."""
    differing = [
        tilt.number
        for exposure, tilt in zip(exposures, tilts, strict=True)
        if (prior_dose := number_of(exposure.section.get("PriorRecordDose"))) is not None
        and abs(prior_dose - tilt.pre_exposure_e_A2) > PRIOR_DOSE_TOLERANCE * max(1.0, prior_dose)
    ]
    if not differing:
        return []
    return [
        f"PriorRecordDose of ZValue {_numbers(differing)} differs from the sum of the doses of all "
        "earlier exposures, which is what is used"
    ]


def without_repeats(tilts: Sequence[Tilt]) -> list[Tilt]:
    """`tilts` with only the latest exposure of each angle used; the others refer to it.

    Call it again when used tilts are lost: an earlier exposure of the same angle then replaces
    each.
    """
    known = (tilt.angle_deg for tilt in tilts if abs(tilt.angle_deg) <= MAX_ANGLE_DEG)
    tolerance_deg = same_angle_deg(list(known))
    later: list[Tilt] = []
    for tilt in reversed(tilts):
        if tilt.left_out == "re-shot":
            tilt = replace(tilt, left_out="", why="")
        later.append(_if_repeated(tilt, later, tolerance_deg) if tilt.is_used else tilt)
    used = [tilt for tilt in later if tilt.is_used]
    return [_with_replacement(tilt, used, tolerance_deg) for tilt in reversed(later)]


def _if_repeated(tilt: Tilt, later: Sequence[Tilt], tolerance_deg: float) -> Tilt:
    """`tilt`, left out if a `later` one has the same movie, or is used at the same angle."""
    for other in later:
        if tilt.movie and tilt.movie == other.movie:
            return tilt.without("overwritten", f"exposure {other.order} has the same movie")
        if other.is_used and abs(tilt.angle_deg - other.angle_deg) < tolerance_deg:
            again = f"exposure {other.order} at {other.angle_deg:g} degrees"
            return tilt.without("re-shot", f"the angle was recorded again: {again}")
    return tilt


def _with_replacement(tilt: Tilt, used: Sequence[Tilt], tolerance_deg: float) -> Tilt:
    """`tilt` with the order of the exposure that is used instead, if there is one."""
    same = (t.order for t in used if abs(t.angle_deg - tilt.angle_deg) < tolerance_deg)
    return replace(tilt, replaced_by=0 if tilt.is_used else next(same, 0))


def without_lost(series: TiltSeries, losses: Mapping[int, tuple[str, str]]) -> TiltSeries:
    """`series` with more tilts left out; earlier exposures of their angles are used instead.

    Parameters
    ----------
    losses : one of `LEFT_OUT` and the reason in a sentence, by order of exposure
    """
    tilts = [
        tilt.without(*losses[tilt.order]) if tilt.order in losses else tilt for tilt in series.tilts
    ]
    return replace(series, tilts=tuple(without_repeats(tilts)))


def same_angle_deg(angles_deg: Sequence[float]) -> float:
    """Minimum difference of two distinct angles.

    Examples
    --------
    >>> same_angle_deg([0.01, 2.99, -3.01, 0.0, 6.0])
    0.5
    >>> round(same_angle_deg([0.0, 1.0, 2.0, 3.01, 2.99]), 2)
    0.25
    """
    ordered = sorted(angles_deg)
    steps = [b - a for a, b in pairwise(ordered)]
    wide = [step for step in steps if step > max(steps) / 4]
    tolerance_deg = SAME_ANGLE_STEP_RATIO * median(wide) if wide else 0.0
    return min(max(tolerance_deg, MIN_SAME_ANGLE_DEG), MAX_SAME_ANGLE_DEG)


def _numbers(numbers: Sequence[int], maximum: int = 8) -> str:
    """A list of numbers for a message, shortened to `maximum`."""
    more = f" and {len(numbers) - maximum} more" if len(numbers) > maximum else ""
    return ", ".join(map(str, numbers[:maximum])) + more
