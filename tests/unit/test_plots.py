import re
import sys
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

import flexalign
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


def ringed_spectrum(height):
    """White noise with a strong centre and Thon rings of a relative height."""
    offset = np.arange(128) - 64
    ring = np.hypot(offset[:, None], offset)
    expected = (1 + 50 * np.exp(-ring / 6)) * (1 + height * np.sin(ring / 2))
    power = expected * np.random.default_rng(0).gamma(20, 1 / 20, ring.shape)
    radial = np.bincount(np.rint(ring).astype(int).ravel(), power.ravel())[:65]
    count = np.bincount(np.rint(ring).astype(int).ravel())[:65]
    return PowerSpectrum(power.astype(np.float32), np.arange(65) / 128, radial / count)


def grey_of_half(path, side):
    """Grey levels (0 to 1) of the left or right half of the plane, as drawn without axes."""
    drawn = []
    from matplotlib.axes import Axes

    imshow = Axes.imshow
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            Axes, "imshow", lambda self, x, **kw: (drawn.append((x, kw)), imshow(self, x, **kw))[1]
        )
        before, after = (0.0, 0.5) if side == "right" else (0.5, 0.0)
        draw_spectra(path, ringed_spectrum(before), ringed_spectrum(after), title="a.mrc")
    plane, options = drawn[0]
    grey = (plane - options["vmin"]) / (options["vmax"] - options["vmin"])
    return grey.clip(0, 1)


def ring_contrast(grey, columns):
    """Correlation of some columns of the plane with the rings of `ringed_spectrum`."""
    offset = np.arange(128) - 64
    ring = np.hypot(offset[:, None], offset)[:, columns]
    chosen = (ring > 10) & (ring < 60)
    return np.corrcoef(grey[:, columns][chosen], np.sin(ring / 2)[chosen])[0, 1]


@pytest.mark.parametrize("side", ["left", "right"])
def test_spectra_show_before_on_the_left_and_after_on_the_right(tmp_path, side):
    grey = grey_of_half(tmp_path / "a.png", side)

    left, right = (ring_contrast(grey, half) for half in (slice(0, 60), slice(68, 128)))

    ringed, plain = (left, right) if side == "left" else (right, left)
    assert ringed > 0.6 > 0.2 > plain


def test_the_centre_of_a_spectrum_is_not_saturated_and_the_rest_not_flat(tmp_path):
    grey = grey_of_half(tmp_path / "a.png", "right")
    offset = np.arange(128) - 64
    ring = np.hypot(offset[:, None], offset)

    for low, high in ((4, 12), (20, 30), (50, 60)):
        part = grey[(ring > low) & (ring < high)]
        assert np.mean((part == 0) | (part == 1)) < 0.1
        assert part.std() > 0.1


@pytest.mark.parametrize("falls", [True, False])
def test_the_fall_at_nyquist_is_explained_where_there_is_one(tmp_path, monkeypatch, falls):
    from matplotlib.axes import Axes

    words = []
    text = Axes.text
    monkeypatch.setattr(
        Axes, "text", lambda self, x, y, s, **kw: (words.append(s), text(self, x, y, s, **kw))[1]
    )
    before, after = ringed_spectrum(0.0), ringed_spectrum(0.2)
    if falls:
        after.radial_power[50:] *= np.linspace(1, 0.5, 15)

    draw_spectra(tmp_path / "a.png", before, after, title="a.mrc")

    assert any("cubic B-spline" in word for word in words) == falls


def test_measured_points_are_joined_with_the_field_at_their_frame(
    tmp_path, motion, tracks, monkeypatch
):
    from matplotlib import collections

    joined = []
    made = collections.LineCollection.__init__

    def noted(self, segments, **options):
        if options.get("colors"):
            joined.append((np.array(segments), options))
        made(self, segments, **options)

    monkeypatch.setattr(collections.LineCollection, "__init__", noted)
    draw_trajectory(tmp_path / "a.png", motion, 1.1, SHAPE_PX, title="a.mrc", tracks=tracks)

    of_patches = [len(lines) for lines, _ in joined[:4]]
    assert of_patches == [4, 5, 5, 5]  # one point was not measured
    y_px, x_px = tracks.center_px[1]
    path = np.stack(motion.field.displacement_px(tracks.frame, y_px, x_px), axis=-1)[:, ::-1]
    ends = joined[1][0][:, 1] - joined[1][0][:, 1].mean(axis=0)
    scale = np.sum(ends * (path - path.mean(axis=0))) / np.sum((path - path.mean(axis=0)) ** 2)
    np.testing.assert_allclose(ends, scale * (path - path.mean(axis=0)), atol=1e-6 * scale)


@pytest.mark.parametrize("panel", [0, 1])
def test_y_points_downward_in_both_panels(tmp_path, motion, tracks, monkeypatch, panel):
    from flexalign.io import motion_plot

    axes = []
    saved = motion_plot.save_png
    monkeypatch.setattr(
        motion_plot, "save_png", lambda figure, to: (axes.extend(figure.axes), saved(figure, to))
    )
    draw_trajectory(tmp_path / "a.png", motion, 1.1, SHAPE_PX, title="a.mrc", tracks=tracks)

    assert axes[panel].yaxis_inverted()
    assert "downward" in axes[panel].get_ylabel()


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


def test_colours_of_plots_are_in_one_module():
    sources = Path(flexalign.__file__).parent.rglob("*.py")
    named = re.compile(r"[\"']#[0-9a-f]{6}[\"']", flags=re.IGNORECASE)

    found = [path.name for path in sources if named.search(path.read_text(encoding="utf-8"))]

    assert found == ["figure_style.py"]
