import sys

import matplotlib.image
import numpy as np
import pytest

from flexalign.errors import InputError
from flexalign.io.motion_plot import draw_trajectory
from flexalign.io.spectra_plot import draw_spectra
from flexalign.model import FrameRange, PatchTracks, PowerSpectrum
from flexalign.motion import Motion, MotionField, Trajectory

SHAPE_PX = (300, 400)


@pytest.fixture
def motion():
    frame = np.arange(12)
    displacement = np.stack([0.5 * frame, np.sqrt(frame)], axis=1)
    error = np.full((12, 2), 0.1)
    trajectory = Trajectory(displacement, np.ones(12, bool), 3, error)
    coefficients = np.random.default_rng(0).normal(size=(2, 4, 3, 3))
    return Motion(trajectory, MotionField(coefficients, *SHAPE_PX, FrameRange(0, 12)))


@pytest.fixture
def tracks():
    centers = np.array([[75.0, 100.0], [75.0, 300.0], [225.0, 100.0], [225.0, 300.0]])
    displacement = np.random.default_rng(1).normal(size=(4, 5, 2))
    displacement[0, 0] = np.nan
    return PatchTracks(centers, np.arange(5) * 2.0, displacement, np.ones((4, 5)))


def spectrum(slope):
    offset = np.arange(32) - 16
    power = np.exp(-slope * np.hypot(offset[:, None], offset)).astype(np.float32)
    frequency = np.arange(17) / 32
    return PowerSpectrum(power, frequency, np.exp(-slope * np.arange(17.0)))


def colorful_fraction(path, columns=slice(None)):
    """Part of the pixels that are neither grey nor white."""
    pixels = matplotlib.image.imread(path)[:, columns, :3]
    return np.mean(np.ptp(pixels, axis=-1) > 0.2)


def test_global_motion_is_one_panel_and_local_motion_adds_one(tmp_path, motion):
    draw_trajectory(tmp_path / "a.png", Motion(motion.trajectory), 1.1, SHAPE_PX, title="a.mrc")
    draw_trajectory(tmp_path / "b.png", motion, 1.1, SHAPE_PX, title="a.mrc")

    one, two = (matplotlib.image.imread(tmp_path / name).shape for name in ("a.png", "b.png"))
    assert two[1] > 1.5 * one[1]


@pytest.mark.parametrize("has_field", [True, False])
def test_tracks_are_drawn_with_and_without_a_field(tmp_path, motion, tracks, has_field):
    drawn = motion if has_field else Motion(motion.trajectory)

    draw_trajectory(tmp_path / "a.png", drawn, 1.1, SHAPE_PX, title="a.mrc", tracks=tracks)

    assert colorful_fraction(tmp_path / "a.png") > 0.003


@pytest.mark.parametrize("frame_count", [1, 2, 60])
def test_a_specimen_at_rest_can_be_drawn(tmp_path, frame_count):
    draw_trajectory(tmp_path / "a.png", Motion.still(frame_count), 1.1, SHAPE_PX, title="still")

    assert (tmp_path / "a.png").stat().st_size > 1000


def test_frames_that_were_not_measured_can_be_left_out(tmp_path):
    trajectory = Trajectory(np.eye(5, 2) * 3, [False, True, True, False, False], 1)

    draw_trajectory(tmp_path / "a.png", Motion(trajectory), 1.1, SHAPE_PX, title="$weird_name")

    assert (tmp_path / "a.png").exists()


def test_the_path_goes_where_the_specimen_went(tmp_path, monkeypatch):
    """The points of the path are the displacement in Angstrom, not the correction."""
    from matplotlib.axes import Axes

    drawn = []
    scatter = Axes.scatter
    monkeypatch.setattr(
        Axes, "scatter", lambda self, x, y, **kw: (drawn.append((x, y)), scatter(self, x, y, **kw))
    )
    trajectory = Trajectory([[0.0, 0.0], [1.0, -2.0]], [True, True], 0)  # down one, left two

    draw_trajectory(tmp_path / "a.png", Motion(trajectory), 1.5, SHAPE_PX, title="a")

    (x, y) = drawn[0]
    np.testing.assert_allclose(x, [0.0, -3.0])
    np.testing.assert_allclose(y, [0.0, 1.5])


def test_spectra_show_before_on_the_left(tmp_path):
    draw_spectra(tmp_path / "a.png", spectrum(0.5), spectrum(0.0), title="a.mrc")

    pixels = matplotlib.image.imread(tmp_path / "a.png")[..., :3].mean(axis=-1)
    height, width = pixels.shape
    middle = slice(int(0.7 * height), int(0.8 * height))
    left = pixels[middle, int(0.1 * width) : int(0.2 * width)].mean()
    right = pixels[middle, int(0.27 * width) : int(0.37 * width)].mean()
    assert left < right - 0.2  # power that falls off is dark, constant power is bright


def test_spectra_of_an_empty_image_can_be_drawn(tmp_path):
    empty = PowerSpectrum(np.zeros((32, 32), np.float32), np.arange(17) / 32, np.zeros(17))

    draw_spectra(tmp_path / "a.png", empty, empty, title="a.mrc")

    assert (tmp_path / "a.png").exists()


def test_drawing_does_not_touch_pyplot_and_leaves_only_the_picture(tmp_path, motion, monkeypatch):
    monkeypatch.delitem(sys.modules, "matplotlib.pyplot", raising=False)

    draw_trajectory(tmp_path / "a.png", motion, 1.1, SHAPE_PX, title="a.mrc")

    assert "matplotlib.pyplot" not in sys.modules
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_a_missing_folder_is_explained(tmp_path, motion):
    with pytest.raises(InputError, match="folder"):
        draw_trajectory(tmp_path / "no" / "a.png", motion, 1.1, SHAPE_PX, title="a.mrc")
