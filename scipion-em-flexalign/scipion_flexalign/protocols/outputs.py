"""What the engine left behind becomes Scipion's sets, once for each movie, whatever happens."""

import os

import pyworkflow.object as pwobj
from pwem import emlib
from pwem.objects import Image, MovieAlignment
from pwem.protocols import ProtAlignMovies
from pwem.protocols.protocol_align_movies import OUT_MOVIES

from .. import engine
from .jobs import FAILED_REASON, read_text
from .quality_columns import set_quality

FAILED_TABLE = "FAILED_reasons.tsv"
REASONS_IN_SUMMARY = 5


class MovieOutputs(ProtAlignMovies):
    """Outputs of `ProtFlexAlign`, with the movies that failed told apart.

    ``_binning`` is the exact factor, known from the first movie on; ``_doneIds`` are the movies
    that need nothing more, read from the outputs once.
    """

    def __init__(self, **kwargs):
        ProtAlignMovies.__init__(self, **kwargs)
        self._doneIds = None
        self._binning = None

    # --------------------------- names
    def _getMovieRoot(self, movie):
        # The base class cuts more off ("a.0012.tif" becomes "a"): movies could share a name.
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
        # The column that Scipion's own table draws without being asked.
        item.plotGlobal = Image(location=result.path("plot"))
        if result.has("amplitudes"):
            item.psdCorr = Image(location=result.path("amplitudes"))
        item._xmipp_ShiftX, item._xmipp_ShiftY = pwobj.CsvList(), pwobj.CsvList()
        xs, ys = result.shifts_px()
        item._xmipp_ShiftX.set(xs)
        item._xmipp_ShiftY.set(ys)
        set_quality(item, result.quality)

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
                reason = read_text(self._getFailedReasonFile(movie)) or "no result"
                table.write("%d\t%s\t%s\n" % (movie.getObjId(), movie.getMicName(), reason))

    def createOutputStep(self):
        if not self.hasAttribute(OUT_MOVIES):
            reasons = "; ".join(
                "%s: %s" % pair for pair in self._getFailures()[:REASONS_IN_SUMMARY]
            )
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
        outputs = [_ids_in(output) for _, output in self.iterOutputAttributes()]
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
        existing = _ids_in(getattr(self, outputName))
        return [movie for movie in movies if movie.getObjId() not in existing]

    def _getFailures(self):
        """Name and reason of each movie that failed."""
        lines = read_text(self._getExtraPath(FAILED_TABLE)).splitlines()
        return [tuple(line.split("\t")[1:3]) for line in lines]


def _ids_in(output):
    """Ids of the items of a set, which is left closed so that it can be written to."""
    ids = set(output.getIdSet())
    output.close()
    return ids


def _frame_count(stack):
    """Number of images in an MRC stack."""
    _, _, depth, count = emlib.image.ImageHandler().getDimensions(stack)
    return max(depth, count)
