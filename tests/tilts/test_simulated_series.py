"""A simulated series through the command line: gain, truth and the shared prior together."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from test_series import read_stack

from flexalign.io.mdoc import Mdoc, read_mdoc, write_mdoc
from flexalign.motion import Motion
from flexalign.simulate import (
    SimulationSettings,
    TiltSeriesSettings,
    motion_error_px,
    save_tilt_series,
)


@pytest.fixture(scope="module")
def series(tmp_path_factory) -> Path:
    """A folder with a series of 5 tilts at a dose that shows its motion, and a gain."""
    folder = tmp_path_factory.mktemp("simulated")
    movie = SimulationSettings(
        shape_px=(512, 512), frame_count=3, pixel_size_A=2.0,
        global_motion_px=3.0, local_motion_px=0.0, seed=7,
    )  # fmt: skip
    settings = TiltSeriesSettings(movie, tilt_count=5, dose_per_tilt_e_A2=6.0, fiducials=True)
    save_tilt_series(settings, folder, "ts", "tiff", threads=1)
    return folder


def test_the_gain_is_checked_near_zero_and_once(series, tmp_path, run):
    """The series is in two mdoc files, as those of two areas of one session."""
    mdoc = read_mdoc(series / "ts.mdoc")
    for name, sections in (("a", mdoc.sections[2::-1]), ("b", mdoc.sections[3:])):
        write_mdoc(tmp_path / f"{name}.mdoc", Mdoc(mdoc.items, mdoc.titles, sections))
    words = ["--movies", series, "--gain", series / "ts_gain.mrc", "--out", tmp_path / "out"]

    code, _, err = run(tmp_path / "a.mdoc", *words)
    check = tmp_path / "out" / "gain_check.json"
    found, written_ns = json.loads(check.read_text()), check.stat().st_mtime_ns
    again, _, _ = run(tmp_path / "a.mdoc", tmp_path / "b.mdoc", *words)

    assert (code, again) == (0, 0), err
    assert found["verdict"] == "fits"
    assert Path(found["movies"][0]).name == "ts_001_0.0.tiff"
    assert check.stat().st_mtime_ns == written_ns
    assert (tmp_path / "out" / "b.mrc").exists()


def test_a_gain_that_lies_otherwise_stops_the_run_before_any_tilt(series, tmp_path, run):
    code, _, err = run(
        series / "ts.mdoc", "--gain", series / "ts_gain.mrc", "--gain-rotate", "90",
        "--out", tmp_path / "out",
    )  # fmt: skip

    assert code == 3
    assert "--gain-rotate 0" in err
    assert not (tmp_path / "out" / "ts.mrc").exists()


def test_the_motion_of_each_tilt_is_found(series, tmp_path, run):
    """With fiducials at 8 electrons per pixel and frame, far better than without correction."""
    code, _, err = run(
        series / "ts.mdoc", "--gain", series / "ts_gain.mrc", "--out", tmp_path / "out",
        refine=True,
    )  # fmt: skip

    assert code == 0, err
    record = json.loads((tmp_path / "out" / "ts_record.json").read_text())
    stack, angles = read_stack(tmp_path / "out" / "ts.mrc")
    assert angles == [-6, -3, 0, 3, 6]
    assert stack.shape == (5, 512, 512)
    for path, kept in record["movies"].items():
        movie = Path(path)
        truth = np.load(movie.with_name(f"{movie.stem}_truth.npz"))
        error = motion_error_px(Motion.from_dict(kept["motion"]), truth).rms_px
        still = motion_error_px(Motion.still(3), truth).rms_px
        assert error < 0.5 * still
