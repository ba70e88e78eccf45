"""What the form and the set of movies say, as options of the engine's command line."""

from ..constants import GAIN_ANGLES, GAIN_CHECKS, GAIN_FLIPS, GAIN_SENSES
from .validation import is_eer


class EngineOptions:
    """The options for one movie or one tilt series, by their names in the engine."""

    # The smallest number of frames that the engine makes of an EER movie by their dose.
    _minEerFrames = 1

    def _getOptions(self, movie):
        """All options of the engine for one movie, by their names there."""
        options = {
            "pixel-size": movie.getSamplingRate(),
            "save-movie": self.doSaveMovie.get(),
            "psd": self.doComputePSD.get(),
            "threads": self.getBinThreads(),
        }
        options.update(self._getEstimationOptions())
        options.update(self._getFrameOptions(movie))
        options.update(self._getDoseOptions(movie))
        options.update(self._getReferenceOptions())
        return options

    def _getEstimationOptions(self):
        """How the motion is looked for, and which images are made."""
        is_manual = self.doLocalAlignment and not self.autoControlPoints
        points = (self.controlPointX.get(), self.controlPointY.get(), self.controlPointT.get())
        patches = (self.patchesX.get(), self.patchesY.get())
        return {
            "max-resolution": self.maxResForCorrelation.get(),
            "max-shift": self.maxShift.get(),
            "refine": self.doRefine.get(),
            "local": self.doLocalAlignment.get(),
            "control-points": points if is_manual else None,
            "patches": patches if self.doLocalAlignment and not self.autoPatches else None,
            "min-patch": self.minLocalRes.get(),
            "group-frames": self.groupNFrames.get(),
            "binning": self.binFactor.get(),
            "odd-even": self.splitEvenOdd.get(),
            "device": self._getDevice(),
        }

    def _getFrameOptions(self, movie):
        """Frame ranges as the engine counts: from 1 in the file, 0 = the last of the movie."""
        offset = self._getFrameOffset(movie)
        last = self._getLastFrame(movie)

        def in_file(first_frame, last_frame):
            first_of_movie = 1 if is_eer(movie) else movie.getFramesRange()[0]
            first_frame = max(first_frame.get(), first_of_movie)
            last_frame = last_frame.get() if last_frame.get() > 0 else last
            return first_frame + offset, last_frame + offset if last_frame else 0

        options = {}
        options["align-first"], options["align-last"] = in_file(self.alignFrame0, self.alignFrameN)
        if not self.useAlignToSum:
            options["sum-first"], options["sum-last"] = in_file(self.sumFrame0, self.sumFrameN)
        return options

    def _getFrameOffset(self, movie):
        """What is added to Scipion's number of a frame to have its place in the file."""
        if is_eer(movie):
            return 0
        first, _, index = movie.getFramesRange()
        return index - first

    def _getLastFrame(self, movie):
        """Scipion's number of the last frame where the set leaves out some at the end, else 0."""
        first, last, index = movie.getFramesRange()
        if is_eer(movie) or last <= 0:
            return 0
        try:
            _, _, frames = movie.getDim()
        except Exception:
            # The engine will say better what is wrong with the file.
            return 0
        return last if index + last - first < frames else 0

    def _getDoseOptions(self, movie):
        """What the set of movies says about dose and voltage, and what EER frames are made of it.

        The set counts raw frames of EER movies, so that its dose is that of one of them.
        """
        acquisition = self.inputMovies.get().getAcquisition()
        dose = acquisition.getDosePerFrame() or 0.0
        options = {
            "dose-weight": bool(self.doDoseWeight and dose > 0),
            "voltage": acquisition.getVoltage(),
        }
        options.update(self._getEerOptions(movie))
        if dose > 0:
            first, _, index = movie.getFramesRange()
            initial = (acquisition.getDoseInitial() or 0.0) + dose * max(first - index, 0)
            options["pre-exposure"] = initial
            if is_eer(movie):
                options["eer-total-dose"] = self._getMovieDose(movie)
            else:
                options["dose-per-frame"] = dose
        return options

    def _getEerOptions(self, movie):
        """Which frames are made of an EER movie; nothing for other movies."""
        if not is_eer(movie):
            return {}
        if self.eerDose.get() > 0:
            return {"eer-dose-per-frame": self.eerDose.get()}
        return {"eer-fractions": self.nFrames.get()}

    def _getEerFrames(self, movie):
        """Number of frames that are made of an EER movie: as the engine rounds, 0 = unknown."""
        if self.eerDose.get() <= 0:
            return self.nFrames.get()
        rawFrames, dose = movie.getDim()[2], self._getMovieDose(movie)
        if dose <= 0:
            return 0
        perFrame = round(self.eerDose.get() * rawFrames / dose)
        return rawFrames // max(min(perFrame, rawFrames // self._minEerFrames), 1)

    def _getMovieDose(self, movie):
        """The dose of a whole EER movie, e/A2, 0 = unknown: the set has that of a raw frame."""
        dose = self._getInputMovies().getAcquisition().getDosePerFrame() or 0.0
        return dose * movie.getDim()[2]

    def _getReferenceOptions(self):
        """Gain, dark and defects, as they are; the engine turns them."""
        gain, dark = self.getGainAndDark()
        return {
            "gain": gain,
            "gain-rotate": GAIN_ANGLES[self.gainRot.get()],
            "gain-flip": GAIN_FLIPS[self.gainFlip.get()],
            "gain-sense": GAIN_SENSES[self.gainSense.get()],
            "gain-check": GAIN_CHECKS[self.gainCheck.get()],
            "dose-check": "on" if self.doseCheck.get() else "off",
            "dark": dark,
            "defects": self.defectsFile.get(),
        }
