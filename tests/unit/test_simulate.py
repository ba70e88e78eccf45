"""The simulator must be right by itself: everything else is judged by it."""

from __future__ import annotations

import json

import imagecodecs
import mrcfile
import numpy as np
import pytest
import tifffile

from flexalign.errors import ParameterError
from flexalign.simulate import MOTIONS, SimulationSettings, motion_error_px, simulate_movie
from flexalign.simulate.detector import make_detector
from flexalign.simulate.motions import JUMP_A, TrueMotion, make_motion
from flexalign.simulate.movie import Canvas, _source_displacement_px
from flexalign.simulate.placing import particle_atoms_A

SMALL = SimulationSettings(
    shape_px=(160, 192), frame_count=4, pixel_size_A=2.0, particles=4, hot_pixels=3, dead_pixels=2
)


@pytest.fixture(scope="module")
def small():
    return simulate_movie(SMALL, threads=2)


def shift_between(first, second):
    """Whole-pixel (y, x) by which the content of `second` is at a larger index than in `first`."""
    spectra = [np.fft.fft2(image - image.mean()) for image in (first, second)]
    correlation = np.fft.ifft2(spectra[1] * np.conj(spectra[0])).real
    peak = np.unravel_index(correlation.argmax(), correlation.shape)
    return tuple(int((p + n // 2) % n - n // 2) for p, n in zip(peak, first.shape, strict=True))


def moved_by(monkeypatch, displacement_px, **changes):
    """A clean movie of two frames, the second at `displacement_px` (2,) or, by step, (steps, 2)."""
    steps = np.atleast_2d(displacement_px)
    path = np.stack([np.zeros(steps.shape), steps])
    course = np.zeros((2, len(steps), 0, 2))
    motion = TrueMotion(path, course, lambda y, x: np.zeros((*np.broadcast(y, x).shape, 0)))
    monkeypatch.setattr("flexalign.simulate.movie.make_motions", lambda _: {"specimen": motion})
    settings = {
        "shape_px": (192, 160), "frame_count": 2, "electrons_per_px": 5000.0, "gain": False,
        "dose_per_frame_e_A2": 0.0, "hot_pixels": 0, "dead_pixels": 0, "in_frame_steps": len(steps),
    }  # fmt: skip
    return simulate_movie(SimulationSettings(**{**settings, **changes}), threads=1)


def test_equal_settings_give_equal_movies_whatever_the_threads(small):
    again = simulate_movie(SMALL, threads=1)

    assert np.array_equal(small.counts, again.counts)
    assert np.array_equal(small.displacement_px, again.displacement_px)


def test_another_seed_gives_another_movie_and_motion(small):
    other = simulate_movie(SMALL, seed=1, threads=1)

    assert not np.array_equal(small.counts, other.counts)
    assert not np.allclose(small.displacement_px, other.displacement_px)


def test_positive_displacement_moves_the_content_to_larger_index(monkeypatch):
    movie = moved_by(monkeypatch, (3.0, -5.0))

    assert shift_between(movie.counts[0].astype(float), movie.counts[1].astype(float)) == (3, -5)


def test_a_displaced_frame_sampled_at_p_plus_displacement_is_the_specimen(monkeypatch):
    movie = moved_by(monkeypatch, (7.0, 4.0))

    frame = movie.counts[1] / 5000.0
    corrected = frame[7:, 4:]
    assert np.corrcoef(corrected.ravel(), movie.specimen[:-7, :-4].ravel())[0, 1] > 0.9


def test_what_moves_in_at_the_edge_is_real_specimen_and_not_a_mirror_image(monkeypatch):
    movie = moved_by(monkeypatch, (30.0, 0.0))

    frame = movie.counts[1].astype(float)
    edge, mirrored = frame[:30], frame[60:30:-1]
    assert abs(np.corrcoef(edge.ravel(), mirrored.ravel())[0, 1]) < 0.2
    assert edge.std() == pytest.approx(mirrored.std(), rel=0.3)


def test_local_motion_warps_the_frames_as_the_truth_says():
    movie = simulate_movie(
        shape_px=(320, 320), frame_count=3, pixel_size_A=2.0, electrons_per_px=2000.0,
        dose_per_frame_e_A2=0.0, gain=False, hot_pixels=0, dead_pixels=0, in_frame_steps=1,
        global_motion_px=0.0, local_motion_px=6.0, ice_thickness_A=2000.0, threads=2, seed=5,
    )  # fmt: skip
    dy, dx = movie.displacement_at(2, np.arange(320)[:, None], np.arange(320)[None, :])
    rows = np.clip(np.rint(np.arange(320)[:, None] + dy).astype(int), 0, 319)
    columns = np.clip(np.rint(np.arange(320)[None, :] + dx).astype(int), 0, 319)
    inner = (slice(16, -16),) * 2

    def likeness(image):
        return np.corrcoef(image[inner].ravel(), movie.specimen[inner].ravel())[0, 1]

    frame = movie.counts[2].astype(float)
    assert np.hypot(dy, dx).max() > 5
    assert likeness(frame[rows, columns]) > likeness(frame) + 0.1
    assert likeness(frame[rows, columns]) > 0.8


def test_warp_inverts_the_displacement_where_it_is_steep():
    """A place q of the frame shows the specimen of q + back, which the motion takes to q."""
    settings = SimulationSettings(shape_px=(256, 256), local_motion_px=12.0, seed=3)
    motion = make_motion(settings)
    canvas = Canvas.around(settings, [motion])
    y, x = canvas.lattice_px()
    back = _source_displacement_px(motion, 20, 1, canvas)

    there = motion.step_displacement_px(20, 1, y + back[0], x + back[1])
    inside = (y >= 0) & (y < 256) & (x >= 0) & (x < 256)
    assert np.abs(back + there)[:, inside].max() < 1e-3


def test_movement_within_a_frame_blurs_it(monkeypatch):
    """A smear along y by 6 px takes detail from y and leaves that along x."""
    movie = moved_by(monkeypatch, np.stack([np.linspace(-3, 3, 7), np.zeros(7)], axis=1))
    sharp, smeared = movie.counts.astype(float)

    def roughness(image, axis):
        return np.diff(image, axis=axis).std()

    assert roughness(smeared, 0) < 0.6 * roughness(sharp, 0)
    assert roughness(smeared, 0) < 0.8 * roughness(smeared, 1)


def test_displacement_on_the_lattice_is_what_the_formula_gives_anywhere(small):
    y, x = small.lattice_y_px, small.lattice_x_px

    assert small.displacement_px.shape == (4, 17, 17, 2)
    assert (y[-1], x[-1]) == (159, 191)
    dy, dx = small.displacement_at(3, y[5], x[[2, 9]])
    assert np.allclose(np.stack([dy, dx], axis=-1), small.displacement_px[3, 5, [2, 9]])


@pytest.mark.parametrize("motion", MOTIONS)
def test_displacement_is_zero_in_the_first_frame(motion):
    settings = SimulationSettings(motion=motion, seed=3)
    dy, dx = make_motion(settings).displacement_px(0, np.arange(0, 1024, 100), 500.0)

    assert np.allclose([dy, dx], 0.0, atol=1e-12)


@pytest.mark.parametrize("motion", ["bumps", "polynomial", "measured", "jump"])
def test_local_motion_has_the_size_asked_for_and_scales_exactly(motion):
    y = np.linspace(0, 1023, 17)

    def field(local_motion_px):
        settings = SimulationSettings(motion=motion, seed=8, local_motion_px=local_motion_px)
        lattice = make_motion(settings).on_lattice(y, y)
        return lattice - lattice.mean(axis=(1, 2), keepdims=True)

    assert np.linalg.norm(field(4.0), axis=-1).max() == pytest.approx(4.0)
    assert np.allclose(2.5 * field(4.0), field(10.0))
    assert np.allclose(field(0.0), 0.0)


@pytest.mark.parametrize("motion", ["bumps", "polynomial", "measured"])
def test_trajectory_goes_as_far_as_asked(motion):
    settings = SimulationSettings(motion=motion, seed=2, global_motion_px=12.0)
    path = make_motion(settings).on_lattice(np.linspace(0, 1023, 17), np.linspace(0, 1023, 17))

    assert np.linalg.norm(path.mean(axis=(1, 2)), axis=-1).max() == pytest.approx(12.0)


def test_no_motion_is_still():
    assert not make_motion(SimulationSettings(motion="none")).on_lattice([0.0, 500.0], [9.0]).any()


@pytest.mark.parametrize("seed", range(4))
def test_jump_is_one_step_of_40_A(seed):
    settings = SimulationSettings(
        motion="jump", seed=seed, pixel_size_A=2.0, global_motion_px=6.0, local_motion_px=0.0
    )
    dy, dx = make_motion(settings).displacement_px(np.arange(30), 100.0, 100.0)
    steps = np.hypot(np.diff(dy), np.diff(dx))

    assert steps.max() == pytest.approx(JUMP_A / 2.0, abs=2.0)
    assert np.sort(steps)[-2] < 3.0


def test_bumps_move_fast_early_and_slowly_later():
    early, late = [], []
    for seed in range(20):
        motion = make_motion(SimulationSettings(seed=seed, local_motion_px=0.0))
        steps = np.linalg.norm(np.diff(motion.path_px.mean(axis=1), axis=0), axis=-1)
        early.append(steps[:5].mean())
        late.append(steps[-10:].mean())

    assert np.mean(early) > 2 * np.mean(late)


def test_measured_steps_look_like_those_of_real_movies():
    steps = []
    for seed in range(40):
        motion = make_motion(
            SimulationSettings(
                motion="measured",
                seed=seed,
                frame_count=24,
                global_motion_px=13.0,
            )
        )
        steps.append(np.linalg.norm(np.diff(motion.path_px.mean(axis=1), axis=0), axis=-1))
    mean = np.mean(steps, axis=0)

    assert mean[0] == pytest.approx(0.75, abs=0.2)
    assert mean[1:4].max() == pytest.approx(0.9, abs=0.15)
    assert mean[-3:].mean() == pytest.approx(0.45, abs=0.1)


def test_polynomial_is_of_third_order_in_time_and_second_in_space():
    motion = make_motion(SimulationSettings(motion="polynomial", frame_count=12, seed=4))
    lattice = motion.on_lattice(np.linspace(0, 1000, 9), np.linspace(0, 1000, 9))

    assert np.allclose(np.diff(lattice, n=4, axis=0), 0.0, atol=1e-10)
    assert np.allclose(np.diff(lattice, n=3, axis=1), 0.0, atol=1e-10)
    assert np.abs(np.diff(lattice, n=2, axis=1)).max() > 1e-3


def test_mean_counts_are_the_electrons_asked_for():
    movie = simulate_movie(SMALL, electrons_per_px=1.7, hot_pixels=0, dead_pixels=0, threads=2)

    assert movie.counts.mean() == pytest.approx(1.7, rel=0.01)


def test_gain_flattens_the_detector():
    """Column structure in the raw sum, none once it is multiplied by the gain."""
    movie = simulate_movie(
        SMALL, frame_count=2, electrons_per_px=2000.0, particles=0, ice_thickness_A=0.0,
        hot_pixels=0, dead_pixels=0, threads=2,
    )  # fmt: skip
    raw = movie.counts.mean(axis=0)
    corrected = raw * movie.gain

    assert movie.gain.std() == pytest.approx(0.05, abs=0.015)
    assert raw.mean(axis=0).std() > 0.015 * 2000
    assert corrected.mean(axis=0).std() < 0.003 * 2000
    assert corrected.mean() == pytest.approx(2000, rel=0.002)


def test_without_gain_all_pixels_are_equal():
    movie = simulate_movie(
        SMALL, gain=False, electrons_per_px=1000.0, particles=0, ice_thickness_A=0.0,
        hot_pixels=0, dead_pixels=0, threads=1,
    )  # fmt: skip

    assert movie.gain is None
    assert movie.counts.mean(axis=0).std() == pytest.approx(np.sqrt(1000 / 4), rel=0.05)


def test_bad_pixels_are_hot_or_dead_and_no_others():
    movie = simulate_movie(SMALL, frame_count=30, hot_pixels=20, dead_pixels=7, threads=2)
    total = movie.counts.sum(axis=0, dtype=int)

    assert movie.bad_pixels.sum() == 27
    assert (total[movie.bad_pixels] == 0).sum() == 7
    assert (total[movie.bad_pixels] > 60).sum() == 20
    assert total[movie.bad_pixels].max() > 2500
    assert total[~movie.bad_pixels].max() < 80


def test_intensity_varies_by_a_few_percent_about_one(small):
    assert small.specimen.mean() == pytest.approx(1.0, abs=0.02)
    assert 0.01 < small.specimen.std() < 0.12


def test_protein_is_dark_at_low_resolution():
    movie = simulate_movie(
        shape_px=(512, 512), frame_count=2, particles=1, ice_thickness_A=0.0, threads=2, seed=2
    )
    blurred = np.fft.irfft2(
        np.fft.rfft2(movie.specimen)
        * (np.hypot(np.fft.fftfreq(512)[:, None], np.fft.rfftfreq(512)) < 1 / 60)
    )

    assert abs(blurred.min() - 1) > 2 * abs(blurred.max() - 1)


def test_damage_takes_the_high_frequencies_of_late_frames():
    """At 300 kV the power at 5 A falls by exp(-D / Nc), Nc = 6.4 e/A2; at 20 A hardly at all."""
    movie = simulate_movie(
        shape_px=(256, 256), frame_count=2, electrons_per_px=20000.0, dose_per_frame_e_A2=6.0,
        motion="none", gain=False, hot_pixels=0, dead_pixels=0, threads=1,
    )  # fmt: skip
    frequency = np.hypot(np.fft.fftfreq(256)[:, None], np.fft.rfftfreq(256))
    power = [np.abs(np.fft.rfft2(frame)) ** 2 for frame in movie.counts.astype(float)]

    def left(low, high):
        ring = (frequency > low) & (frequency < high)
        noise = 20000.0 * 256**2
        return (power[1][ring].mean() - noise) / (power[0][ring].mean() - noise)

    assert left(0.19, 0.21) == pytest.approx(np.exp(-6.0 / 6.39), rel=0.05)
    assert left(0.04, 0.06) == pytest.approx(np.exp(-6.0 / 38.7), rel=0.05)


def test_particle_is_a_hollow_shell_of_protein_like_density():
    radius = np.linalg.norm(particle_atoms_A(), axis=1)

    assert np.allclose(particle_atoms_A().mean(axis=0), 0.0, atol=1e-6)
    assert radius.min() > 35
    assert radius.max() < 67
    assert len(radius) / (4 / 3 * np.pi * (61.0**3 - 41.0**3)) == pytest.approx(0.04, abs=0.015)


def test_too_many_particles_are_refused():
    with pytest.raises(ParameterError, match="particles"):
        simulate_movie(SMALL, particles=60, threads=1)


@pytest.mark.parametrize(
    "wrong",
    [{"motion": "wild"}, {"frame_count": 1}, {"electrons_per_px": 0.0}, {"local_motion_px": -1.0}],
)
def test_settings_out_of_limits_are_refused(wrong):
    with pytest.raises(ParameterError, match=next(iter(wrong))):
        SimulationSettings(**wrong)


def test_progress_reports_every_frame():
    seen = []
    simulate_movie(SMALL, threads=1, progress=lambda done, total: seen.append((done, total)))

    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_mrc_holds_the_counts(small, tmp_path):
    paths = small.save(tmp_path, "a")

    with mrcfile.open(paths["movie"]) as mrc:
        assert mrc.header.mode == 0
        assert np.array_equal(mrc.data, small.counts)
        assert mrc.voxel_size.x == pytest.approx(2.0)
    with mrcfile.open(paths["gain"]) as mrc:
        assert np.array_equal(mrc.data, small.gain)
    assert {p.name for p in tmp_path.iterdir()} == {"a.mrc", "a_gain.mrc", "a_truth.npz"}


def test_mrc_of_many_electrons_is_mode_6(tmp_path):
    movie = simulate_movie(SMALL, electrons_per_px=300.0, gain=False, threads=1)
    paths = movie.save(tmp_path, "a")

    with mrcfile.open(paths["movie"]) as mrc:
        assert mrc.header.mode == 6
        assert np.array_equal(mrc.data, movie.counts)
    assert "gain" not in paths


def test_tiff_holds_the_counts_with_the_last_row_first(small, tmp_path):
    paths = small.save(tmp_path, "a", "tiff")

    with tifffile.TiffFile(paths["movie"]) as tiff:
        assert len(tiff.pages) == 4
        assert tiff.pages[0].compression == tifffile.COMPRESSION.LZW
        pages = tiff.asarray(key=slice(None))
    assert np.array_equal(pages[:, ::-1], small.counts)


def test_eer_events_add_up_to_the_counts(small, tmp_path):
    paths = small.save(tmp_path, "a", "eer")
    raw = int(small.counts.max())

    total = np.zeros_like(small.counts, dtype=int)
    with tifffile.TiffFile(paths["movie"]) as tiff:
        assert len(tiff.pages) == 4 * raw
        for number, page in enumerate(tiff.pages):
            tiff.filehandle.seek(page.dataoffsets[0])
            stream = tiff.filehandle.read(page.databytecounts[0])
            total[number // raw] += imagecodecs.eer_decode(stream, small.counts.shape[1:], 7, 2, 2)
    assert np.array_equal(total, small.counts)
    assert np.allclose(tifffile.imread(paths["gain"]), small.gain)
    with mrcfile.open(paths["gain_counts"]) as mrc:
        assert np.allclose(mrc.data * small.gain, 1.0)


def test_eer_places_are_spread_evenly_within_pixels(small, tmp_path):
    paths = small.save(tmp_path, "a", "eer")

    fine = np.zeros((640, 768), int)
    with tifffile.TiffFile(paths["movie"]) as tiff:
        for page in tiff.pages[: len(tiff.pages) // 2]:
            tiff.filehandle.seek(page.dataoffsets[0])
            stream = tiff.filehandle.read(page.databytecounts[0])
            fine += imagecodecs.eer_decode(stream, (640, 768), 7, 2, 2, superres=2)
    places = fine.reshape(160, 4, 192, 4).sum(axis=(0, 2))
    assert np.allclose(places / places.mean(), 1.0, atol=0.06)


def test_fewer_raw_frames_than_counts_cut_off_the_fullest_pixels(small, tmp_path):
    paths = small.save(tmp_path, "a", "eer", raw_frames_per_frame=5)

    with tifffile.TiffFile(paths["movie"]) as tiff:
        assert len(tiff.pages) == 20


def test_truth_file_holds_everything_to_judge_by(small, tmp_path):
    paths = small.save(tmp_path, "a")

    with np.load(paths["truth"]) as truth:
        assert np.array_equal(truth["displacement_px"], small.displacement_px)
        assert np.array_equal(truth["specimen"], small.specimen)
        settings = SimulationSettings.from_dict(json.loads(str(truth["settings"])))
        assert motion_error_px(small.motion, truth).rms_px == pytest.approx(0.0, abs=1e-12)
    assert settings == SMALL


def test_unknown_format_is_refused(small, tmp_path):
    with pytest.raises(ParameterError, match="file_format"):
        small.save(tmp_path, "a", "png")


def test_motion_error_ignores_a_constant_and_measures_lengths(small):
    class Off:
        """The truth, plus a constant, plus 3 and 4 px with alternating sign."""

        def displacement_px(self, frame, y, x):
            dy, dx = small.displacement_at(frame, y, x)
            sign = 1 - 2 * (np.asarray(frame) % 2)
            return dy + 100 + 3 * sign, dx - 7 + 4 * sign

    error = motion_error_px(Off(), small)
    assert error.rms_px == pytest.approx(5.0)
    assert error.worst_px == pytest.approx(5.0)


def test_motion_error_of_no_motion_is_the_size_of_the_motion(small):
    still = make_motion(SimulationSettings(motion="none", frame_count=4))
    truth = small.displacement_px - small.displacement_px.mean(axis=0)

    expected = np.sqrt((truth**2).sum(axis=-1).mean())
    assert motion_error_px(still, small).rms_px == pytest.approx(expected)
    assert motion_error_px(still, small, frames=[2]).rms_px == 0.0


def test_movies_of_one_detector_share_gain_and_bad_pixels_and_nothing_else():
    common = {"shape_px": (96, 128), "gain_error": 0.1, "faults": ("bad-lines",)}
    first, second = (
        make_detector(SimulationSettings(**common, seed=seed, detector_seed=7)) for seed in (1, 2)
    )
    own = make_detector(SimulationSettings(**common, seed=1))

    np.testing.assert_array_equal(first.gain, second.gain)
    np.testing.assert_array_equal(first.rate, second.rate)
    np.testing.assert_array_equal(first.bad_pixels, second.bad_pixels)
    assert not np.array_equal(first.gain, own.gain)
    motions = [make_motion(SimulationSettings(**common, seed=s, detector_seed=7)) for s in (1, 2)]
    assert not np.array_equal(motions[0].path_px, motions[1].path_px)
