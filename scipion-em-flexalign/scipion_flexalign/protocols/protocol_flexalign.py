"""The protocol: what the form says becomes a command line, its results become Scipion's objects."""

import glob
import os
import shlex

import numpy as np

import pyworkflow.object as pwobj
import pyworkflow.protocol.constants as cons
import pyworkflow.utils as pwutils
from pwem import emlib
from pwem.objects import Image, MovieAlignment
from pwem.protocols import ProtAlignMovies
from pwem.protocols.protocol_align_movies import OUT_MICS, OUT_MICS_DW, OUT_MOVIES
from pyworkflow import BETA

from .. import Plugin, engine
from ..constants import GAIN_ANGLES, GAIN_FLIPS, GAIN_SENSES
from . import form as forms
from .validation import FormChecks, is_eer

FAILED_REASON = "_failed.txt"
FAILED_TABLE = "FAILED_reasons.tsv"
REASONS_IN_SUMMARY = 5


class ProtFlexAlign(FormChecks, ProtAlignMovies):
    """Corrects beam-induced motion in movies with flexalign.

    Each movie becomes micrographs (plain, dose-weighted, odd and even frames) in which every place
    of every frame has been moved back to where it was. Whole frames move, and where the data
    support it, different places move differently. What was found is in the output movies (shifts
    of whole frames) and, per movie, in files in the folder *extra*: the whole motion with its
    errors, its picture, power spectra before and after, and a record of all parameters, decisions,
    quality numbers and warnings.

    A movie that cannot be aligned does not stop the others: it is left out of the outputs, and the
    reason is in the summary and in *extra/FAILED_reasons.tsv*.

    It works in streaming, and goes on where it was when it is continued.
    """

    NO_ROTATION = 0
    NO_FLIP = 0

    _label = "FlexAlign"
    _devStatus = BETA
    evenOddCapable = True

    def __init__(self, **kwargs):
        ProtAlignMovies.__init__(self, **kwargs)
        self.stepsExecutionMode = cons.STEPS_PARALLEL
        self._doneIds = None
        self._binning = None

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
        arguments = " ".join(shlex.quote(word) for word in words)
        # The engine's own words are wanted twice: in the log, and as the reason of a failure.
        try:
            self.runJob(
                Plugin.getProgram(), "%s 2> %s" % (arguments, shlex.quote(log)), env=self._getEnviron()
            )
        except Exception as error:
            raise engine.EngineError(engine.last_error(_read(log))) from error
        finally:
            for line in _read(log).splitlines():
                self.info(line)
        if not engine.MovieResult.exists(folder, self._getMovieRoot(movie)):
            raise engine.EngineError("flexalign left no record of %s" % movie.getMicName())
        if not self.doSaveAveMic:
            pwutils.cleanPath(self._getExtraPath(self._getOutputMicName(movie)))

    def _getEnviron(self):
        environ = Plugin.getEnviron()
        gpus = self._stepsExecutor.getGpuList() if self.usesGpu() else []
        if gpus:
            environ["CUDA_VISIBLE_DEVICES"] = ",".join(str(gpu) for gpu in gpus)
        return environ

    def getGPUArgs(self):
        """Where the engine computes, as arguments of its command line.

        A GPU is used where the engine can; which one it sees is a matter of its environment.
        """
        return "--device %s" % self._getDevice()

    def _getDevice(self):
        return "auto" if self.usesGpu() else "cpu"

    def getGpuList(self):
        """GPUs to share out among the threads: none where there is none to wait for."""
        if not self.usesGpu() or not (self.useQueue() or glob.glob("/dev/nvidia[0-9]*")):
            return []
        return ProtAlignMovies.getGpuList(self)

    def _getOptions(self, movie):
        """All options of the engine for one movie, by their names there."""
        is_manual = self.doLocalAlignment and not self.autoControlPoints
        points = (self.controlPointX.get(), self.controlPointY.get(), self.controlPointT.get())
        patches = (self.patchesX.get(), self.patchesY.get())
        options = {
            "pixel-size": movie.getSamplingRate(),
            "eer-fractions": self.nFrames.get() if is_eer(movie) else None,
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
            "save-movie": self.doSaveMovie.get(),
            "psd": self.doComputePSD.get(),
            "device": self._getDevice(),
            "threads": self.getBinThreads(),
        }
        options.update(self._getFrameOptions(movie))
        options.update(self._getDoseOptions(movie))
        options.update(self._getReferenceOptions())
        return options

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
        """What the set of movies says about dose and voltage."""
        acquisition = self.inputMovies.get().getAcquisition()
        dose = acquisition.getDosePerFrame() or 0.0
        if not self.doDoseWeight or dose <= 0:
            return {"dose-weight": False, "voltage": acquisition.getVoltage()}
        first, _, index = movie.getFramesRange()
        initial = (acquisition.getDoseInitial() or 0.0) + dose * max(first - index, 0)
        return {
            "dose-weight": True,
            "voltage": acquisition.getVoltage(),
            "dose-per-frame": dose * self._getRawFramesPerFrame(movie),
            "pre-exposure": initial,
        }

    def _getRawFramesPerFrame(self, movie):
        """How many of the set's frames are summed to one: more than one for EER only."""
        if not is_eer(movie):
            return 1
        _, _, raw_frames = movie.getDim()
        return max(raw_frames // self.nFrames.get(), 1)

    def _getReferenceOptions(self):
        """Gain, dark and defects, as they are; the engine turns them."""
        gain, dark = self.getGainAndDark()
        return {
            "gain": gain,
            "gain-rotate": self.getUserAngle(),
            "gain-flip": GAIN_FLIPS[self.gainFlip.get()],
            "gain-sense": GAIN_SENSES[self.gainSense.get()],
            "dark": dark,
            "defects": self.defectsFile.get(),
        }

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

    # --------------------------- names
    def _getMovieRoot(self, movie):
        # The base class cuts more off ("a.0012.tif" becomes "a"), so that movies could share a name.
        return engine.movie_root(
            movie.getAttributeValue("_originalFileName", None) or movie.getFileName()
        )

    def _getResult(self, movie):
        return engine.MovieResult(self._getExtraPath(), self._getMovieRoot(movie))

    def _getFailedReasonFile(self, movie):
        return self._getExtraPath(self._getMovieRoot(movie) + FAILED_REASON)

    def _getPsdCorr(self, movie):
        return self._getExtraPath(self._getMovieRoot(movie) + engine.SUFFIXES["amplitudes"])

    # --------------------------- outputs
    def _createOutputWeightedMicrographs(self):
        dose = self.inputMovies.get().getAcquisition().getDosePerFrame()
        return bool(self.doDoseWeight and dose and dose > 0)

    def _getBinFactor(self):
        # Sizes are whole numbers, so the true factor may differ a little from the one asked for.
        return self._binning or self.binFactor.get()

    def _getMovieShifts(self, movie):
        return self._getResult(movie).shifts_px()

    def _preprocessOutputMicrograph(self, mic, movie):
        self._setAlignmentInfo(movie, mic)

    def _createOutputMovie(self, movie):
        """The movie with the shifts of its whole frames, or the saved one, which needs none."""
        result = self._getResult(movie)
        offset = self._getFrameOffset(movie)
        first, stop = result.align_range
        xs, ys = result.shifts_px()
        aligned = movie.clone()
        index = first + 1
        if self.doSaveMovie:
            # The new stack holds the summed frames and nothing else.
            first, stop = result.sum_range
            file_name = self._getExtraPath(self._getOutputMovieName(movie))
            frames = _frame_count(file_name)
            aligned.setFileName(file_name)
            stop = first + frames
            xs = ys = [0.0] * frames
            index = 1
        first, last = first + 1 - offset, stop - offset
        aligned.setFramesRange([first, last, index])
        alignment = MovieAlignment(first=first, last=last, xshifts=xs, yshifts=ys)
        alignment.setRoi([0, 0, 0, 0])
        aligned.setAlignment(alignment)
        self._setAlignmentInfo(movie, aligned)
        return aligned

    def _setAlignmentInfo(self, movie, item):
        """Columns that say how the alignment of this movie went."""
        result = self._getResult(movie)
        item.plotCart = Image(location=result.path("plot"))
        if result.has("amplitudes"):
            item.psdCorr = Image(location=result.path("amplitudes"))
        item._xmipp_ShiftX, item._xmipp_ShiftY = pwobj.CsvList(), pwobj.CsvList()
        xs, ys = result.shifts_px()
        item._xmipp_ShiftX.set(xs)
        item._xmipp_ShiftY.set(ys)
        quality = result.quality
        item._flexalign_TotalMotion = pwobj.Float(quality["total_motion_A"])
        item._flexalign_EarlyMotion = pwobj.Float(quality["early_motion_A"])
        item._flexalign_LocalRange = pwobj.Float(quality["local_range_A"])
        item._flexalign_Flags = pwobj.String(" ".join(quality["flags"]))

    def _updateOutputSets(self, newDone, streamMode):
        """Add the movies that are done to the outputs, the failed ones to the list of failures."""
        good = [movie for movie in newDone if self._isAligned(movie)]
        failed = [movie for movie in newDone if movie not in good]
        if failed:
            self._writeFailedList(failed)
        isFirst = not self.hasAttribute(OUT_MOVIES)
        if isFirst and not good:
            return
        self._firstTimeOutput = isFirst
        if good and self._binning is None:
            self._binning = self._getResult(good[0]).binning
        ProtAlignMovies._updateOutputSets(self, good, streamMode)

    def _isAligned(self, movie):
        return engine.MovieResult.exists(
            self._getExtraPath(), self._getMovieRoot(movie)
        ) and not os.path.exists(self._getFailedReasonFile(movie))

    def _writeFailedList(self, movieList):
        ProtAlignMovies._writeFailedList(self, movieList)
        with open(self._getExtraPath(FAILED_TABLE), "a") as table:
            for movie in movieList:
                reason = _read(self._getFailedReasonFile(movie)) or "no result"
                table.write("%d\t%s\t%s\n" % (movie.getObjId(), movie.getMicName(), reason))

    def createOutputStep(self):
        if not self.hasAttribute(OUT_MOVIES):
            reasons = "; ".join("%s: %s" % pair for pair in self._getFailures()[:REASONS_IN_SUMMARY])
            raise Exception("None of the movies could be aligned. %s" % reasons)
        ProtAlignMovies.createOutputStep(self)

    # --------------------------- going on after a stop
    def _readDoneList(self):
        # The base class notes movies as done before they are in the outputs. What a stop in between
        # would lose is found here by looking at the outputs themselves.
        if self._doneIds is None:
            self._doneIds = self._findDoneIds()
        return list(self._doneIds)

    def _writeDoneList(self, movieList):
        ProtAlignMovies._writeDoneList(self, movieList)
        self._readDoneList()
        self._doneIds.update(movie.getObjId() for movie in movieList)

    def _findDoneIds(self):
        """Movies that are in every output, or that have failed."""
        outputs = [set(output.getIdSet()) for _, output in self.iterOutputAttributes()]
        done = set.intersection(*outputs) if outputs else set()
        return done | set(self._readFailedList())

    def _updateOutputMicSet(self, newDone, sqliteFn, getOutputMicName, outputName, streamMode):
        missing = self._notIn(outputName, newDone)
        ProtAlignMovies._updateOutputMicSet(
            self, missing, sqliteFn, getOutputMicName, outputName, streamMode
        )

    def _updateOutputMovieSet(self, newDone, streamMode):
        ProtAlignMovies._updateOutputMovieSet(self, self._notIn(OUT_MOVIES, newDone), streamMode)

    def _notIn(self, outputName, movies):
        """Those of the movies that an earlier run has not put into an output already."""
        if not self.hasAttribute(outputName):
            return movies
        there = set(getattr(self, outputName).getIdSet())
        return [movie for movie in movies if movie.getObjId() not in there]

    # --------------------------- what is said about a run
    def _getFailures(self):
        """Name and reason of each movie that failed."""
        lines = _read(self._getExtraPath(FAILED_TABLE)).splitlines()
        return [tuple(line.split("\t")[1:3]) for line in lines]

    def _summary(self):
        if not self.hasAttribute(OUT_MOVIES):
            lines = ["No movie has been aligned yet."]
        else:
            movies = getattr(self, OUT_MOVIES)
            lines = ["%d of %d movies are aligned."
                     % (movies.getSize(), self.inputMovies.get().getSize())]  # fmt: skip
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
        words = ["Beam-induced motion of %d movies was corrected with flexalign"
                 % getattr(self, OUT_MOVIES).getSize()]  # fmt: skip
        words.append("by %s alignment" % ("local" if self.doLocalAlignment else "global"))
        words.append("at up to %g A [Strelak2020]" % self.maxResForCorrelation.get())
        if self.doRefine:
            words.append("followed by refinement of the motion by likelihood")
        if self.binFactor.get() > 1:
            words.append("with a binning factor of %g" % self.binFactor.get())
        if self.hasAttribute(OUT_MICS_DW):
            words.append("with dose weighting of %g e/A2 per frame of the set"
                         % self.inputMovies.get().getAcquisition().getDosePerFrame())  # fmt: skip
        return [" ".join(words) + "."]

    def _citations(self):
        return ["strelak2020flexalign", "Strelak2023performance"]


def _frame_count(stack):
    """Number of images in an MRC stack."""
    _, _, depth, count = emlib.image.ImageHandler().getDimensions(stack)
    return max(depth, count)


def _read(path):
    """The text in a file, "" when there is none."""
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""
