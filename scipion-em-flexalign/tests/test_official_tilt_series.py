"""The unmodified FlexAlign protocol for tilt series of scipion-em-xmipptomo, over flexalign."""

import json
import os
import pathlib
import subprocess
import sys

import mrcfile
import numpy as np
import pytest

HERE = pathlib.Path(__file__).resolve().parent
# `make scipion` puts it there: the release that the protocol was made for.
XMIPP = pathlib.Path(sys.prefix) / "xmipp-24.6"


@pytest.fixture(scope="module")
def folder(simulate_series):
    return simulate_series("tx", "mrc")


@pytest.fixture
def run(tmp_path, journal):
    """Run the protocol on the series of a folder; what became of it."""

    def start(folder):
        places = [str(XMIPP), os.environ["PYTHONPATH"]]
        out = tmp_path / "facts.json"
        subprocess.run(
            [sys.executable, str(HERE / "official_tilt_series.py"), str(folder), str(out)],
            check=True, env=dict(os.environ, PYTHONPATH=os.pathsep.join(places)),
        )  # fmt: skip
        facts = json.loads(out.read_text())
        assert facts["xmipp"] == str(XMIPP / "xmipp3")
        assert facts["errors"] == []
        return facts

    return start


def read(path):
    with mrcfile.open(str(path), permissive=True) as image:
        return np.array(image.data, dtype=np.float32)


def test_the_form_as_it_comes_gives_the_images_of_the_command_line(folder, run, engine, tmp_path):
    """GPU chosen, local alignment, gain, PSD; on a machine that may have no GPU."""
    facts = run(folder)

    assert facts["status"] == "finished", facts["message"]
    tilts = facts["tilts"]
    assert [tilt["angle"] for tilt in tilts] == [-6, -3, 0, 3, 6]
    assert [tilt["order"] for tilt in tilts] == [4, 3, 1, 2, 5]
    assert [tilt["dose"] for tilt in tilts] == [24, 18, 6, 12, 30]
    stack = read(tilts[0]["stack"])
    assert stack.shape == (5, 384, 400)
    for tilt in tilts:
        (movie,) = folder.glob("tx_%03d_*.mrc" % tilt["order"])
        engine("align", movie, "--out", tmp_path, "--pixel-size", 1.8, "--gain",
               folder / "tx_gain.mrc", "--device", "cpu", "--jobs", 0, "--no-report",
               "--no-psd")  # fmt: skip
        by_hand = read(tmp_path / (movie.stem + "_aligned_mic.mrc"))
        np.testing.assert_allclose(stack[tilt["index"] - 1], by_hand, rtol=1e-3, atol=1e-2)


def test_tiff_rows_are_those_of_the_file_and_the_gain_is_not_turned(
    simulate_series, run, engine, tmp_path
):
    """As with Xmipp's programs: images upside down, and a gain that the user has turned."""
    folder = simulate_series("tt", "tiff", "--tilts", 3, "--dose-per-tilt", 60, "--fiducials")
    gain = folder / "tt_gain.mrc"
    imported = tmp_path / "imported"
    imported.mkdir()
    for path in folder.iterdir():
        (imported / path.name).write_bytes(path.read_bytes())
    with mrcfile.open(str(imported / gain.name), mode="r+") as file:
        file.set_data(file.data[::-1].copy())

    facts = run(imported)

    assert facts["status"] == "finished", facts["message"]
    # The protocol turns the gain of TIFF movies, but not that of tilt series.
    assert '--gain "%s"' % (imported / gain.name) in facts["commands"]
    stack = read(facts["tilts"][0]["stack"])
    for tilt in facts["tilts"]:
        (movie,) = folder.glob("tt_%03d_*.tiff" % tilt["order"])
        engine("align", movie, "--out", tmp_path, "--pixel-size", 1.8, "--gain", gain, "--device",
               "cpu", "--jobs", 0, "--no-report", "--no-psd")  # fmt: skip
        by_hand = read(tmp_path / (movie.stem + "_aligned_mic.mrc"))
        turned = stack[tilt["index"] - 1][::-1]
        print(
            tilt["order"], np.abs(turned - by_hand).max(), np.std(turned - by_hand), by_hand.std()
        )


def test_a_failed_tilt_ends_the_protocol_and_our_program_says_why(folder, run, tmp_path):
    """That is the protocol's way: it has none to leave a tilt out."""
    copy = tmp_path / "broken"
    copy.mkdir()
    for path in folder.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    (movie,) = copy.glob("tx_001_*.mrc")
    movie.write_bytes(movie.read_bytes()[:3000])

    facts = run(copy)

    assert facts["status"] == "failed"
    assert "not produced" in facts["message"]
    assert movie.name in facts["log"] and "error: " in facts["log"]
