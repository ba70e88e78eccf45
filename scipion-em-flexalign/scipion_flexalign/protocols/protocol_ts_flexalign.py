"""The protocol for tilt series: one run of the engine for each series, so that its tilts share."""

import pyworkflow.utils as pwutils
from pyworkflow import BETA
from pyworkflow.utils.properties import Message
from tomo.protocols import ProtTsCorrectMotion

from .. import engine
from . import form as forms
from .jobs import EngineJobs
from .options import EngineOptions
from .series_outputs import REASONS_IN_SUMMARY, SeriesOutputs, in_project
from .series_table import mdoc_text, movie_folder
from .validation import FormChecks, is_eer

# Of a frame that is made of the EER movie of a tilt, e/A2.
EER_DOSE = 0.3
# Tilts side by side keep cores busier than many threads on one of them.
THREADS_OF_A_TILT = 2


class ProtTsFlexAlign(FormChecks, EngineOptions, EngineJobs, SeriesOutputs):
    """Corrects beam-induced motion in the movies of tilt series with flexalign.

    Each tilt is a movie with few frames of low dose. All tilts of a series are measured first,
    and each is then aligned with a prior of motion and signal from the others.

    The outputs are tilt series (plain, dose-weighted, of odd and of even frames), their tilts by
    ascending angle. A tilt that fails, is dark or recorded again is excluded as Scipion excludes
    views: it is disabled, its image is blank, and it keeps its place, angle, order and dose. The
    reason is in the summary and in the column *LeftOut*. Files of flexalign are in one folder for
    each series in the folder *extra*.

    It works in streaming, series by series, and resumes where it was stopped.
    """

    _label = "FlexAlign tilt series"
    _devStatus = BETA
    evenOddCapable = True
    _minEerFrames = 2

    # --------------------------- the form
    def _defineParams(self, form):
        ProtTsCorrectMotion._defineParams(self, form)
        # The base class has gone on to the section of threads.
        form.lastSection = form.getSection(Message.LABEL_INPUT)
        forms.define_frames(form, forms.IS_EER_SERIES, EER_DOSE)
        forms.define_local(form)
        forms.define_estimation(form, is_series=True)
        forms.define_series(form)
        forms.define_references(form)
        forms.define_series_running(form)

    # --------------------------- one series
    def _doInsertTiltImageSteps(self):
        # The engine is started once for a series: its tilts share what they say of the motion.
        return False

    def convertInputStep(self, inputId):
        """Nothing: the engine reads movies, gain and dark as they are."""

    def getGainAndDark(self):
        """The gain and the dark reference, as they are."""
        inputSet = self._getInputTs()
        return inputSet.getGain(), inputSet.getDark()

    def processTiltSeriesStep(self, tsId):
        """Align a series. One that fails costs no other: its reason is in the summary."""
        reasonFile = self._getFailedReasonFile(tsId)
        pwutils.cleanPath(reasonFile)
        try:
            self._alignSeries(tsId)
        except engine.DeviceError:
            # No other series would fare better.
            raise
        except Exception as error:
            self.error("%s: %s" % (tsId, error))
            with open(reasonFile, "w") as file:
                file.write(in_project(" ".join(str(error).split())))

    def _alignSeries(self, tsId):
        folder = self._getSeriesFolder(tsId)
        pwutils.makePath(folder)
        exposures, initial = self._getExposures(tsId)
        acquisition = self._getInputTs().getAcquisition()
        mdoc = self._getExtraPath(tsId + ".mdoc")
        text = mdoc_text(
            exposures, self._getInputTs().getSamplingRate(), acquisition.getVoltage(),
            acquisition.getTiltAxisAngle(),
        )  # fmt: skip
        with open(mdoc, "w") as file:
            file.write(text)
        options = self._getSeriesOptions(exposures)
        options["pre-exposure"] = initial
        words = engine.series_words(mdoc, folder, options)
        log = self._getExtraPath(tsId + "_flexalign.log")
        try:
            self._runEngine(words, log)
        except engine.EngineError as error:
            # Tilts that are lost are told by the exit code too; the series is there.
            reason = engine.series_failure(folder)
            if error.exit_code != engine.LOSSES_EXIT_CODE or reason:
                raise type(error)(reason or str(error), error.exit_code) from error
        self._writeStacks(tsId)

    def _getSeriesOptions(self, exposures):
        """All options of the engine for one series, by their names there."""
        gpus = self._getOwnGpus()
        threads = self.getBinThreads()
        processes = max(len(gpus), 1) if self.usesGpu() else max(threads // THREADS_OF_A_TILT, 1)
        options = {
            "movies": movie_folder(exposures),
            "shared-prior": self.useSharedPrior.get(),
            "dose-weight": self._createOutputWeightedTS(),
            "threads": max(threads // processes, 1),
        }
        if not self.usesGpu():
            options["jobs"] = processes
        if self.saveTilts:
            options["save-tilts"] = True
        options.update(self._getEstimationOptions())
        if len(gpus) > 1:
            options["device"] = "cuda:0-%d" % (len(gpus) - 1)
        options["align-first"] = max(self.alignFrame0.get(), 1)
        options["align-last"] = max(self.alignFrameN.get(), 0)
        if not self.useAlignToSum:
            options["sum-first"] = max(self.sumFrame0.get(), 1)
            options["sum-last"] = max(self.sumFrameN.get(), 0)
        options.update(self._getEerOptions(self._getFirstMovie()))
        options.update(self._getReferenceOptions())
        return options

    def getGpuList(self):
        """GPUs to share out among the threads: none on the CPU, so that no series waits for one."""
        return ProtTsCorrectMotion.getGpuList(self) if self.usesGpu() else []

    # --------------------------- input
    def _getInputMovies(self):
        return self.inputTiltSeriesM.get()

    def _getFirstMovie(self):
        movies = self.inputTiltSeriesM.get()
        series = movies.getFirstItem()
        item = series.getFirstItem().clone() if series is not None else None
        movies.close()
        return item

    def _getSetRange(self):
        # That of the set is of any tilt, also of a broken one.
        movie = self._getFirstMovie()
        if movie is None or is_eer(movie):
            return FormChecks._getSetRange(self)
        try:
            frames = movie.getDim()[2]
        except Exception:
            frames = 0  # the engine will say better what is wrong with the file
        return 1, frames if frames > 1 else 0

    def _getMovieDose(self, movie):
        # The dose of the set is that of a whole tilt.
        return self._getInputMovies().getAcquisition().getDosePerFrame() or 0.0

    def _checkTotalDose(self, dose):
        return []

    # --------------------------- what is said about a run
    def _summary(self):
        output = self._getOutputSet()
        if output is None:
            lines = ["No tilt series has been aligned yet."]
        else:
            lines = [
                "%d of %d tilt series are aligned."
                % (output.getSize(), self._getInputTs().getSize())
            ]
        for title, found in (
            ("tilts are excluded", ["%s, %.1f degrees: %s" % row for row in self._getLeftOut()]),
            ("tilt series failed", ["%s: %s" % pair for pair in self._getFailures()]),
        ):
            if found:
                lines.append("*%d %s:*" % (len(found), title))
                lines += found[:REASONS_IN_SUMMARY]
            if len(found) > REASONS_IN_SUMMARY:
                lines.append("... and %d more" % (len(found) - REASONS_IN_SUMMARY))
        return lines

    def _methods(self):
        output = self._getOutputSet()
        if output is None:
            return []
        words = [
            "Beam-induced motion in the movies of %d tilt series was corrected with flexalign"
            % output.getSize(),
            "by %s alignment" % ("local" if self.doLocalAlignment else "global"),
            "at up to %g A [Strelak2020]" % self.maxResForCorrelation.get(),
        ]
        if self.useSharedPrior:
            words.append("each tilt with a prior of its motion by the others of its series")
        if self.binFactor.get() > 1:
            words.append("with a binning factor of %g" % self.binFactor.get())
        if self._createOutputWeightedTS():
            words.append("with dose weighting by the dose of each tilt and of those before it")
        return [", ".join(words) + "."]

    def _citations(self):
        return ["strelak2020flexalign", "Strelak2023performance"]
