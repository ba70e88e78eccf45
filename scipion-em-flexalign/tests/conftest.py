"""Real Scipion, headless: projects on disk, protocols in processes of their own, the real engine.

These tests run in Scipion's interpreter (``make test`` does that). The engine and the simulated
movies come from the interpreter of flexalign: ``.venv`` of the checkout, or the one named by
FLEXALIGN_TEST_PYTHON.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = pathlib.Path(__file__).resolve().parent
ENGINE_PYTHON = os.environ.get("FLEXALIGN_TEST_PYTHON", str(ROOT / ".venv" / "bin" / "python"))


def _make_program(folder):
    """A `flexalign` in an environment of its own, as FLEXALIGN_HOME wants it."""
    program = folder / "bin" / "flexalign"
    program.parent.mkdir(parents=True)
    program.write_text(
        '#!/bin/sh\nPYTHONPATH="%s" exec "%s" -m flexalign "$@"\n' % (ROOT / "src", ENGINE_PYTHON)
    )
    program.chmod(0o755)
    return program


def _set_up_scipion(base):
    """What Scipion must find in its environment before it is imported for the first time."""
    program = _make_program(base / "engine")
    subprocess.run(
        [str(program), "xmipp-install", str(base / "xmipp")], check=True, stdout=subprocess.DEVNULL
    )
    os.environ.update(
        SCIPION_HOME=str(base / "home"),
        SCIPION_USER_DATA=str(base / "userdata"),
        SCIPION_DOMAIN="pwem",
        SCIPION_NOTIFY="False",
        SCIPION_TEST_NOSYNC="True",
        SCIPION_PYTHON=sys.executable,
        SCIPION_HOSTS=str(base / "home" / "config" / "hosts.conf"),
        SCIPION_STEPS_CHECK_SEC="1",
        SCIPION_EM_NEW_FILE_CHECK_SEC="2",
        FLEXALIGN_HOME=str(base / "engine"),
        XMIPP_HOME=str(base / "xmipp"),
        PYTHONPATH=str(HERE / "xmipp_modules"),
        OMP_NUM_THREADS="1",
        NO_COLOR="1",
    )
    sys.path.insert(0, str(HERE / "xmipp_modules"))
    pathlib.Path(os.environ["SCIPION_USER_DATA"]).mkdir(parents=True)
    pathlib.Path(os.environ["SCIPION_HOSTS"]).parent.mkdir(parents=True)
    from pyworkflow.protocol import HostConfig

    HostConfig.writeBasic(os.environ["SCIPION_HOSTS"])


# Scipion reads its environment when it is imported, which pytest does while it collects.
BASE = pathlib.Path(tempfile.mkdtemp(prefix="scipion-tests-"))
_set_up_scipion(BASE)


def pytest_sessionfinish(session, exitstatus):
    if not os.environ.get("KEEP_SCIPION_TESTS"):
        shutil.rmtree(str(BASE), ignore_errors=True)


@pytest.fixture(scope="session")
def engine():
    """Run the engine's command line."""

    def run(*words, **options):
        return subprocess.run(
            [str(BASE / "engine" / "bin" / "flexalign")] + [str(word) for word in words],
            check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options
        )  # fmt: skip

    return run


@pytest.fixture(scope="session")
def simulate(tmp_path_factory):
    """Simulate movies with the engine's own simulator; their folder."""

    def make(*movies, **settings):
        import json

        folder = tmp_path_factory.mktemp("movies")
        subprocess.run(
            [ENGINE_PYTHON, str(HERE / "simulate_movies.py"), str(folder), json.dumps(settings)]
            + ["%s.%s.%d" % movie for movie in movies],
            check=True, env=dict(os.environ, PYTHONPATH=str(ROOT / "src")),
        )  # fmt: skip
        return folder

    return make


@pytest.fixture(scope="module")
def project(request):
    """A project of its own, the current folder, as Scipion needs it."""
    from pyworkflow.project import Manager

    before = os.getcwd()
    name = request.module.__name__.rpartition(".")[2]
    created = Manager().createProject("%s_%d" % (name, os.getpid()))
    os.chdir(created.path)
    yield created
    os.chdir(before)


@pytest.fixture(scope="module")
def import_movies(project):
    """Import the movies of a folder, in a process of its own."""
    from pwem.protocols import ProtImportMovies

    def run(folder, pattern, wait=True, **values):
        values.setdefault("samplingRate", 1.5)
        values.setdefault("dosePerFrame", 1.0)
        protocol = project.newProtocol(
            ProtImportMovies, filesPath=str(folder), filesPattern=pattern, voltage=300.0, **values
        )
        project.launchProtocol(protocol, wait=wait)
        if wait:
            assert protocol.isFinished(), protocol.getErrorMessage()
        return protocol

    return run


@pytest.fixture(scope="session")
def simulate_series(engine, tmp_path_factory):
    """Simulate a tilt series; the folder of its movies, where Scipion wants the mdoc file too."""

    def make(name, file_format, *options):
        folder = tmp_path_factory.mktemp("series")
        engine(
            "simulate", "--out", folder, "--tilt-series", "--name", name, "--format", file_format,
            "--size", 400, 384, "--pixel-size", 1.8, "--tilts", 5, "--frames", 4,
            "--dose-per-tilt", 6, "--global-motion", 4, "--local-motion", 0, *options
        )  # fmt: skip
        shutil.copy(str(folder / (name + ".mdoc")), str(folder / "frames"))
        for gain in folder.glob(name + "*gain*"):
            shutil.copy(str(gain), str(folder / "frames"))
        return folder / "frames"

    return make


@pytest.fixture(scope="module")
def journal():
    """The mode of SQLite in which the import of tilt series does not lock itself out.

    Movies keep the default: with this mode, streaming does not see movies that are added.
    """
    from pyworkflow import Config

    before = Config.SQLITE_JOURNAL_MODE
    os.environ["SQLITE_JOURNAL_MODE"] = Config.SQLITE_JOURNAL_MODE = "WAL"
    yield
    del os.environ["SQLITE_JOURNAL_MODE"]
    Config.SQLITE_JOURNAL_MODE = before


@pytest.fixture(scope="module")
def import_series(project, journal):
    """Import the tilt series of a folder by their mdoc files, in a process of its own."""
    from tomo.protocols import ProtImportTsMovies

    def run(folder, pattern, **values):
        protocol = project.newProtocol(
            ProtImportTsMovies, filesPath=str(folder), filesPattern=pattern, **values
        )
        project.launchProtocol(protocol, wait=True)
        assert protocol.isFinished(), protocol.getErrorMessage()
        return protocol

    return run


@pytest.fixture(scope="module")
def align(project):
    """Run a protocol on imported movies or tilt series, in a process of its own."""
    import pyworkflow as pw

    def run(imported, name="ProtFlexAlign", wait=True, **values):
        if not name.startswith("Xmipp"):
            values.setdefault("useGpu", False)
        protocol = project.newProtocol(pw.Config.getDomain().getProtocols()[name], **values)
        is_series = imported.hasAttribute("outputTiltSeriesM")
        pointer = protocol.inputTiltSeriesM if is_series else protocol.inputMovies
        pointer.set(imported)
        pointer.setExtended("outputTiltSeriesM" if is_series else "outputMovies")
        errors = protocol.validate()
        assert not errors, errors
        project.launchProtocol(protocol, wait=wait)
        return protocol

    return run
