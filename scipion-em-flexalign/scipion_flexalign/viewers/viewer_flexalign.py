"""What there is to look at after a run: one movie at a time, and all of them at once."""

import os

import matplotlib.ticker
import pyworkflow.protocol.params as params
from pwem.viewers import EmProtocolViewer
from pyworkflow.gui.plotter import Plotter
from pyworkflow.viewer import DESKTOP_TKINTER

from .. import Plugin, engine
from ..protocols import ProtFlexAlign
from .pictures import show_picture
from .report import REPORT, open_report

PICTURE_SIZE = (8, 6)
SESSION_SIZE = (9, 7)


class FlexAlignViewer(EmProtocolViewer):
    """Motion, power spectra, and the course of the session."""

    _label = "viewer FlexAlign"
    _targets = [ProtFlexAlign]
    _environments = [DESKTOP_TKINTER]

    def _defineParams(self, form):
        form.addSection(label="Visualization")
        group = form.addGroup("One movie")
        group.addParam(
            "movieId",
            params.IntParam,
            default=self._getFirstId(),
            label="Movie number",
            help="The id of the movie in the set.",
        )
        group.addParam(
            "doShowMotion",
            params.LabelParam,
            label="Motion, global and local",
            help="Path of the whole frame, and how places differ from it.",
        )
        group.addParam(
            "doShowShifts",
            params.LabelParam,
            label="Shifts of the frames",
            help="What was done to each frame, in pixels of the movie.",
        )
        if self._hasSpectra():
            group.addParam(
                "doShowSpectra",
                params.LabelParam,
                label="Power spectra before and after",
                help="The rings should reach further out after the alignment.",
            )
        group = form.addGroup("All movies")
        group.addParam(
            "doShowSession",
            params.LabelParam,
            label="Motion over the session",
            help="Total, early and local motion of each movie; flagged ones are marked.",
        )
        group.addParam(
            "doShowTable",
            params.LabelParam,
            label="Table of the outputs",
            help="Micrographs, or movies where no micrograph was kept.",
        )
        if self.protocol._getFailures():
            group.addParam(
                "doShowFailures",
                params.LabelParam,
                label="Movies that failed",
                help="Each with the reason.",
            )
        if REPORT in Plugin.getCommands():
            group.addParam(
                "doOpenReport",
                params.LabelParam,
                label="Report in the browser",
                help="One page with everything that flexalign says about this run.",
            )

    def _getVisualizeDict(self):
        return {
            "doShowMotion": self._showMotion,
            "doShowShifts": self._showShifts,
            "doShowSpectra": self._showSpectra,
            "doShowSession": self._showSession,
            "doShowTable": self._showTable,
            "doShowFailures": self._showFailures,
            "doOpenReport": self._openReport,
        }

    # --------------------------- one movie
    def _getFirstId(self):
        movies = getattr(self.protocol, "outputMovies", None)
        item = movies.getFirstItem() if movies is not None else None
        return item.getObjId() if item is not None else 1

    def _hasSpectra(self):
        return bool(self.protocol.doComputePSD)

    def _getMovie(self):
        movies = getattr(self.protocol, "outputMovies", None)
        movie = movies[self.movieId.get()] if movies is not None else None
        return movie.clone() if movie is not None else None

    def _withMovie(self, show):
        movie = self._getMovie()
        if movie is None:
            return [self.errorMessage("Movie %s is not among the outputs." % self.movieId.get())]
        return show(movie)

    def _showMotion(self, paramName=None):
        return self._withMovie(lambda movie: self._showPicture(movie, "plot"))

    def _showSpectra(self, paramName=None):
        return self._withMovie(lambda movie: self._showPicture(movie, "spectra"))

    def _showPicture(self, movie, kind):
        """A picture that the engine has drawn."""
        # The root is taken from the picture: with a saved movie, its own name is another one.
        root = os.path.basename(movie.plotCart.getFileName())[: -len(engine.SUFFIXES["plot"])]
        path = os.path.join(self.protocol._getExtraPath(), root + engine.SUFFIXES[kind])
        if not os.path.exists(path):
            return [self.errorMessage("There is no file %s." % path)]
        return [show_picture(path, movie.getMicName(), PICTURE_SIZE)]

    def _showShifts(self, paramName=None):
        return self._withMovie(self._plotShifts)

    def _plotShifts(self, movie):
        first, last = movie.getAlignment().getRange()
        plotter = Plotter(windowTitle=movie.getMicName(), figsize=PICTURE_SIZE)
        axes = plotter.createSubPlot("Shifts of the frames", "frame", "shift (pixels)")
        # With a saved movie the alignment itself has none any more.
        for name, values in (("x", movie._xmipp_ShiftX), ("y", movie._xmipp_ShiftY)):
            shifts = [float(value) for value in values]
            start = first if len(shifts) == last - first + 1 else 1
            axes.plot(range(start, start + len(shifts)), shifts, "o-", label=name)
        axes.legend()
        axes.grid(True)
        return [plotter]

    # --------------------------- all movies
    def _showSession(self, paramName=None):
        movies = getattr(self.protocol, "outputMovies", None)
        if movies is None:
            return [self.errorMessage("There is no output yet.")]
        rows = [
            (
                movie.getObjId(),
                movie._flexalign_TotalMotion.get(),
                movie._flexalign_EarlyMotion.get(),
                movie._flexalign_LocalRange.get(),
                bool(movie._flexalign_Flags.get()),
            )
            for movie in movies.iterItems()
        ]
        numbers = [row[0] for row in rows]
        flagged = [row[0] for row in rows if row[4]]
        plotter = Plotter(2, 1, windowTitle="Motion over the session", figsize=SESSION_SIZE)
        axes = plotter.createSubPlot("Length of the path", "movie", "Angstrom")
        axes.plot(numbers, [row[1] for row in rows], "o", label="total")
        axes.plot(numbers, [row[2] for row in rows], "^", label="early")
        axes.plot(flagged, [row[1] for row in rows if row[4]], "rx", label="flagged")
        axes.set_ylim(bottom=0)
        axes.legend()
        axes = plotter.createSubPlot("Largest deviation of a place", "movie", "Angstrom")
        axes.plot(numbers, [row[3] for row in rows], "s")
        axes.set_ylim(bottom=0)
        for axes in plotter.getFigure().axes:
            axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(integer=True))
        plotter.tightLayout()
        return [plotter]

    def _showTable(self, paramName=None):
        for name in ("outputMicrographs", "outputMicrographsDoseWeighted", "outputMovies"):
            output = getattr(self.protocol, name, None)
            if output is not None:
                from pwem.viewers.mdviewer.viewer import MDViewer

                return MDViewer(project=self.getProject(), protocol=self.protocol)._visualize(
                    output
                )
        return [self.errorMessage("There is no output yet.")]

    def _showFailures(self, paramName=None):
        lines = ["%s: %s" % pair for pair in self.protocol._getFailures()]
        return [self.infoMessage("\n".join(lines), "Movies that failed")]

    def _openReport(self, paramName=None):
        """The engine's page on all movies."""
        return open_report(self, self.protocol._getExtraPath())
