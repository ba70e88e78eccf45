"""Which pixel sizes and doses cannot be right, and which only look so."""

from __future__ import annotations

import math

import mrcfile
import numpy as np
import pytest

from flexalign.batch.first_movies import DOSE_MOVIES, first_movies
from flexalign.errors import ParameterError
from flexalign.io.movies.open_movie import open_for
from flexalign.params import AlignParams
from flexalign.plan import make_plan
from flexalign.quality.dose_check import counted_dose_e_A2, dose_finding
from flexalign.simulate import simulate_movie

SHAPE_PX, FRAMES = (256, 256), 40


def movie_of(path, electrons_per_px, dtype=np.int8, frames=FRAMES, scale=1):
    """A movie of evenly spread electrons, of `scale` counts each."""
    rng = np.random.default_rng(1)
    counts = (scale * rng.poisson(electrons_per_px, (frames, *SHAPE_PX))).astype(dtype)
    with mrcfile.new(path, data=counts, overwrite=True) as file:
        file.set_image_stack()
    return path


def admit(tmp_path, movies, **values):
    params = AlignParams(**{"pixel_size_A": 1.0, **values})
    return first_movies(params, tmp_path / "out", lambda event: None).admit(movies)


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.float32])
def test_the_dose_of_the_movie_as_that_of_a_frame_stops_any_kind_of_movie(tmp_path, dtype):
    movie = movie_of(tmp_path / "m.mrcs", 1.25, dtype)

    with pytest.raises(ParameterError, match=r"`dose_per_frame_e_A2`: .* 300 .* give 1\.25;"):
        admit(tmp_path, [movie], dose_per_frame_e_A2=50.0)
    assert admit(tmp_path, [movie], dose_per_frame_e_A2=1.25).dose_per_frame_e_A2 == 1.25


def test_off_goes_on_with_it(tmp_path):
    movie = movie_of(tmp_path / "m.mrcs", 1.25)

    params = admit(tmp_path, [movie], dose_per_frame_e_A2=50.0, dose_check="off", pixel_size_A=20.0)

    assert params.dose_per_frame_e_A2 == 50.0


@pytest.mark.parametrize(
    ("size_A", "stops"), [(0.1, True), (0.15, False), (8.0, False), (10, True)]
)
def test_pixel_sizes_that_no_movie_has_stop(tmp_path, size_A, stops):
    movie = movie_of(tmp_path / "m.mrcs", 1.0)
    if not stops:
        admit(tmp_path, [movie], pixel_size_A=size_A)
        return
    with pytest.raises(ParameterError, match=r"`pixel_size_A`: .*`dose_check` off"):
        admit(tmp_path, [movie], pixel_size_A=size_A)


def test_a_high_dose_that_the_detector_counted_is_right(tmp_path):
    movie = movie_of(tmp_path / "m.mrcs", 20.0)

    admit(tmp_path, [movie], dose_per_frame_e_A2=24.0)


@pytest.mark.parametrize("count", [1, DOSE_MOVIES - 1, DOSE_MOVIES])
def test_few_counts_stop_when_all_first_movies_have_them(tmp_path, count):
    movies = [movie_of(tmp_path / f"{i}.mrcs", 0.08) for i in range(count)]

    if count < DOSE_MOVIES:
        admit(tmp_path, movies, dose_per_frame_e_A2=3.0)
        return
    with pytest.raises(ParameterError, match="expected counts of about the dose"):
        admit(tmp_path, movies, dose_per_frame_e_A2=3.0)


def test_movies_of_a_grid_bar_do_not_stop_a_run_whose_others_have_counts(tmp_path):
    dark = [movie_of(tmp_path / f"dark{i}.mrcs", 0.01) for i in range(DOSE_MOVIES - 1)]
    bright = [movie_of(tmp_path / f"m{i}.mrcs", 1.0) for i in range(3)]

    for movies in ([*dark, *bright], [bright[0], *dark, bright[1]]):
        admit(tmp_path, movies, dose_per_frame_e_A2=1.2)


@pytest.mark.parametrize("scale", [1, 40, 300])
@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_counts_of_integrating_detectors_say_nothing(tmp_path, dtype, scale):
    movies = [movie_of(tmp_path / f"{i}.mrcs", 0.05, dtype, scale=scale) for i in range(3)]

    admit(tmp_path, movies, dose_per_frame_e_A2=3.0)
    admit(tmp_path, movies, dose_per_frame_e_A2=0.001)


def test_tilts_of_thick_specimens_and_of_low_dose_do_not_stop(tmp_path):
    movies = [movie_of(tmp_path / f"{i}.mrcs", 0.03, frames=8) for i in range(3)]

    admit(tmp_path, movies, dose_per_frame_e_A2=0.4)
    params = AlignParams(pixel_size_A=1.0, dose_per_frame_e_A2=3.0)
    first_movies(params, tmp_path, lambda event: None, of_tilts=True).admit(movies)


def test_super_resolution_counts_agree_with_the_dose(tmp_path):
    movies = [movie_of(tmp_path / f"{i}.mrcs", 1.2 * 0.3**2) for i in range(3)]

    admit(tmp_path, movies, dose_per_frame_e_A2=1.2, pixel_size_A=0.3)


@pytest.fixture(scope="module")
def eer(tmp_path_factory):
    """An EER movie of one electron per A2 and frame."""
    movie = simulate_movie(
        shape_px=SHAPE_PX, frame_count=4, pixel_size_A=1.0, electrons_per_px=1.0, particles=0,
        threads=1,
    )  # fmt: skip
    return movie.save(tmp_path_factory.mktemp("eer"), "m", "eer")["movie"]


@pytest.mark.parametrize("upsampling", [1, 2])
def test_more_events_than_electrons_stop(tmp_path, eer, upsampling):
    eer_options = {"eer_fractions": 4, "eer_upsampling": upsampling}

    for dose_e_A2 in (0.6, 1.0, 3.0):
        admit(tmp_path, [eer], dose_per_frame_e_A2=dose_e_A2, **eer_options)
    with pytest.raises(ParameterError, match="no more events than electrons"):
        admit(tmp_path, [eer], dose_per_frame_e_A2=0.05, **eer_options)


def test_a_movie_that_cannot_be_read_is_left_to_its_alignment(tmp_path):
    (tmp_path / "broken.mrcs").write_bytes(b"no movie")

    admit(tmp_path, [tmp_path / "broken.mrcs", tmp_path / "missing.mrcs"], dose_per_frame_e_A2=50.0)


def test_the_counted_dose_is_that_of_the_electrons(tmp_path):
    params = AlignParams(pixel_size_A=2.0)
    with open_for(movie_of(tmp_path / "m.mrcs", 6.0), params) as reader:
        plan = make_plan(reader.info, params)
        counted_e_A2 = counted_dose_e_A2(reader, plan)

    assert counted_e_A2 == pytest.approx(1.5, rel=0.05)
    assert dose_finding(plan, math.nan) is None
