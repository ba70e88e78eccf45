"""What a form must not say, apart from what each field refuses by itself."""

import os

from pwem import emlib

from .. import Plugin
from ..constants import EER_SUFFIX, MIN_CONTROL_POINTS

MAX_LIKELY_DOSE = 300.0  # e/A2 in a whole movie


def is_eer(movie):
    """Whether the frames of a movie are sums of raw ones."""
    return movie is not None and movie.getFileName().lower().endswith(EER_SUFFIX)


class FormChecks:
    """Checks of a form, before anything runs."""

    def _validate(self):
        errors = list(Plugin.validateInstallation())
        errors += self._checkGpu()
        errors += self._checkNumbers()
        if self._getInputMovies() is not None:
            errors += self._checkEer()
            errors += self._checkFrames()
            errors += self._checkFiles()
        return errors

    def _checkNumbers(self):
        """Numbers that make no sense whatever the movies are."""
        errors = []
        for name, what in (
            ("maxResForCorrelation", "Maximum resolution"),
            ("maxShift", "Maximum shift"),
            ("minLocalRes", "Min size of the patch"),
        ):
            if getattr(self, name).get() <= 0:
                errors.append("%s must be more than 0 A." % what)
        if self.groupNFrames.get() < 1:
            errors.append("Group N frames must be at least 1.")
        if self.binFactor.get() < 1:
            errors.append("Bin factor must be >= 1")
        if self.getBinThreads() < 1:
            errors.append("Threads must be at least 1.")
        if not self.autoControlPoints:
            errors += [
                "You have to use at least %d control points in %s dim" % (MIN_CONTROL_POINTS, axis)
                for axis in "XYT"
                if getattr(self, "controlPoint" + axis).get() < MIN_CONTROL_POINTS
            ]
        if not self.autoPatches and min(self.patchesX.get(), self.patchesY.get()) < 1:
            errors.append("Number of patches must be at least 1 in X and Y.")
        if (
            self.cropDimX.get(),
            self.cropDimY.get(),
            self.cropOffsetX.get(),
            self.cropOffsetY.get(),
        ) != (0, 0, 0, 0):
            errors.append("Frames cannot be cropped; leave all crop values 0.")
        return errors

    def _checkFrames(self):
        """Frame ranges that the movies do not have, or that contradict each other."""
        first, last = self._getSetRange()
        errors = []
        ranges = {}
        for name in ("align",) if self.useAlignToSum else ("align", "sum"):
            f0, fN = getattr(self, name + "Frame0").get(), getattr(self, name + "FrameN").get()
            f0 = first if f0 <= 1 else f0
            fN = last if fN <= 0 else fN
            ranges[name] = f0, fN
            words = "Check the selected %s frame to *%s*: found %d, expected one in %d - %d."
            if last and not first <= f0 <= last:
                errors.append(words % ("first", name.upper(), f0, first, last))
            elif last and not first <= fN <= last:
                errors.append(words % ("last", name.upper(), fN, first, last))
            elif fN and fN < f0:
                errors.append(
                    "Check the selected frames range to *%s*: the last frame (%d) is "
                    "before the first (%d)." % (name.upper(), fN, f0)
                )
        a0, aN = ranges["align"]
        if aN and aN == a0:
            errors.append("At least two frames are needed to *ALIGN*.")
        s0, sN = ranges.get("sum", (a0, aN))
        if not errors and (s0 < a0 or (aN and sN > aN)):
            errors.append(
                "The frames to *SUM* (%d - %d) must be among those to *ALIGN* "
                "(%d - %d): the motion of the others is not known." % (s0, sN, a0, aN)
            )
        return errors

    def _checkEer(self):
        """How many frames are made of an EER movie."""
        if not is_eer(self._getFirstMovie()) or self.eerDose.get() == 0:
            return []
        if self.eerDose.get() < 0:
            return ["The dose of an EER frame must not be negative."]
        if (self._getInputMovies().getAcquisition().getDosePerFrame() or 0.0) <= 0:
            return ["A dose of EER frames needs the dose of the movies, which this set has not."]
        return []

    def _getSetRange(self):
        """Numbers of the first and last frame of the movies as aligned, 0 = unknown."""
        item = self._getFirstMovie()
        if is_eer(item):
            return 1, self._getEerFrames(item)
        first, last, _ = self._getInputMovies().getFramesRange()
        if last <= 0:
            last = (item.getNumberOfFrames() or 0) if item is not None else 0
        return first, last

    def _checkFiles(self):
        """Files that are not where the set says."""
        errors = []
        item = self._getFirstMovie()
        if item is not None and not emlib.image.ImageHandler().existsLocation(item.getLocation()):
            errors.append(
                "The movie %s does not exist. Movies are usually links: were they, or "
                "the project, moved?" % item.getFileName()
            )
        files = dict(zip(("gain", "dark"), self.getGainAndDark()), defects=self.defectsFile.get())
        for what, path in files.items():
            if path and not os.path.exists(path):
                errors.append("The %s file %s does not exist." % (what, path))
        return errors

    def _warnings(self):
        """What may not be meant, but can be done."""
        warnings = []
        movies = self._getInputMovies()
        if movies is None:
            return warnings
        dose = movies.getAcquisition().getDosePerFrame() or 0.0
        if self.doDoseWeight and dose <= 0:
            warnings.append(
                "The movies have no dose per frame: there will be nothing dose-weighted."
            )
        warnings += self._checkTotalDose(dose)
        gpus = len(self.getGpuList())
        if gpus > 1 and self.numberOfThreads.get() < gpus + 1:
            warnings.append(
                "%d Scipion threads keep %d of %d GPUs busy: %d threads would use all."
                % (
                    self.numberOfThreads.get(),
                    max(self.numberOfThreads.get() - 1, 1),
                    gpus,
                    gpus + 1,
                )
            )
        return warnings

    def _checkTotalDose(self, dose):
        """Whether the dose per frame of EER movies is that of a raw frame, as messages."""
        if not self.doDoseWeight or not is_eer(self._getFirstMovie()):
            return []
        total = dose * self._getInputMovies().getDim()[2]
        if total <= MAX_LIKELY_DOSE:
            return []
        return [
            "%g e/A2 per raw frame of these EER movies make %.0f e/A2 in all. "
            "Is it the dose of a sum of raw frames?" % (dose, total)
        ]
