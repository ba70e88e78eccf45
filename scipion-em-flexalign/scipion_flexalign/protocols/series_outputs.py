"""What the engine left behind for tilt series becomes Scipion's sets, with the tilts left out."""

import os

import pyworkflow.object as pwobj
from pyworkflow.protocol import STATUS_NEW
from tomo.objects import TiltImage, TiltSeries
from tomo.protocols import ProtTsCorrectMotion
from tomo.protocols.protocol_ts_correct_motion import (
    OUTPUT_TILT_SERIES_DW,
    OUTPUT_TILT_SERIES_EVEN,
    OUTPUT_TILT_SERIES_ODD,
)

from .. import engine
from .jobs import FAILED_REASON, read_text
from .quality_columns import set_quality
from .series_table import exposures_of
from .stacks import write_stack

OUTPUT_TILT_SERIES = "TiltSeries"
REASONS_IN_SUMMARY = 8
# For each output: the engine's stack, the end of the name of ours, the end of that of the set.
KINDS = {
    OUTPUT_TILT_SERIES: ("stack", "", ""),
    OUTPUT_TILT_SERIES_DW: ("dose_weighted", "_DW", "_dose-weighted"),
    OUTPUT_TILT_SERIES_EVEN: ("even", "_even", "_even"),
    OUTPUT_TILT_SERIES_ODD: ("odd", "_odd", "_odd"),
}


class SeriesOutputs(ProtTsCorrectMotion):
    """Outputs of `ProtTsFlexAlign`.

    A tilt that was left out stays where its angle puts it: it is disabled, and its image is blank.
    """

    def __init__(self, **kwargs):
        ProtTsCorrectMotion.__init__(self, **kwargs)
        self._reportedSeries = set()
        self._outputSampling = None

    # --------------------------- names
    def _getOutputName(self):
        return OUTPUT_TILT_SERIES

    def _getSeriesFolder(self, tsId):
        """Folder with all files of the engine on a series."""
        return self._getExtraPath(tsId)

    def _getStackPath(self, tsId, outputName):
        return self._getExtraPath("%s%s.mrcs" % (tsId, KINDS[outputName][1]))

    def _getFailedReasonFile(self, tsId):
        return self._getExtraPath(tsId + FAILED_REASON)

    def _getResult(self, tsId):
        return engine.SeriesResult(self._getSeriesFolder(tsId), tsId)

    def _getOutputNames(self):
        """The outputs that are made; the one by which a series is known to be done is the last."""
        names = [OUTPUT_TILT_SERIES_DW] if self._createOutputWeightedTS() else []
        if self._doSplitEvenOdd():
            names += [OUTPUT_TILT_SERIES_EVEN, OUTPUT_TILT_SERIES_ODD]
        return names + [OUTPUT_TILT_SERIES]

    def _createOutputWeightedTS(self):
        dose = self._getInputTs().getAcquisition().getDosePerFrame()
        return bool(self.doDoseWeight and dose and dose > 0)

    def _getOutputSampling(self):
        # Sizes are whole numbers, so the true one may differ a little from the one asked for.
        return self._outputSampling or ProtTsCorrectMotion._getOutputSampling(self)

    # --------------------------- input
    def _getExposures(self, tsId):
        """The exposures of a series, see `exposures_of`; disabled tilts are known as such."""
        # The set is opened anew: steps run side by side, and the base class forgets what is
        # disabled.
        inputSet = self._getInputTs()
        series = inputSet.getClass()(filename=inputSet.getFileName())
        series.loadAllProperties()
        tilts = [
            tilt.clone(copyEnable=True) for tilt in series.getTiltSeriesFromTsId(tsId).iterItems()
        ]
        series.close()
        return exposures_of(tilts)

    # --------------------------- stacks
    def _writeStacks(self, tsId):
        """Write the stacks of a series with a place for every tilt of the set."""
        result = self._getResult(tsId)
        places = [result.place(exposure.number) for exposure in self._getByAngle(tsId)]
        for name in self._getOutputNames():
            source = result.stack(KINDS[name][0])
            if source is None:
                raise engine.EngineError("flexalign left no stack for %s" % name)
            write_stack(self._getStackPath(tsId, name), source, places)

    def _getByAngle(self, tsId):
        """The exposures that are tilts of the set, by ascending angle."""
        exposures, _ = self._getExposures(tsId)
        known = [exposure for exposure in exposures if exposure.tilt is not None]
        return sorted(known, key=lambda exposure: (exposure.angle, exposure.number))

    # --------------------------- sets
    def _stepsCheck(self):
        # A step that has ended says so here and not itself: where the protocol is stopped right
        # after a step, and continued, that step is not run again.
        ended = {
            step._args[0]
            for step in self._steps
            if step.funcName.get() == "processTiltSeriesStep" and step.isFinished()
        }
        self._tsDict.setFinished(*(ended - self._reportedSeries))
        self._reportedSeries |= ended
        ProtTsCorrectMotion._stepsCheck(self)

    def _updateOutput(self, tsIdList):
        """Add the series that have ended to the outputs, but for those that failed."""
        good = [tsId for tsId in tsIdList if not os.path.exists(self._getFailedReasonFile(tsId))]
        if good:
            self._outputSampling = self._getResult(good[0]).pixel_size
        elif self._getOutputSet() is not None:
            self._outputSampling = self._getOutputSet().getSamplingRate()
        ProtTsCorrectMotion._updateOutput(self, good)
        if good:
            # Others see new outputs at once, and not when the next step ends.
            self._store(*(getattr(self, name) for name in self._getOutputNames()))
        if self._tsDict.allDone():
            # The base class forgets it where there is no output.
            self._coStep.setStatus(STATUS_NEW)

    def _updateOutputSet(self, outputSet, tsIdList):
        for name in self._getOutputNames():
            output = outputSet if name == OUTPUT_TILT_SERIES else self._getSideSet(name)
            # An earlier run may have been stopped between two outputs.
            existing = set(output.getTSIds()) if output.getSize() else set()
            for tsId in tsIdList:
                if tsId not in existing:
                    self._addSeries(output, name, tsId)
            if name != OUTPUT_TILT_SERIES:
                output.write()

    def _getSideSet(self, name):
        """The output beside the main one, made where there is none yet."""
        output = getattr(self, name, None)
        if output is None:
            output = self._createOutputSet(suffix=KINDS[name][2])
            output.setSamplingRate(self._getOutputSampling())
            setattr(self, name, output)
        else:
            output.enableAppend()
        return output

    def _addSeries(self, output, name, tsId):
        """Add a series to an output, its tilts by ascending angle as in the stack."""
        result = self._getResult(tsId)
        series = TiltSeries()
        series.copyInfo(self._tsDict.getTs(tsId))
        series.setSamplingRate(self._getOutputSampling())
        series.setDim([])  # of the images, not of the movies
        output.append(series)
        for index, exposure in enumerate(self._getByAngle(tsId), start=1):
            item = TiltImage(location=(index, self._getStackPath(tsId, name)))
            item.copyInfo(exposure.tilt)
            item.setObjId(index)
            item.setAcquisition(exposure.tilt.getAcquisition())
            item.setSamplingRate(self._getOutputSampling())
            item.setEnabled(result.place(exposure.number) is not None)
            if name == OUTPUT_TILT_SERIES and self._doSplitEvenOdd():
                # odd first, as the class has it
                names = (OUTPUT_TILT_SERIES_ODD, OUTPUT_TILT_SERIES_EVEN)
                item.setOddEven(
                    ["%d@%s" % (index, self._getStackPath(tsId, half)) for half in names]
                )
            _set_columns(item, result, exposure)
            series.append(item)
        output.update(series)

    def createOutputStep(self):
        if self._getOutputSet() is None:
            reasons = "; ".join("%s: %s" % pair for pair in self._getFailures())
            raise Exception("None of the tilt series could be aligned. %s" % reasons)
        ProtTsCorrectMotion.createOutputStep(self)

    # --------------------------- what went wrong
    def _getFailures(self):
        """Name and reason of each series that failed."""
        folder = self._getExtraPath()
        names = os.listdir(folder) if os.path.isdir(folder) else []
        return [
            (name[: -len(FAILED_REASON)], read_text(os.path.join(folder, name)))
            for name in sorted(names)
            if name.endswith(FAILED_REASON)
        ]

    def _getLeftOut(self):
        """Name of the series, angle and reason of each tilt that is left out."""
        output = self._getOutputSet()
        if output is None:
            return []
        left_out = [
            (series.getTsId(), item.getTiltAngle(), item._flexalign_LeftOut.get())
            for series in output.iterItems()
            for item in series.iterItems()
            if not item.isEnabled()
        ]
        output.close()
        return left_out


def _set_columns(item, result, exposure):
    """Columns that say how the alignment of a tilt went, and why it is left out."""
    set_quality(item, result.quality(exposure.number))
    is_disabled = not exposure.tilt.isEnabled()
    reason = "disabled in the input" if is_disabled else result.reason(exposure.number)
    item._flexalign_LeftOut = pwobj.String(in_project(reason))


def in_project(text):
    """A text with its paths as Scipion has them, from the folder of the project."""
    return text.replace(os.getcwd() + os.sep, "")
