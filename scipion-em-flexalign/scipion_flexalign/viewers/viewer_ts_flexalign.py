"""What there is to look at after a run over tilt series: one series at a time."""

import pyworkflow.protocol.params as params
from pwem.viewers import EmProtocolViewer
from pyworkflow.gui.plotter import Plotter
from pyworkflow.viewer import DESKTOP_TKINTER

from .. import Plugin
from ..protocols import ProtTsFlexAlign
from .pictures import show_picture
from .report import REPORT, open_report

PLOT_SIZE = (9, 5)
STRIP_SIZE = (12, 3)


class FlexAlignTiltSeriesViewer(EmProtocolViewer):
    """Images and motion of a tilt series, and what was left out."""

    _label = "viewer FlexAlign tilt series"
    _targets = [ProtTsFlexAlign]
    _environments = [DESKTOP_TKINTER]

    def _defineParams(self, form):
        form.addSection(label="Visualization")
        group = form.addGroup("One tilt series")
        group.addParam(
            "seriesName", params.EnumParam, choices=self._getNames(), default=0,
            label="Tilt series", display=params.EnumParam.DISPLAY_COMBO,
            help="One of those that are aligned.",
        )  # fmt: skip
        group.addParam(
            "doShowStrip", params.LabelParam, label="Images of all tilts",
            help="The aligned images, small, by ascending angle.",
        )  # fmt: skip
        group.addParam(
            "doShowMotion", params.LabelParam, label="Motion of each tilt",
            help="Total and early motion by angle; excluded tilts are marked.",
        )  # fmt: skip
        if REPORT in Plugin.getCommands():
            group.addParam(
                "doOpenReport", params.LabelParam, label="Report in the browser",
                help="One page with everything that flexalign says about this series.",
            )  # fmt: skip
        group = form.addGroup("All tilt series")
        group.addParam(
            "doShowTable", params.LabelParam, label="Table of the tilt series",
            help="The tilt series with their tilts; excluded ones are not ticked.",
        )  # fmt: skip
        if self.protocol._getLeftOut() or self.protocol._getFailures():
            group.addParam(
                "doShowFailures", params.LabelParam, label="Excluded tilts and failed series",
                help="Each with the reason.",
            )  # fmt: skip

    def _getVisualizeDict(self):
        return {
            "doShowStrip": self._showStrip,
            "doShowMotion": self._showMotion,
            "doOpenReport": self._openReport,
            "doShowTable": self._showTable,
            "doShowFailures": self._showFailures,
        }

    def _getNames(self):
        output = getattr(self.protocol, "TiltSeries", None)
        return sorted(output.getTSIds()) if output is not None else []

    def _getName(self):
        names = self._getNames()
        return names[self.seriesName.get()] if names else None

    def _withSeries(self, show):
        name = self._getName()
        if name is None:
            return [self.errorMessage("There is no output yet.")]
        return show(name)

    # --------------------------- one series
    def _showStrip(self, paramName=None):
        return self._withSeries(self._plotStrip)

    def _plotStrip(self, name):
        """The picture that the engine has made."""
        return [show_picture(self.protocol._getResult(name).strip, name, STRIP_SIZE)]

    def _showMotion(self, paramName=None):
        return self._withSeries(self._plotMotion)

    def _plotMotion(self, name):
        output = self.protocol.TiltSeries
        tilts = [tilt.clone(copyEnable=True) for tilt in output.getTiltSeriesFromTsId(name)]
        output.close()
        used = [tilt for tilt in tilts if tilt.isEnabled()]
        angles = [tilt.getTiltAngle() for tilt in used]
        plotter = Plotter(windowTitle=name, figsize=PLOT_SIZE)
        axes = plotter.createSubPlot(
            "Motion of the tilts of " + name, "tilt angle (degrees)", "length of the path (A)"
        )
        for column, marker, label in (("Total", "o", "total"), ("Early", "^", "early")):
            values = [getattr(tilt, "_flexalign_%sMotion" % column).get() for tilt in used]
            axes.plot(angles, values, marker, label=label)
        for number, tilt in enumerate(t for t in tilts if not t.isEnabled()):
            label = None if number else "excluded"
            axes.axvline(tilt.getTiltAngle(), color="red", linestyle=":", label=label)
        axes.set_ylim(bottom=0)
        axes.legend()
        axes.grid(True)
        return [plotter]

    def _openReport(self, paramName=None):
        return self._withSeries(
            lambda name: open_report(self, self.protocol._getSeriesFolder(name))
        )

    # --------------------------- all series
    def _showTable(self, paramName=None):
        from tomo.viewers.views_tkinter_tree import TomoObjectDialogView

        output = getattr(self.protocol, "TiltSeries", None)
        if output is None:
            return [self.errorMessage("There is no output yet.")]
        return [TomoObjectDialogView(self.getTkRoot(), self.protocol, output)]

    def _showFailures(self, paramName=None):
        lines = ["%s, %.1f degrees: %s" % row for row in self.protocol._getLeftOut()]
        lines += ["%s: %s" % pair for pair in self.protocol._getFailures()]
        return [self.infoMessage("\n".join(lines), "Excluded tilts and failed series")]
