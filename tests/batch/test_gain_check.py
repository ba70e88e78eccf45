"""Which orientation of a gain reference fits movies: right or not sure, never wrong."""

from __future__ import annotations

from pathlib import Path

import mrcfile
import numpy as np
import pytest

from flexalign.errors import InputError, ParameterError
from flexalign.gain.check import GainChecker, check_gain
from flexalign.gain.verdict import GainCheck, Placement
from flexalign.orientation import ORIENTATIONS
from flexalign.params import AlignParams
from flexalign.simulate import simulate_movie

SQUARE, OBLONG = (192, 192), (160, 224)
INVERSE = {0: 0, 90: 270, 180: 180, 270: 90}


def stored(gain, orientation, sense):
    """The reference that has to be turned like this, and used in this sense, to be `gain`."""
    image = gain if sense == "multiply" else 1 / gain
    if orientation.flip == "upside-down":
        image = np.flipud(image)
    elif orientation.flip == "left-right":
        image = np.fliplr(image)
    return np.rot90(image, INVERSE[orientation.rotate] // 90)


def write(path, image):
    mrcfile.write(path, np.ascontiguousarray(image, np.float32), overwrite=True)
    return str(path)


def counted(path, sensitivity, electrons, frames=4, seed=0):
    """A movie of nothing but evenly spread electrons."""
    rng = np.random.default_rng(seed)
    shape = (frames, *sensitivity.shape)
    counts = rng.poisson(electrons * np.broadcast_to(sensitivity, shape)).astype(np.int8)
    with mrcfile.new(path, data=counts, overwrite=True) as file:
        file.set_image_stack()
    return path


@pytest.fixture(scope="session")
def simulated(tmp_path_factory):
    """Paths of movies and their gain, by shape and format, of specimen that moves."""
    folder, found = tmp_path_factory.mktemp("simulated"), {}
    for shape in (SQUARE, OBLONG):
        movie = simulate_movie(
            shape_px=shape, frame_count=4, seed=5, pixel_size_A=1.5, electrons_per_px=3.0
        )
        for file_format in ("mrc", "tiff", "eer"):
            name = f"{shape[1]}_{file_format}"
            path = movie.save(folder, name, file_format)["movie"]
            found[shape, file_format] = path, movie.gain
    return found


@pytest.mark.parametrize("file_format", ["mrc", "tiff", "eer"])
@pytest.mark.parametrize("shape", [SQUARE, OBLONG])
def test_all_orientations_and_senses_are_found(simulated, tmp_path, shape, file_format):
    movie, gain = simulated[shape, file_format]
    wrong = []
    for orientation in ORIENTATIONS:
        for sense in ("multiply", "divide"):
            path = write(tmp_path / "gain.mrc", stored(gain, orientation, sense))
            params = AlignParams(gain=path, eer_fractions=4, gain_sense="multiply")
            found = check_gain([movie], params)
            is_given = (orientation, sense) == (ORIENTATIONS[0], "multiply")
            verdict = "fits" if is_given else "other"
            place = Placement(orientation.rotate, orientation.flip, sense)
            if (found.verdict, found.found) != (verdict, place):
                wrong.append((orientation, sense, found.describe()))
    assert not wrong


def test_the_options_found_make_the_gain_fit(simulated, tmp_path):
    movie, gain = simulated[OBLONG, "tiff"]
    path = write(tmp_path / "gain.mrc", stored(gain, ORIENTATIONS[5], "divide"))
    found = check_gain([movie], AlignParams(gain=path))

    again = check_gain([movie], AlignParams(gain=path, **found.options()))

    assert (found.verdict, again.verdict) == ("other", "fits")
    assert again.options() == {}


@pytest.mark.parametrize(
    ("electrons", "verdicts"), [(0.1, {"unsure"}), (1.5, {"unsure", "fits"}), (4, {"fits"})]
)
@pytest.mark.parametrize("seed", range(4))
def test_weak_movies_are_never_taken_for_another_orientation(tmp_path, electrons, verdicts, seed):
    rng = np.random.default_rng(seed)
    gain = np.exp(0.02 * rng.standard_normal(SQUARE))
    movie = counted(tmp_path / "m.mrcs", 1 / gain, electrons, seed=seed)
    path = write(tmp_path / "gain.mrc", gain)

    found = check_gain([movie], AlignParams(gain=path))

    assert found.verdict in verdicts


def test_the_number_of_movies_it_asks_for_is_enough(tmp_path):
    gain = np.exp(0.02 * np.random.default_rng(0).standard_normal(SQUARE))
    movies = [counted(tmp_path / f"{i}.mrcs", 1 / gain, 0.4, seed=i) for i in range(8)]
    params = AlignParams(gain=write(tmp_path / "gain.mrc", gain))
    few = check_gain(movies[:1], params)

    enough = check_gain(movies, params)

    assert few.verdict == "unsure"
    assert 4 < few.movies_needed <= 8
    assert enough.verdict == "fits"
    assert len(enough.movies) <= few.movies_needed


@pytest.mark.parametrize("corrected", [False, True])
def test_another_detectors_gain_and_a_gain_used_already_fit_nowhere(tmp_path, corrected):
    gain = np.exp(0.05 * np.random.default_rng(0).standard_normal((2, *SQUARE)))
    movie = counted(tmp_path / "m.mrcs", 1 / gain[0] if not corrected else np.ones(SQUARE), 30)
    path = write(tmp_path / "gain.mrc", gain[1] if not corrected else gain[0])

    found = check_gain([movie], AlignParams(gain=path))

    assert (found.verdict, found.found, found.options()) == ("none", None, {})
    assert "fits in no orientation" in found.describe()


def test_a_reference_noisier_than_what_it_corrects_is_found_or_not_sure(tmp_path):
    rng = np.random.default_rng(0)
    gain = np.exp(0.03 * rng.standard_normal(SQUARE))
    params = AlignParams(
        gain=write(tmp_path / "g.mrc", gain * np.exp(0.06 * rng.standard_normal(SQUARE)))
    )

    few = check_gain([counted(tmp_path / "few.mrcs", 1 / gain, 1)], params)
    many = check_gain([counted(tmp_path / "many.mrcs", 1 / gain, 30)], params)

    assert few.verdict == "unsure"
    assert many.verdict == "fits"
    assert many.candidates[0].part == pytest.approx(0.2, abs=0.05)
    assert "only" in many.describe()


def test_a_faint_movie_does_not_say_that_none_fits(tmp_path):
    gain = np.exp(0.05 * np.random.default_rng(0).standard_normal((2, *SQUARE)))
    movie = counted(tmp_path / "m.mrcs", 1 / gain[0], 0.5)

    found = check_gain([movie], AlignParams(gain=write(tmp_path / "gain.mrc", gain[1])))

    assert found.verdict == "unsure"
    assert found.movies_needed > 1


def test_a_gain_with_nothing_but_defects_and_a_constant_one_say_nothing(tmp_path):
    movie = counted(tmp_path / "m.mrcs", np.ones(SQUARE), 3)
    image = np.ones(SQUARE)
    for defects in (False, True):
        if defects:
            image[:, 40:44] = 0
        found = check_gain([movie], AlignParams(gain=write(tmp_path / "gain.mrc", image)))
        assert found.verdict == "unsure"
        assert "all its pixels are equal" in found.reason
        assert found.movies == ()


def test_orientations_in_which_a_symmetrical_gain_is_the_same_all_fit(tmp_path):
    columns = np.exp(0.05 * np.random.default_rng(0).standard_normal(SQUARE[1]))
    gain = np.broadcast_to(columns, SQUARE)
    movie = counted(tmp_path / "m.mrcs", 1 / gain, 20)
    path = write(tmp_path / "gain.mrc", gain)

    flipped = check_gain([movie], AlignParams(gain=path, gain_flip="upside-down"))
    turned = check_gain([movie], AlignParams(gain=path, gain_rotate=90))

    assert flipped.verdict == "fits"
    assert turned.verdict == "other"
    assert sum(c.is_same_as_best for c in turned.candidates) == 2


def test_orientations_that_differ_too_little_for_the_movie_are_not_told_apart(tmp_path):
    rng = np.random.default_rng(0)
    columns = np.exp(0.05 * rng.standard_normal(SQUARE[1]))
    gain = columns * np.exp(0.004 * rng.standard_normal(SQUARE))
    movie = counted(tmp_path / "m.mrcs", 1 / gain, 10)

    found = check_gain([movie], AlignParams(gain=write(tmp_path / "gain.mrc", gain)))

    assert found.verdict == "unsure"
    assert "(unrotated, multiplies)" in found.reason
    assert "(flipped upside-down, multiplies)" in found.reason


@pytest.mark.parametrize(("factor", "size"), [(2, "twice"), (1, "half")])
@pytest.mark.parametrize("orientation", [ORIENTATIONS[1], ORIENTATIONS[4]])
def test_other_sizes_are_found(tmp_path, factor, size, orientation):
    fine = np.exp(0.05 * np.random.default_rng(0).standard_normal((2 * OBLONG[0], 2 * OBLONG[1])))
    if factor == 2:  # the movie's pixels hold four of the reference's
        h, w = OBLONG
        sensitivity = (1 / fine).reshape(h, 2, w, 2).mean(axis=(1, 3))
        gain = fine
    else:
        gain = fine[: OBLONG[0], : OBLONG[1]]
        sensitivity = 1 / gain.repeat(2, axis=0).repeat(2, axis=1)
    movie = counted(tmp_path / "m.mrcs", sensitivity, 8)
    path = write(tmp_path / "gain.mrc", stored(gain, orientation, "multiply"))

    found = check_gain([movie], AlignParams(gain=path))

    assert found.verdict == "other"
    assert (found.found.rotate, found.found.flip) == (orientation.rotate, orientation.flip)
    assert found.candidates[0].size == size


def test_eer_on_a_finer_grid_is_compared_on_that_of_the_detector(simulated, tmp_path):
    movie, gain = simulated[OBLONG, "eer"]
    path = write(tmp_path / "gain.mrc", 1 / gain)

    found = check_gain([movie], AlignParams(gain=path, eer_fractions=4, eer_upsampling=2))

    assert (found.verdict, found.candidates[0].size) == ("fits", "half")


def test_a_gain_whose_size_fits_in_no_orientation_is_said_to(tmp_path):
    movie = counted(tmp_path / "m.mrcs", np.ones(SQUARE), 3)
    path = write(tmp_path / "gain.mrc", np.random.default_rng(0).random((100, 192)))

    found = check_gain([movie], AlignParams(gain=path))

    assert (found.verdict, found.candidates) == ("none", ())


def test_blank_and_broken_frames_and_movies_are_passed_over(tmp_path):
    gain = np.exp(0.05 * np.random.default_rng(0).standard_normal(SQUARE))
    frames = np.random.default_rng(1).poisson(20 / np.stack([gain] * 5)).astype(np.float32)
    frames[1], frames[3] = 0, np.nan
    with pytest.warns(RuntimeWarning), mrcfile.new(tmp_path / "m.mrcs", data=frames) as file:
        file.set_image_stack()
    (tmp_path / "broken.mrcs").write_bytes(b"no movie" * 400)
    path = write(tmp_path / "gain.mrc", gain)

    found = check_gain([tmp_path / "broken.mrcs", tmp_path / "m.mrcs"], AlignParams(gain=path))

    assert (found.verdict, found.frame_count, len(found.movies)) == ("fits", 3, 1)
    with pytest.raises(InputError, match="broken"):
        check_gain([tmp_path / "broken.mrcs"], AlignParams(gain=path))


def test_frames_whose_mean_was_subtracted_say_nothing(tmp_path):
    gain = np.exp(0.05 * np.random.default_rng(0).standard_normal(SQUARE))
    frames = np.random.default_rng(1).standard_normal((3, *SQUARE)).astype(np.float32)
    frames -= frames.mean()
    with mrcfile.new(tmp_path / "m.mrcs", data=frames) as file:
        file.set_image_stack()

    found = check_gain([tmp_path / "m.mrcs"], AlignParams(gain=write(tmp_path / "g.mrc", gain)))

    assert found.verdict == "unsure"


def test_no_more_frames_are_read_than_the_goal_needs(tmp_path):
    gain = np.exp(0.1 * np.random.default_rng(0).standard_normal(SQUARE))
    movie = counted(tmp_path / "m.mrcs", 1 / gain, 10, frames=12)
    params = AlignParams(gain=write(tmp_path / "gain.mrc", gain))

    found = GainChecker(params, max_px=128, goal_sd=40).take([movie])

    assert found.verdict == "fits"
    assert found.frame_count == 1


def test_a_check_comes_back_from_json(tmp_path, simulated):
    movie, gain = simulated[SQUARE, "mrc"]
    found = check_gain([movie], AlignParams(gain=write(tmp_path / "gain.mrc", gain)))

    assert GainCheck.from_dict(found.to_dict()) == found


def test_a_check_needs_a_gain():
    with pytest.raises(ParameterError, match="`gain`"):
        check_gain([Path("m.mrcs")], AlignParams())
