"""A tilt series as the engine reads it: an mdoc file with what Scipion knows of each tilt."""

import os

# Sums of doses that differ by less are equal, e/A2.
DOSE_TOLERANCE = 1e-3


class Exposure:
    """One section of the mdoc file.

    Attributes
    ----------
    number : ZValue, the order of exposure from 1
    angle : of the stage, degrees
    dose : of this exposure, e/A2; 0 = unknown
    movie : path; "" where the engine is to make no image of it
    tilt : Scipion's object; None for an exposure that the set has not, but whose dose was given
    """

    def __init__(self, number, angle, dose, movie="", tilt=None):
        self.number, self.angle, self.dose = number, angle, dose
        self.movie, self.tilt = movie, tilt


def exposures_of(tilts):
    """The exposures of a series in their order, and the dose before the first of them, e/A2.

    The engine adds up the doses of all exposures that are listed. Where Scipion says that a tilt
    had more before it, as in a subset without some of the tilts, exposures without movie stand
    for what is missing, so that every tilt keeps the order and the dose that Scipion has.
    """
    ordered = sorted(tilts, key=lambda tilt: (tilt.getAcquisitionOrder() or 0, tilt.getObjId()))
    exposures = []
    initial = total = 0.0
    for tilt in ordered:
        dose, before = _doses(tilt)
        order = tilt.getAcquisitionOrder() or 0
        if not exposures and order <= 1:
            initial = total = before
        elif before - total > DOSE_TOLERANCE:
            count = max(order - len(exposures) - 1, 1)
            for _ in range(count):
                share = (before - total) / count
                exposures.append(Exposure(len(exposures) + 1, tilt.getTiltAngle(), share))
            total = before
        movie = tilt.getFileName() if tilt.isEnabled() else ""
        exposures.append(Exposure(len(exposures) + 1, tilt.getTiltAngle(), dose, movie, tilt))
        total += dose
    return exposures, initial


def _doses(tilt):
    """The dose of a tilt and that before it, e/A2, 0 = unknown."""
    acquisition = tilt.getAcquisition()
    if acquisition is None:
        return 0.0, 0.0
    dose = acquisition.getDosePerFrame() or 0.0
    accumulated = acquisition.getAccumDose()
    if accumulated is None:
        return dose, acquisition.getDoseInitial() or 0.0
    return dose, max(accumulated - dose, 0.0)


def mdoc_text(exposures, pixel_size_A, voltage_kV, tilt_axis_deg):
    """The mdoc file of a series.

    >>> print(mdoc_text([Exposure(1, -3.0, 2.5, "a/b.tif")], 1.5, 300.0, 85.0))
    PixelSpacing = 1.5
    Voltage = 300
    <BLANKLINE>
    [T = Tilt axis angle = 85, binning = 1]
    <BLANKLINE>
    [ZValue = 1]
    TiltAngle = -3
    ExposureDose = 2.5
    SubFramePath = a/b.tif
    <BLANKLINE>
    """
    lines = ["PixelSpacing = %.10g" % pixel_size_A]
    if voltage_kV:
        lines.append("Voltage = %.10g" % voltage_kV)
    if tilt_axis_deg is not None:
        lines += ["", "[T = Tilt axis angle = %.10g, binning = 1]" % tilt_axis_deg]
    for exposure in exposures:
        lines += ["", "[ZValue = %d]" % exposure.number]
        lines.append("TiltAngle = %.10g" % exposure.angle)
        if exposure.dose > 0:
            lines.append("ExposureDose = %.10g" % exposure.dose)
        if exposure.movie:
            lines.append("SubFramePath = %s" % exposure.movie)
    return "\n".join(lines + [""])


def movie_folder(exposures):
    """The folder in which, or below which, all movies of a series are."""
    folders = {os.path.dirname(os.path.abspath(e.movie)) for e in exposures if e.movie}
    return os.path.commonpath(sorted(folders)) if folders else None
