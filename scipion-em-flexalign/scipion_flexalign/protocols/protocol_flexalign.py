"""The protocol: what the form says becomes a command line, its results become Scipion's objects."""

import os

import numpy as np
import pyworkflow.protocol.constants as cons
import pyworkflow.utils as pwutils
from pwem import emlib
from pwem.protocols import ProtAlignMovies
from pwem.protocols.protocol_align_movies import OUT_MICS_DW, OUT_MOVIES
from pyworkflow import BETA

from .. import engine
from ..constants import GAIN_ANGLES, GAIN_FLIPS
from . import form as forms
from .jobs import EngineJobs
from .options import EngineOptions
from .outputs import FAILED_TABLE, REASONS_IN_SUMMARY, MovieOutputs
from .validation import FormChecks


class ProtFlexAlign(FormChecks, EngineOptions, EngineJobs, MovieOutputs):
    """Corrects beam-induced motion in movies with flexalign.

    Each movie becomes micrographs (plain, dose-weighted, odd and even frames) in which every place
    of every frame has been moved back to where it was. Whole frames move, and where the data
    support it, different places move differently. What was found is in the output movies (shifts
    of whole frames) and, per movie, in files in the folder *extra*: the whole motion with its
    errors, its picture, power spectra before and after, and a record of all parameters, decisions,
    quality numbers and warnings.

    A movie that cannot be aligned does not stop the others: it is left out of the outputs, and the
    reason is in the summary and in *extra/FAILED_reasons.tsv*.

    It works in streaming, and resumes where it was stopped.
    """

    NO_ROTATION = 0
    NO_FLIP = 0

    _label = "FlexAlign"
    _devStatus = BETA
    evenOddCapable = True

    def __init__(self, **kwargs):
        MovieOutputs.__init__(self, **kwargs)
        self.stepsExecutionMode = cons.STEPS_PARALLEL

    # --------------------------- the form
    def _defineAlignmentParams(self, form):
        ProtAlignMovies._defineAlignmentParams(self, form)
        forms.define_frames(form)
        forms.define_local(form)
        forms.define_estimation(form)
        forms.define_references(form)
        forms.define_running(form)

    # --------------------------- one movie
    def _processMovie(self, movie):
        try:
            self.tryProcessMovie(movie)
        except engine.DeviceError:
            # No other movie would fare better.
            raise
        except Exception as error:
            # The others go on; what is said here ends in the list of failed movies.
            self.error("%s: %s" % (movie.getMicName(), error))
            with open(self._getFailedReasonFile(movie), "w") as file:
                file.write(" ".join(str(error).split()))

    def tryProcessMovie(self, movie):
        """Align one movie with the engine; its results are in the folder *extra*.

        Raises `EngineError` with the reason, and leaves nothing behind, when it cannot be done.
        """
        folder = self._getExtraPath()
        pwutils.cleanPath(self._getFailedReasonFile(movie))
        log = os.path.join(self._getOutputMovieFolder(movie), "flexalign.log")
        words = engine.align_words(movie.getFileName(), folder, self._getOptions(movie))
        try:
            self._runEngine(words, log)
        except engine.EngineError as error:
            # The name of the link is gone with it, and no help.
            error.args = (str(error).replace(movie.getFileName() + ": ", ""),)
            raise
        if not engine.MovieResult.exists(folder, self._getMovieRoot(movie)):
            raise engine.EngineError("flexalign left no record of %s" % movie.getMicName())
        if not self.doSaveAveMic:
            pwutils.cleanPath(self._getExtraPath(self._getOutputMicName(movie)))

    def getGPUArgs(self):
        """Where the engine computes, as arguments of its command line."""
        return "--device %s" % self._getDevice()

    def getGpuList(self):
        """GPUs to share out among the threads: none on the CPU, so that no movie waits for one."""
        return ProtAlignMovies.getGpuList(self) if self.usesGpu() else []

    def _getInputMovies(self):
        return self.inputMovies.get()

    def _getFirstMovie(self):
        # The set is left closed: an open one could not grow.
        movies = self.inputMovies.get()
        item = movies.getFirstItem()
        movies.close()
        return item

    # --------------------------- the gain
    def getUserAngle(self):
        """Angle by which the gain is turned counter-clockwise, in degrees."""
        return GAIN_ANGLES[self.gainRot.get()]

    def getUserFlip(self, imag_array):
        """The flip of the gain as a matrix (3, 3) on pixel coordinates (x, y, 1), exact."""
        height, width = imag_array.shape
        matrix = np.eye(3, dtype=int)
        if GAIN_FLIPS[self.gainFlip.get()] == "upside-down":
            matrix[1] = 0, -1, height - 1
        elif GAIN_FLIPS[self.gainFlip.get()] == "left-right":
            matrix[0] = -1, 0, width - 1
        return matrix

    def transformGain(self, gainFn, outFn=None):
        """Write the gain turned, then flipped, as the form says; the name of the new file.

        Every pixel keeps its value. A gain that is not square changes its sides when it is turned
        by 90 or 270 degrees.
        """
        if outFn is None:
            name, extension = os.path.splitext(os.path.basename(gainFn))
            outFn = os.path.abspath(self._getExtraPath(name + "_transformed" + extension))
        image = emlib.image.ImageHandler().read(gainFn)
        turned = np.rot90(np.asarray(image.getData(), dtype=np.float32), self.gainRot.get())
        matrix = self.getUserFlip(turned)
        turned = turned[:: matrix[1, 1], :: matrix[0, 0]]
        result = emlib.Image()
        result.setData(np.ascontiguousarray(turned))
        name, extension = os.path.splitext(outFn)
        result.write(name + ".partial" + extension)
        os.replace(name + ".partial" + extension, outFn)
        return outFn

    # --------------------------- what is said about a run
    def _summary(self):
        if not self.hasAttribute(OUT_MOVIES):
            lines = ["No movie has been aligned yet."]
        else:
            movies = getattr(self, OUT_MOVIES)
            lines = [
                "%d of %d movies are aligned."
                % (movies.getSize(), self.inputMovies.get().getSize())
            ]
            if self.summaryVar.get():
                lines.append(self.summaryVar.get())
        failures = self._getFailures()
        if failures:
            lines.append("*%d movies failed:*" % len(failures))
            lines += ["%s: %s" % pair for pair in failures[:REASONS_IN_SUMMARY]]
            if len(failures) > REASONS_IN_SUMMARY:
                lines.append("... all of them are in %s" % self._getExtraPath(FAILED_TABLE))
        return lines

    def _storeSummary(self, movie):
        result = self._getResult(movie)
        text = "First movie: motion %.1f A, of it %.1f A early; kept: %s; flexalign %s." % (
            result.quality["total_motion_A"],
            result.quality["early_motion_A"],
            result.quality["chosen"],
            result.version,
        )
        self.summaryVar.set(" ".join([text] + result.warnings[:2]))

    def _methods(self):
        if not self.hasAttribute(OUT_MOVIES):
            return []
        words = [
            "Beam-induced motion of %d movies was corrected with flexalign"
            % getattr(self, OUT_MOVIES).getSize()
        ]
        words.append("by %s alignment" % ("local" if self.doLocalAlignment else "global"))
        words.append("at up to %g A [Strelak2020]" % self.maxResForCorrelation.get())
        if self.doRefine:
            words.append("followed by refinement of the motion by likelihood")
        if self.binFactor.get() > 1:
            words.append("with a binning factor of %g" % self.binFactor.get())
        if self.hasAttribute(OUT_MICS_DW):
            words.append(
                "with dose weighting of %g e/A2 per frame of the set"
                % self.inputMovies.get().getAcquisition().getDosePerFrame()
            )
        return [" ".join(words) + "."]

    def _citations(self):
        return ["strelak2020flexalign", "Strelak2023performance"]
