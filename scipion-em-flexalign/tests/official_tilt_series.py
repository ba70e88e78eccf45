"""Import a tilt series and run Xmipp's protocol on it, in an older xmipp3.

Arguments: FOLDER OUT(JSON), with the facts of the run.
The protocol of the newest release of scipion-em-xmipptomo starts with no release of
scipion-em-xmipp after its own; so it runs in a process of its own, with that release before the
newer one on PYTHONPATH.
"""

import json
import os
import sys

import xmipp3
from pyworkflow.project import Manager
from tomo.protocols import ProtImportTsMovies
from xmipptomo.protocols import XmippProtTsFlexAlign

folder, out = sys.argv[1:]
project = Manager().createProject("official_tilt_series_%d" % os.getpid())
os.chdir(project.path)
gains = [name for name in os.listdir(folder) if "gain" in name]
imported = project.newProtocol(
    ProtImportTsMovies, filesPath=folder, filesPattern="*.mdoc",
    gainFile=os.path.join(folder, gains[0]) if gains else "",
)  # fmt: skip
project.launchProtocol(imported, wait=True)
protocol = project.newProtocol(XmippProtTsFlexAlign)
protocol.inputTiltSeriesM.set(imported)
protocol.inputTiltSeriesM.setExtended("outputTiltSeriesM")
errors = protocol.validate()
if not errors:
    project.launchProtocol(protocol, wait=True)
tilts = []
if hasattr(protocol, "outputTiltSeries"):
    tilts = [
        {
            "angle": tilt.getTiltAngle(),
            "order": tilt.getAcquisitionOrder(),
            "dose": tilt.getAcquisition().getAccumDose(),
            "index": tilt.getIndex(),
            "stack": os.path.abspath(tilt.getFileName()),
        }
        for tilt in protocol.outputTiltSeries.getFirstItem().iterItems(orderBy="id")
    ]
with open(protocol.getStderrLog()) as log:
    said = log.read()
with open(protocol.getStdoutLog()) as log:
    commands = log.read()
with open(out, "w") as file:
    json.dump(
        {
            "xmipp": os.path.dirname(xmipp3.__file__), "errors": errors,
            "status": protocol.getStatus(), "message": protocol.getErrorMessage(),
            "tilts": tilts, "log": said, "commands": commands,
        },
        file,
    )  # fmt: skip
