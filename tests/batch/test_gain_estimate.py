"""Gain references made of movies, some of which are not fit for it."""

from __future__ import annotations

import mrcfile
import numpy as np
import pytest

from flexalign.errors import InputError
from flexalign.gain.estimate import estimate_gain
from flexalign.io.reference_images import read_image
from flexalign.params import AlignParams

SHAPE = (96, 128)


@pytest.fixture(scope="module")
def true_gain():
    gain = np.exp(0.05 * np.random.default_rng(0).standard_normal(SHAPE))
    return gain / gain.mean()


def write(path, frames):
    with mrcfile.new(path, data=np.asarray(frames, np.int16)) as file:
        file.set_image_stack()
    return path


def frames(gain, electrons=100, count=4, seed=0):
    rng = np.random.default_rng(seed)
    return rng.poisson(electrons * np.stack([1 / gain] * count))


def test_the_gain_is_found_and_its_precision_said(tmp_path, true_gain):
    movies = [write(tmp_path / f"{i}.mrcs", frames(true_gain, seed=i)) for i in range(5)]

    made = estimate_gain(movies, tmp_path / "gain.mrc")

    found = read_image(tmp_path / "gain.mrc")
    good = found > 0
    assert np.std(found[good] / true_gain[good]) == pytest.approx(made.noise, rel=0.1)
    assert made.noise == pytest.approx(1 / np.sqrt(2000), rel=0.1)
    assert made.variation == pytest.approx(0.05, rel=0.1)
    assert made.is_enough
    assert made.movies_for["0.01"] == pytest.approx(5 * (made.noise / 0.01) ** 2, abs=1)


def test_what_it_asks_for_is_enough(tmp_path, true_gain):
    movies = [write(tmp_path / f"{i}.mrcs", frames(true_gain, 40, seed=i)) for i in range(14)]
    few = estimate_gain(movies[:3], tmp_path / "few.mrc")

    assert not few.is_enough
    assert 3 < few.movies_needed <= 14
    assert estimate_gain(movies[: few.movies_needed + 1], tmp_path / "enough.mrc").is_enough


def test_movies_and_frames_that_are_not_fit_are_left_out(tmp_path, true_gain):
    good = write(tmp_path / "good.mrcs", frames(true_gain))
    some = frames(true_gain, seed=1)
    some[1] = 0
    some = write(tmp_path / "some.mrcs", some)
    bar = frames(true_gain, seed=2)
    bar[:, :, :40] //= 10
    bar = write(tmp_path / "bar.mrcs", bar)
    other = write(tmp_path / "other.mrcs", np.ones((3, 64, 64)))
    blank = write(tmp_path / "blank.mrcs", np.zeros((3, *SHAPE)))
    broken = tmp_path / "broken.mrcs"
    broken.write_bytes(b"nothing" * 300)

    made = estimate_gain([good, some, bar, other, blank, broken], tmp_path / "gain.mrc")

    assert (made.movie_count, made.frame_count, made.bad_frame_count) == (2, 7, 1)
    reasons = {path.rsplit("/", 1)[1]: why for path, why in made.left_out.items()}
    assert sorted(reasons) == ["bar.mrcs", "blank.mrcs", "broken.mrcs", "other.mrcs"]
    assert "grid bar" in reasons["bar.mrcs"]
    assert "64 x 64" in reasons["other.mrcs"]


def test_without_a_usable_movie_nothing_is_written(tmp_path):
    blank = write(tmp_path / "blank.mrcs", np.zeros((3, *SHAPE)))

    with pytest.raises(InputError, match=r"blank.mrcs"):
        estimate_gain([blank], tmp_path / "gain.mrc")
    assert not (tmp_path / "gain.mrc").exists()


@pytest.mark.parametrize("rows", ["imod", "file"])
def test_a_tiff_is_read_back_with_the_rows_of_the_movies(tmp_path, true_gain, rows):
    movies = [write(tmp_path / "m.mrcs", frames(true_gain, 1000))]
    params = AlignParams(tiff_rows=rows)

    estimate_gain(movies, tmp_path / "gain.tif", params)

    found = read_image(tmp_path / "gain.tif", tiff_rows=rows)
    assert np.corrcoef(found.ravel(), true_gain.ravel())[0, 1] > 0.9
