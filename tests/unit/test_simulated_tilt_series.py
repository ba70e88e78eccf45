"""Simulated tilt series: geometry, order, dose, the stage's habits, and the files."""

from __future__ import annotations

import math
from datetime import datetime
from pathlib import PureWindowsPath

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from flexalign.errors import ParameterError
from flexalign.io.movies.open_movie import open_movie
from flexalign.simulate import (
    FORMATS,
    SimulationSettings,
    TiltSeriesSettings,
    save_tilt_series,
    simulate_movie,
    simulate_tilt_series,
)
from flexalign.simulate.slab import Slab, make_slab
from flexalign.simulate.stage import make_tilt_motion

MOVIE = SimulationSettings(
    shape_px=(128, 160), frame_count=2, pixel_size_A=2.0, particles=2, global_motion_px=4.0,
    local_motion_px=1.0, hot_pixels=3, dead_pixels=2, seed=4,
)  # fmt: skip
SERIES = TiltSeriesSettings(movie=MOVIE, tilt_count=3, tilt_step_deg=20.0, fiducials=True)


@pytest.fixture(scope="module")
def tilts():
    return list(simulate_tilt_series(SERIES, threads=2))


def test_equal_settings_give_equal_series_whatever_the_threads(tilts):
    again = list(simulate_tilt_series(SERIES, threads=1))

    for one, other in zip(tilts, again, strict=True):
        assert np.array_equal(one.movie.counts, other.movie.counts)
        assert np.array_equal(one.movie.displacement_px, other.movie.displacement_px)


def test_tilts_come_in_order_of_time_each_with_the_dose_of_those_before(tilts):
    assert [tilt.number for tilt in tilts] == [0, 1, 2]
    assert [tilt.angle_deg for tilt in tilts] == [0.0, 20.0, -20.0]
    assert [tilt.pre_exposure_e_A2 for tilt in tilts] == [0.0, 3.0, 6.0]
    assert [tilt.movie.settings.tilt_deg for tilt in tilts] == [0.0, 20.0, -20.0]
    assert [tilt.movie.settings.pre_exposure_e_A2 for tilt in tilts] == [0.0, 3.0, 6.0]


def test_every_angle_is_there_once():
    angles = TiltSeriesSettings(tilt_count=41).angles_deg

    assert sorted(angles) == [3.0 * step for step in range(-20, 21)]


def test_counts_are_the_dose_of_a_tilt(tilts):
    for tilt in tilts:
        good = ~tilt.movie.bad_pixels
        electrons = (tilt.movie.counts * tilt.movie.gain)[:, good].sum(axis=0).mean()
        shown = tilt.movie.specimen[good].mean()
        assert electrons == pytest.approx(3.0 * 2.0**2 * shown, rel=0.02)


def test_all_tilts_have_one_detector_and_noise_of_their_own(tilts):
    first, second, _ = (tilt.movie for tilt in tilts)

    assert np.array_equal(first.gain, second.gain)
    assert np.array_equal(first.bad_pixels, second.bad_pixels)
    assert not np.array_equal(first.counts, second.counts)


@pytest.mark.parametrize("axis_deg", [0.0, 30.0, 85.0, -100.0])
@pytest.mark.parametrize("tilt_deg", [0.0, 40.0, -60.0])
def test_a_bead_is_seen_where_the_tilt_puts_it(axis_deg, tilt_deg):
    settings = TiltSeriesSettings(movie=MOVIE, tilt_count=3, tilt_axis_deg=axis_deg)
    place_A = np.array([[25.0, -60.0, 40.0]])
    slab = Slab(settings, np.zeros((0, 3)), Rotation.identity(0), place_A)

    shade = -slab.beads(tilt_deg, (160, 160))

    # In x (right), y (up), z the untilted bead is turned about the axis, then seen from above.
    axis = [-math.sin(math.radians(axis_deg)), math.cos(math.radians(axis_deg)), 0.0]
    across = np.cross(axis, [0.0, 0.0, 1.0])
    xyz = 25.0 * np.array(axis) - 60.0 * across + 40.0 * np.array([0.0, 0.0, 1.0])
    x, y, _ = Rotation.from_rotvec(math.radians(tilt_deg) * np.array(axis)).apply(xyz)
    rows, columns = np.mgrid[:160, :160]
    seen = np.array([(shade * rows).sum(), (shade * columns).sum()]) / shade.sum()
    assert seen == pytest.approx([80 + y / 2, 80 + x / 2], abs=0.05)


def test_particles_are_projected_as_beads_are():
    settings = TiltSeriesSettings(movie=MOVIE, tilt_count=3, tilt_axis_deg=30.0)
    place_A = np.array([[10.0, -40.0, 60.0]])
    with_particle = Slab(settings, place_A, Rotation.random(1, random_state=1), np.zeros((0, 3)))
    with_bead = Slab(settings, np.zeros((0, 3)), Rotation.identity(0), place_A)

    atoms, shade = with_particle.atoms_per_px(50.0, (160, 160)), -with_bead.beads(50.0, (160, 160))

    rows, columns = np.mgrid[:160, :160]
    for place in (rows, columns):
        middle = (atoms * place).sum() / atoms.sum()
        assert middle == pytest.approx((shade * place).sum() / shade.sum(), abs=0.5)


def test_the_slab_fills_the_field_at_the_steepest_tilt():
    movie = SimulationSettings(shape_px=(512, 512), pixel_size_A=4.0)
    settings = TiltSeriesSettings(movie=movie, tilt_count=41, tilt_axis_deg=0.0)
    slab = make_slab(settings, (512, 512))

    flat, tilted = (slab.atoms_per_px(angle, (512, 512)) for angle in (0.0, 60.0))

    assert tilted.sum() == pytest.approx(2 * flat.sum(), rel=0.2)
    assert tilted[:, :64].sum() > 0.5 * tilted.sum() / 8
    assert tilted[:, -64:].sum() > 0.5 * tilted.sum() / 8


def test_particles_lie_within_the_ice_and_beads_on_it():
    movie = SimulationSettings(shape_px=(256, 256), pixel_size_A=4.0, ice_thickness_A=400.0)
    slab = make_slab(TiltSeriesSettings(movie=movie, tilt_count=3, fiducials=True), (256, 256))

    assert np.abs(slab.particles_A[:, 2]).max() <= 200 - 67
    assert set(np.abs(slab.beads_A[:, 2])) == {200.0}


def test_signal_falls_with_the_dose_before():
    def fine_power(pre_exposure_e_A2):
        movie = simulate_movie(
            shape_px=(192, 192), frame_count=2, pixel_size_A=2.0, electrons_per_px=2000.0,
            dose_per_frame_e_A2=0.0, motion="none", gain=False, hot_pixels=0, dead_pixels=0,
            pre_exposure_e_A2=pre_exposure_e_A2, threads=1,
        )  # fmt: skip
        power = np.abs(np.fft.rfft2(movie.counts.sum(axis=0) / 4000.0)) ** 2
        frequency = np.hypot(np.fft.fftfreq(192)[:, None], np.fft.rfftfreq(192)) / 2.0
        noise = 192**2 / 4000.0
        return power[(frequency > 0.09) & (frequency < 0.11)].mean() - noise

    # At 10 A the critical exposure is 14.1 e/A2, which takes a part of 1 - 1/e of the power.
    assert fine_power(14.1) / fine_power(0.0) == pytest.approx(math.exp(-1), rel=0.1)


def test_the_stage_repeats_its_habit_and_turns_it_slowly():
    def paths(common_share):
        settings = TiltSeriesSettings(
            movie=SimulationSettings(frame_count=6, local_motion_px=0.0), common_share=common_share
        )
        order = np.argsort(settings.angles_deg)
        return np.array([make_tilt_motion(settings, k).path_px.mean(axis=1) for k in order])

    def likeness(path):
        flat = path.reshape(len(path), -1)
        flat = flat / np.linalg.norm(flat, axis=1, keepdims=True)
        return (flat[1:] * flat[:-1]).sum(axis=1)

    assert likeness(paths(1.0)).min() > 0.99
    assert likeness(paths(0.8)).mean() > 0.4
    assert abs(likeness(paths(0.0)).mean()) < 0.35


def test_displacement_starts_at_zero_and_is_that_of_the_movie(tilts):
    for tilt in tilts:
        assert np.allclose(tilt.movie.displacement_px[0], 0.0, atol=1e-9)
        assert np.abs(tilt.movie.displacement_px[-1]).max() > 0.5


def sections(path):
    """The sections of an mdoc, each as a dictionary."""
    found = []
    for line in path.read_text().splitlines():
        if line.startswith("[ZValue"):
            found.append({})
        elif found and " = " in line:
            key, value = line.split(" = ", 1)
            found[-1][key] = value
    return found


@pytest.mark.parametrize("file_format", FORMATS)
def test_the_mdoc_says_what_the_movies_are(tmp_path, file_format):
    paths = save_tilt_series(SERIES, tmp_path, "ts", file_format, threads=1)

    tilts = sections(paths["mdoc"])
    times = [datetime.strptime(tilt["DateTime"], "%d-%b-%y  %H:%M:%S") for tilt in tilts]
    assert [float(tilt["TiltAngle"]) for tilt in tilts] == [0.0, 20.0, -20.0]
    assert [float(tilt["PriorRecordDose"]) for tilt in tilts] == [0.0, 3.0, 6.0]
    assert times == sorted(times)
    for tilt in tilts:
        with open_movie(paths["movies"] / PureWindowsPath(tilt["SubFramePath"]).name) as movie:
            info = movie.info
        dose, frames = tilt["FrameDosesAndNumber"].split()
        per_A2 = float(tilt["DoseRate"]) * float(tilt["ExposureTime"]) / 2.0**2
        assert (info.height_px, info.width_px) == (128, 160)
        assert int(tilt["NumSubFrames"]) == int(frames) == raw_frames(info)
        assert float(dose) * int(frames) == pytest.approx(3.0, rel=1e-4)
        assert per_A2 == pytest.approx(float(tilt["ExposureDose"])) == pytest.approx(3.0)
        assert float(tilt["PixelSpacing"]) == 2.0
    assert "Tilt axis angle = 85.0, binning = 1" in paths["mdoc"].read_text()
    assert paths["gain"].exists()
    assert len(list(paths["movies"].glob("*_truth.npz"))) == 3


def raw_frames(info):
    """Frames as the file has them."""
    return info.frame_count if info.eer is None else info.eer.raw_frame_count


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tilt_count": 0}, "`tilt_count`: expected 1 to 1000, found 0"),
        ({"tilt_step_deg": 0.0}, "`tilt_step_deg`: expected more than 0"),
        ({"tilt_count": 61}, "expected angles of at most 80 degrees, found 90"),
        ({"common_share": 1.5}, "`common_share`: expected 0 to 1"),
        ({"tilt_axis_deg": 200.0}, "`tilt_axis_deg`: expected -180 to 180"),
        ({"movie": SimulationSettings(specimen="crystal")}, "found crystal"),
        ({"movie": SimulationSettings(objects=("carbon",))}, "found protein, carbon"),
    ],
)
def test_settings_out_of_their_limits_are_refused(changes, said):
    with pytest.raises(ParameterError, match=said):
        TiltSeriesSettings(**changes)
