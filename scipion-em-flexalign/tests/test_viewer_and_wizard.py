"""What the viewer shows and what the wizard would have one choose, without a screen."""

import os
import shutil

import mrcfile
import numpy as np
import pytest

from scipion_flexalign.viewers import FlexAlignViewer
from scipion_flexalign.wizards import FlexAlignGainWizard, gain_pictures

TURNED = {"gainRot": 1, "gainFlip": 1}


@pytest.fixture(scope="module")
def folder(simulate):
    """Movies, and gains that must be turned by 90 degrees and then flipped upside down to fit."""
    made = simulate(("m1", "mrc", 1), ("t1", "tiff", 3), ("e1", "eer", 4))
    for name in ("m1", "t1"):
        gain = mrcfile.read(str(made / (name + "_gain.mrc")))
        # undone in the opposite order
        mrcfile.write(str(made / (name + "_odd_gain.mrc")), np.rot90(np.flipud(gain), -1).copy())
    return made


@pytest.fixture(scope="module")
def protocol(folder, import_movies, align):
    (folder / "m2.mrc").write_bytes((folder / "m1.mrc").read_bytes()[:50000])
    imported = import_movies(folder, "m[12].mrc", gainFile=str(folder / "m1_odd_gain.mrc"))
    run = align(imported, useGpu=False, **TURNED)
    assert run.isFinished(), run.getErrorMessage()
    return run


def test_a_turned_gain_is_turned_back(protocol, folder):
    """The fixed pattern of the gain is gone from what was not aligned."""
    import json

    with open(protocol._getExtraPath("m1_record.json")) as file:
        record = json.load(file)
    assert record["parameters"]["gain_rotate"] == 90
    assert record["parameters"]["gain_flip"] == "upside-down"
    with np.load(str(folder / "m1_truth.npz")) as truth:
        true = -truth["displacement_px"].mean(axis=(1, 2))[:, ::-1]
    axes = protocol.outputMovies.getFirstItem().getAlignment().getShifts()
    shifts = np.transpose([[float(value) for value in axis] for axis in axes])
    rest = shifts - shifts.mean(axis=0) - (true - true.mean(axis=0))
    assert np.abs(rest).max() < 0.3


@pytest.fixture
def viewer(protocol, project):
    made = FlexAlignViewer(project=project, protocol=protocol)
    made.setProtocol(protocol)
    made.movieId.set(protocol.outputMovies.getFirstItem().getObjId())
    return made


@pytest.mark.parametrize("name", ["doShowMotion", "doShowShifts", "doShowSpectra", "doShowSession"])
def test_every_plot_is_drawn(viewer, name, tmp_path):
    (plotter,) = viewer._getVisualizeDict()[name]()

    plotter.savefig(str(tmp_path / "plot.png"))

    assert (tmp_path / "plot.png").stat().st_size > 5000


def test_the_failed_movie_is_told(viewer):
    (message,) = viewer._getVisualizeDict()["doShowFailures"]()

    assert "m2.mrc" in message._msg


def test_what_the_engine_cannot_do_is_not_offered(viewer):
    from scipion_flexalign import Plugin

    commands = Plugin.getCommands()
    assert {"align", "plan", "simulate"} <= set(commands)
    assert viewer.hasAttribute("doOpenReport") == ("report" in commands)


def test_the_report_is_made_and_opened_in_the_browser(viewer, monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)

    assert viewer._getVisualizeDict()["doOpenReport"]() == []

    (address,) = opened
    page = address[len("file://") :]
    assert address.startswith("file://") and page.endswith("report.html")
    with open(page, encoding="utf-8") as file:
        assert "m1" in file.read()


def test_a_folder_with_quotes_in_its_name_is_no_command(viewer, monkeypatch, tmp_path):
    folder = tmp_path / "it's; touch made; '"
    shutil.copytree(viewer.protocol._getExtraPath(), str(folder))
    monkeypatch.setattr(
        viewer.protocol, "_getExtraPath", lambda *names: str(folder.joinpath(*names))
    )
    monkeypatch.chdir(tmp_path)
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)

    assert viewer._getVisualizeDict()["doOpenReport"]() == []

    assert opened == [(folder / "report.html").as_uri()]
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_the_wizard_sits_beside_both_fields(project, protocol):
    targets = {target.__name__: names for target, names in FlexAlignGainWizard._targets}

    fields = ["gainRot", "gainFlip"]
    assert targets == {"ProtFlexAlign": fields, "ProtTsFlexAlign": fields}


@pytest.mark.parametrize(
    ("movie", "gain", "expected"),
    [
        ("m1.mrc", "m1_odd_gain.mrc", (1, 1)),
        ("m1.mrc", "m1_gain.mrc", (0, 0)),
        ("t1.tiff", "t1_odd_gain.mrc", (1, 1)),
        ("e1.eer", "e1.gain", (0, 0)),
    ],
)
def test_the_flattest_picture_of_the_wizard_is_the_right_one(folder, movie, gain, expected):
    path = str(folder / movie)
    mean = gain_pictures.mean_without_gain(path, 1.5, 8, 8)
    image = gain_pictures.read_gain(str(folder / gain), path)

    spreads = {}
    for orientation in gain_pictures.ORIENTATIONS:
        result = gain_pictures.corrected(mean, gain_pictures.oriented(image, *orientation), False)
        if result is not None:
            spreads[orientation] = gain_pictures.spread(result)
            assert max(gain_pictures.thumbnail(result, 200).shape) <= 200
    assert len(spreads) == 4, "a gain that is not square fits four ways only"
    assert min(spreads, key=spreads.get) == expected


def test_nothing_of_the_engine_is_imported():
    import importlib.util
    import subprocess
    import sys

    assert importlib.util.find_spec("flexalign") is None
    code = "import scipion_flexalign.protocols, sys; sys.exit('flexalign' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env=dict(os.environ)).returncode == 0
