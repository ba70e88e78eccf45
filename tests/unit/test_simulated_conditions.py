"""Other specimens, objects in the field and faults of the detector are what they are called."""

from __future__ import annotations

import mrcfile
import numpy as np
import pytest
import tifffile

from flexalign.errors import InputError, ParameterError
from flexalign.simulate import FAULTS, OBJECTS, SPECIMENS, SimulationSettings, simulate_movie
from flexalign.simulate.micrograph import _on_canvas, without_noise
from flexalign.simulate.motions import TrueMotion, make_motion
from flexalign.simulate.placing import deposited_atoms

CLEAN = SimulationSettings(
    shape_px=(192, 224), frame_count=2, pixel_size_A=4.0, electrons_per_px=2000.0, gain=False,
    hot_pixels=0, dead_pixels=0, motion="none", dose_per_frame_e_A2=0.0, in_frame_steps=1,
)  # fmt: skip
NOTHING = {"particles": 0, "ice_thickness_A": 0.0}
MOVES_PX = {"specimen": (3.0, -5.0), "itself": (4.0, 6.0), "detector": (0.0, 0.0)}
MOVE_THEMSELVES, STAY = {"contaminant"}, {"still-carbon", "shadow", "beam-edge"}


def moved_to(displacement_px):
    """The motion of a rigid thing that is at `displacement_px` in the second of two frames."""
    path = np.array([[[0.0, 0.0]], [displacement_px]])
    return TrueMotion(
        path, np.zeros((2, 1, 0, 2)), lambda y, x: np.zeros((*np.broadcast(y, x).shape, 0))
    )


def change(first, second, displacement_px):
    """How far `second` differs from `first` moved by whole pixels, in what counting alone gives."""
    moved = np.roll(first, np.array(displacement_px, int), axis=(0, 1))
    inner = (slice(16, -16),) * 2
    return float((second - moved)[inner].std() / np.sqrt(2 * first[inner].mean()))


@pytest.mark.parametrize("name", OBJECTS)
def test_objects_move_with_the_specimen_by_themselves_or_not_at_all(name, monkeypatch):
    motions = {mover: moved_to(shift) for mover, shift in MOVES_PX.items()}
    monkeypatch.setattr("flexalign.simulate.movie.make_motions", lambda _: motions)

    movie = simulate_movie(CLEAN, **NOTHING, objects=(name,), seed=1, threads=1)

    mover = "itself" if name in MOVE_THEMSELVES else "detector" if name in STAY else "specimen"
    found = {way: change(*movie.counts.astype(float), shift) for way, shift in MOVES_PX.items()}
    assert found.pop(mover) < 1.03
    assert min(found.values()) > 1.2
    assert tuple(movie.displacement_px[1, 0, 0]) == MOVES_PX["specimen"]


def test_what_moves_by_itself_goes_another_way_than_the_specimen():
    movie = simulate_movie(
        CLEAN, **NOTHING, objects=("contaminant",), motion="bumps", frame_count=6,
        global_motion_px=12.0, local_motion_px=0.0, threads=1,
    )  # fmt: skip
    first, last = movie.counts[[0, -1]].astype(float)
    specimen = movie.displacement_px[-1, 0, 0].round()

    assert change(first, last, specimen) > 1.5
    assert change(first, last, (0, 0)) > 1.5


def test_objects_of_the_field_are_part_of_the_specimen_and_the_shadow_is_not():
    plain, foil, shadow = (
        simulate_movie(CLEAN, objects=objects, threads=1).specimen
        for objects in ((), ("gold-foil",), ("shadow",))
    )

    assert foil.min() < 0.6 < plain.min()
    assert np.array_equal(shadow, plain)


@pytest.mark.parametrize("specimen", SPECIMENS)
def test_stain_outlasts_the_beam_and_nothing_else(specimen):
    movie = simulate_movie(
        CLEAN, specimen=specimen, dose_per_frame_e_A2=60.0, electrons_per_px=20_000.0, threads=1
    )
    first, second = (frame.astype(float).std() for frame in movie.counts)

    if specimen == "negative-stain":
        assert second == pytest.approx(first, rel=0.05)
    else:
        assert second < 0.8 * first


def test_protein_is_bright_in_stain():
    settings = {"particles": 1, "ice_thickness_A": 0.0, "finest_signal_A": 40.0, "threads": 1}
    stained = simulate_movie(CLEAN, specimen="negative-stain", seed=2, **settings).specimen - 1
    iced = simulate_movie(CLEAN, specimen="protein", seed=2, **settings).specimen - 1

    assert (stained**3).mean() > 0 > (iced**3).mean()


def test_filaments_are_the_same_all_along():
    settings = SimulationSettings(specimen="filaments", seed=3)
    power = np.abs(np.fft.fft2(deposited_atoms(settings, (120, 150), np.random.default_rng(3))))
    y, x = np.unravel_index(np.argsort(power, axis=None)[::-1][1:9], power.shape)
    y, x = (y + 60) % 120 - 60, (x + 75) % 150 - 75

    assert np.linalg.matrix_rank(np.stack([y, x])) == 1
    assert (y != 0).all()
    assert (x != 0).all()


def test_a_crystal_has_its_power_in_spots_and_scattered_particles_have_not():
    def in_spots(specimen):
        settings = SimulationSettings(specimen=specimen, pixel_size_A=5.0)
        atoms = deposited_atoms(settings, (216, 240), np.random.default_rng(1))
        power = np.sort((np.abs(np.fft.rfft2(atoms - atoms.mean())) ** 2).ravel())
        return power[-len(power) // 40 :].sum() / power.sum()

    assert in_spots("crystal") > 0.95 > 0.9 > in_spots("protein")


def test_nothing_is_finer_than_asked_for():
    image = simulate_movie(CLEAN, finest_signal_A=35.0, threads=1).specimen
    window = np.hanning(192)[:, None] * np.hanning(224)
    frequency = np.hypot(np.fft.fftfreq(192)[:, None], np.fft.rfftfreq(224)) / 4.0
    power = np.abs(np.fft.rfft2((image - 1) * window)) ** 2

    assert power[frequency > 1 / 28].sum() < 1e-3 * power[frequency < 1 / 35].sum()


def test_tilt_lengthens_the_way_through_the_ice_and_takes_contrast():
    """At 60 degrees the beam has another 1000 A of ice: a third of a mean free path."""
    settings = {"finest_signal_A": 60.0, "ice_thickness_A": 1000.0, "threads": 1}
    flat, tilted = (
        simulate_movie(CLEAN, tilt_deg=tilt, **settings).specimen.std() for tilt in (0.0, 60.0)
    )

    assert tilted / flat == pytest.approx(np.exp(-1 / 3), abs=0.03)


def test_a_fast_start_is_over_soon():
    def early_part(motion):
        lengths = []
        for seed in range(10):
            made = make_motion(
                SimulationSettings(motion=motion, frame_count=24, local_motion_px=0.0, seed=seed)
            )
            steps = np.linalg.norm(np.diff(made.path_px.mean(axis=1), axis=0), axis=-1)
            lengths.append(steps[:4].sum() / steps.sum())
        return np.mean(lengths)

    assert early_part("fast-start") > 0.7 > 0.5 > early_part("bumps")


@pytest.mark.parametrize("name", FAULTS[:3])
def test_pixels_with_a_fault_are_bad_and_the_others_count_as_they_should(name):
    movie = simulate_movie(CLEAN, **NOTHING, faults=(name,), shape_px=(256, 256), threads=1)
    mean = movie.counts.mean(axis=0)

    assert mean[~movie.bad_pixels].mean() == pytest.approx(2000, rel=0.01)
    assert mean[~movie.bad_pixels].max() < 2500
    if name == "stuck-blocks":
        assert mean[movie.bad_pixels].min() > 3000
        assert 9 <= movie.bad_pixels.sum() <= 64
    elif name == "bad-lines":
        assert (mean[:, 20:] == 0).all(axis=0).sum() in (1, 2)
        assert (mean == 0).all(axis=1).sum() == 1
        assert (mean > 3000).sum() >= 256
    else:
        assert movie.bad_pixels.sum() == 128 * 128
        assert (mean[movie.bad_pixels] == 0).all()


def test_a_duplicate_frame_has_counts_and_place_of_the_one_before():
    movie = simulate_movie(
        CLEAN, faults=("duplicate-frame",), motion="bumps", frame_count=6, threads=1
    )
    same = [np.array_equal(*movie.counts[i : i + 2]) for i in range(5)]

    assert same == [False, False, True, False, False]
    assert np.array_equal(movie.displacement_px[2], movie.displacement_px[3])
    assert not np.array_equal(movie.displacement_px[3], movie.displacement_px[4])


def test_a_gain_that_is_wrong_leaves_its_error_in_the_frames():
    movie = simulate_movie(
        CLEAN, **NOTHING, gain=True, gain_error=0.1, electrons_per_px=20_000.0, threads=1
    )
    corrected = movie.counts.mean(axis=0) * movie.gain

    assert corrected.std() / corrected.mean() == pytest.approx(0.1, rel=0.05)


@pytest.fixture
def micrograph(tmp_path):
    """A file of a smooth image with noise, (150, 170), mean 40, and the image without noise."""
    clean = simulate_movie(CLEAN, shape_px=(150, 170), finest_signal_A=20.0, threads=1).specimen
    noise = np.random.default_rng(1).standard_normal(clean.shape) * 0.5 * clean.std()
    path = tmp_path / "micrograph.mrc"
    with mrcfile.new(path, (40 * (clean + noise)).astype(np.float32)) as mrc:
        mrc.voxel_size = 4.0
    return path, clean


def likeness(one, other):
    return np.corrcoef(one.ravel(), other.ravel())[0, 1]


def test_a_micrograph_is_moved_without_its_noise_in_place_of_the_specimen(micrograph, monkeypatch):
    path, clean = micrograph
    motions = {"specimen": moved_to((5.0, 2.0))}
    monkeypatch.setattr("flexalign.simulate.movie.make_motions", lambda _: motions)
    movie = simulate_movie(
        CLEAN, specimen=str(path), shape_px=(150, 170), electrons_per_px=50_000.0, threads=1
    )

    assert likeness(mrcfile.read(path), clean) < 0.91
    assert likeness(movie.specimen, clean) > 0.97
    assert movie.counts.mean() == pytest.approx(50_000, rel=0.005)
    assert likeness(movie.counts[1][5:, 2:], clean[:-5, :-2]) > 0.9


def test_noise_goes_by_ring_and_white_noise_goes_whole():
    noise = np.random.default_rng(2).standard_normal((256, 200)).astype(np.float32)

    assert without_noise(noise).std() < 0.1


def test_an_image_goes_on_as_its_mirror_image_or_is_cut():
    image = np.arange(12, dtype=np.float32).reshape(3, 4)

    rows = _on_canvas(image, (9, 4))[:, 0]
    assert rows.tolist() == [8, 4, 0, 0, 4, 8, 8, 4, 0][0:9]
    assert _on_canvas(image, (1, 2)).tolist() == [[5, 6]]


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_an_image_without_a_mean_is_refused(tmp_path, value):
    path = tmp_path / "empty.tiff"
    tifffile.imwrite(path, np.full((32, 32), value, np.float32), photometric="minisblack")

    with pytest.raises(InputError, match="positive mean"):
        simulate_movie(CLEAN, specimen=str(path), threads=1)


@pytest.mark.parametrize(
    "wrong", [{"objects": ("hair",)}, {"faults": ("smoke",)}, {"tilt_deg": 85.0}]
)
def test_names_and_angles_that_there_are_not_are_refused(wrong):
    with pytest.raises(ParameterError, match=next(iter(wrong))):
        SimulationSettings(**wrong)
