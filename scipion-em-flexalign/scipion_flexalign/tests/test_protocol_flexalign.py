"""A simulated movie with known motion, imported and aligned; needs nothing but the engine."""

import shlex
import subprocess
import tempfile

import numpy as np
from pwem.protocols import ProtImportMovies
from pyworkflow.tests import BaseTest, setupTestProject

from .. import Plugin
from ..protocols import ProtFlexAlign

WITHIN_PX = 1.0


class TestProtFlexAlign(BaseTest):
    """Import, align, compare with the truth."""

    @classmethod
    def setUpClass(cls):
        setupTestProject(cls)
        cls.folder = tempfile.mkdtemp()
        subprocess.run(
            "%s simulate --out %s --name movie --size 512 512 --frames 8 --electrons 6 "
            "--local-motion 0 --pixel-size 1.5" % (Plugin.getProgram(), shlex.quote(cls.folder)),
            shell=True,
            check=True,
            env=Plugin.getEnviron(),
            stdout=subprocess.DEVNULL,
        )
        cls.protImport = cls.newProtocol(
            ProtImportMovies,
            filesPath=cls.folder,
            filesPattern="movie.mrc",
            samplingRate=1.5,
            dosePerFrame=2.7,
            voltage=300.0,
            gainFile=cls.folder + "/movie_gain.mrc",
        )
        cls.launchProtocol(cls.protImport)

    def test_align(self):
        protocol = self.newProtocol(
            ProtFlexAlign, objLabel="known motion", splitEvenOdd=True, useGpu=False
        )
        protocol.inputMovies.set(self.protImport.outputMovies)
        self.launchProtocol(protocol)

        for name in (
            "outputMicrographs",
            "outputMicrographsDoseWeighted",
            "outputMicrographsOdd",
            "outputMicrographsEven",
        ):
            self.assertSetSize(getattr(protocol, name), 1)
        xs, ys = protocol.outputMovies.getFirstItem().getAlignment().getShifts()
        shifts = np.transpose([[float(v) for v in xs], [float(v) for v in ys]])
        with np.load(self.folder + "/movie_truth.npz") as truth:
            true = -truth["displacement_px"].mean(axis=(1, 2))[:, ::-1]
        rest = (shifts - shifts.mean(axis=0)) - (true - true.mean(axis=0))
        self.assertLess(np.abs(rest).max(), WITHIN_PX)
