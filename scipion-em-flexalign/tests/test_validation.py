"""What the form refuses before anything runs, and what it only warns of."""

import os

import numpy as np
import pytest
import pyworkflow as pw


@pytest.fixture(scope="module")
def imported(simulate, import_movies):
    folder = simulate(("m1", "mrc", 1), shape_px=(128, 160))
    return import_movies(folder, "m1.mrc", dosePerFrame=0.0)


@pytest.fixture
def form(project, imported):
    """A protocol that has not been run, with some values."""

    def make(**values):
        values.setdefault("useGpu", False)
        protocol = project.newProtocol(
            pw.Config.getDomain().getProtocols()["ProtFlexAlign"], **values
        )
        protocol.inputMovies.set(imported.outputMovies)
        return protocol

    return make


def test_the_form_as_it_comes_is_fine_but_for_a_gpu(form):
    assert form().validate() == []


def test_a_gpu_that_is_asked_for_and_is_not_there_is_an_error(form, monkeypatch, tmp_path):
    monkeypatch.setattr("scipion_flexalign.protocols.jobs.GPU_FILES", [str(tmp_path / "gpu*")])

    (message,) = form(useGpu=True).validate()
    assert "this machine has none" in message and "Use GPU: No" in message
    # That of a queue is another machine.
    queued = form(useGpu=True)
    queued._useQueue.set(True)
    assert queued.validate() == []

    (tmp_path / "gpu0").touch()
    assert form(useGpu=True).validate() == []


def test_a_gpu_that_cannot_be_used_ends_the_run_at_once(form, project, imported):
    """There is no such GPU on any machine; what keeps one movie from a GPU keeps all."""
    from pyworkflow.protocol.executor import StepExecutor

    from scipion_flexalign import engine

    protocol = form(useGpu=True, gpuList="97", doDoseWeight=False)
    project.saveProtocol(protocol)
    protocol.makeWorkingDir()
    protocol.setStepsExecutor(StepExecutor(None, gpuList=[97]))
    movie = imported.outputMovies.getFirstItem().clone()
    os.makedirs(protocol._getOutputMovieFolder(movie))

    with pytest.raises(engine.DeviceError, match="--device cuda"):
        protocol._processMovie(movie)

    assert not os.path.exists(protocol._getFailedReasonFile(movie))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        # what the official protocol refuses
        ({"autoControlPoints": False, "controlPointX": 2}, "3 control points in X dim"),
        ({"autoControlPoints": False, "controlPointT": 2}, "3 control points in T dim"),
        ({"binFactor": 0.5}, "Bin factor must be >= 1"),
        ({"alignFrameN": 9}, "last frame to *ALIGN*: found 9, expected one in 1 - 8"),
        ({"alignFrame0": 9}, "first frame to *ALIGN*"),
        ({"alignFrame0": 5, "alignFrameN": 4}, "before the first"),
        ({"useAlignToSum": False, "sumFrameN": 9}, "last frame to *SUM*"),
        # what it should refuse
        ({"maxShift": -1}, "Maximum shift must be more than 0"),
        ({"maxResForCorrelation": -30.0}, "Maximum resolution must be more than 0"),
        ({"minLocalRes": 0.0}, "Min size of the patch must be more than 0"),
        ({"groupNFrames": 0}, "Group N frames must be at least 1"),
        ({"autoPatches": False, "patchesX": 0}, "Number of patches must be at least 1"),
        ({"alignFrame0": 3, "alignFrameN": 6, "useAlignToSum": False}, "(1 - 8) must be among"),
        ({"alignFrame0": 3, "alignFrameN": 3}, "At least two frames"),
        ({"binThreads": 0}, "Threads must be at least 1"),
        ({"cropDimX": 64, "cropDimY": 64}, "cannot be cropped"),
        ({"defectsFile": "/no/such/file"}, "defects file /no/such/file does not exist"),
    ],
)
def test_what_cannot_be_meant_is_refused(form, values, message):
    errors = form(**values).validate()

    assert len(errors) == 1 and message in errors[0], errors


@pytest.mark.parametrize(
    "values",
    [
        {"useGpu": False},  # local alignment needs no GPU
        {"numberOfThreads": 4},  # nor any number of GPUs for that many threads
        {"gpuList": "0,1", "numberOfThreads": 1, "useGpu": False},
        {
            "alignFrame0": 2,
            "alignFrameN": 7,
            "useAlignToSum": False,
            "sumFrame0": 2,
            "sumFrameN": 7,
        },
    ],
)
def test_what_the_official_protocol_refuses_for_no_reason_is_fine(form, values):
    assert form(**values).validate() == []


def test_a_missing_dose_is_a_warning(form):
    assert "no dose per frame" in form().warnings()[0]
    assert form(doDoseWeight=False).warnings() == []


def test_on_the_cpu_no_movie_waits_for_a_gpu(form):
    assert form(useGpu=False, gpuList="0 1", numberOfThreads=3).getGpuList() == []
    assert form(useGpu=False).getGPUArgs() == "--device cpu"
    assert form(useGpu=True).getGPUArgs() == "--device cuda"
    assert form(useGpu=True, gpuList="0 1").getGpuList() == [0, 1]


def test_a_missing_engine_is_said(form, monkeypatch):
    from scipion_flexalign import Plugin

    monkeypatch.setitem(Plugin._vars, "FLEXALIGN_HOME", "/nowhere")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")

    errors = form().validate()

    assert "not found" in errors[0] and "installb" in errors[2]


def test_an_activation_command_comes_first(monkeypatch, tmp_path):
    import subprocess

    from scipion_flexalign import Plugin

    folder = os.path.join(os.environ["FLEXALIGN_HOME"], "bin")
    command = 'export PATH="%s:$PATH"' % folder
    monkeypatch.setitem(Plugin._vars, "FLEXALIGN_ACTIVATION_CMD", command)
    monkeypatch.setitem(Plugin._vars, "FLEXALIGN_HOME", "/nowhere")
    said = subprocess.run(
        Plugin.getProgram() + " --version",
        shell=True,
        stdout=subprocess.PIPE,
        env=Plugin.getEnviron(),
    )
    assert said.stdout.startswith(b"flexalign ")

    monkeypatch.setitem(Plugin._vars, "FLEXALIGN_ACTIVATION_CMD", "conda activate flexalign &&")

    assert Plugin.getProgram() == "conda activate flexalign && flexalign"


ORIENTATIONS = [(rot, flip) for rot in range(4) for flip in range(3)]


@pytest.mark.parametrize("shape", [(6, 4), (5, 7), (6, 6)])
@pytest.mark.parametrize(("rotation", "flip"), ORIENTATIONS)
def test_the_gain_is_turned_exactly_and_then_flipped(form, tmp_path, shape, rotation, flip):
    import mrcfile

    gain = np.arange(np.prod(shape), dtype=np.float32).reshape(shape) + 1
    mrcfile.write(str(tmp_path / "gain.mrc"), gain)
    protocol = form(gainRot=rotation, gainFlip=flip)

    out = protocol.transformGain(str(tmp_path / "gain.mrc"), str(tmp_path / "turned.mrc"))

    expected = [lambda a: a, np.flipud, np.fliplr][flip](np.rot90(gain, rotation))
    np.testing.assert_array_equal(mrcfile.read(out), expected)
    assert protocol.getUserAngle() == 90 * rotation
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gain.mrc", "turned.mrc"]
    corner = protocol.getUserFlip(expected) @ (0, 0, 1)
    height, width = expected.shape
    assert tuple(corner) == [(0, 0, 1), (0, height - 1, 1), (width - 1, 0, 1)][flip]


def test_where_the_official_gain_is_exact_ours_is_the_same(form, tmp_path):
    """It is exact for odd squares; it flips first, which is the other way round for 90 and 270."""
    import mrcfile

    official = pw.Config.getDomain().getProtocols()["XmippProtFlexAlign"]
    gain = np.arange(25, dtype=np.float32).reshape(5, 5) + 1
    mrcfile.write(str(tmp_path / "gain.mrc"), gain)
    same = []
    for rotation, flip in ORIENTATIONS:
        theirs = official()
        theirs.gainRot.set(rotation)
        theirs.gainFlip.set(flip)
        names = [str(tmp_path / ("%s%d%d.mrc" % (who, rotation, flip))) for who in "ab"]
        theirs.transformGain(str(tmp_path / "gain.mrc"), names[0])
        form(gainRot=rotation, gainFlip=flip).transformGain(str(tmp_path / "gain.mrc"), names[1])
        a, b = (np.squeeze(mrcfile.read(name)) for name in names)
        if np.allclose(a, b, atol=1e-3):
            same.append((rotation, flip))

    assert same == [(r, f) for r, f in ORIENTATIONS if r in (0, 2) or f == 0]
