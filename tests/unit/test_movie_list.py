"""What RELION's list of movies says of each movie."""

from __future__ import annotations

import pytest

from flexalign.errors import InputError
from flexalign.io.movie_list import read_movie_list
from flexalign.io.star import star_loop, write_star

OPTICS = {
    "rlnOpticsGroupName": ["one", "two", "unused"],
    "rlnOpticsGroup": [1, 2, 3],
    "rlnMicrographOriginalPixelSize": ["0.8", "1.1", "unknown"],
    "rlnVoltage": ["300", "200", "-1"],
}
MOVIES = {"rlnMicrographMovieName": ["a.mrc", "b.mrc"], "rlnOpticsGroup": [1, 2]}


def saved(tmp_path, movies, optics=OPTICS):
    blocks = [star_loop("optics", optics)] if optics else []
    write_star(tmp_path / "movies.star", [*blocks, star_loop("movies", movies)])
    return tmp_path / "movies.star"


def test_each_movie_has_what_its_group_says_whatever_unused_groups_say(tmp_path):
    found = read_movie_list(saved(tmp_path, MOVIES))

    assert [movie.optics_group for movie in found] == [1, 2]
    assert [dict(movie.parameters) for movie in found] == [
        {"pixel_size_A": 0.8, "voltage_kV": 300.0},
        {"pixel_size_A": 1.1, "voltage_kV": 200.0},
    ]


def test_columns_of_movies_are_read_and_win_over_those_of_groups(tmp_path):
    (tmp_path / "gain 1.mrc").touch()
    columns = {
        "rlnMicrographPreExposure": [0, 3.5],
        "rlnMicrographDoseRate": [0, 1.25],
        "rlnMicrographGainName": ["None", str(tmp_path / "gain 1.mrc")],
        "rlnMicrographDefectFile": ["", "none.txt"],
        "rlnVoltage": ["300", "120"],
    }

    one, two = (dict(movie.parameters) for movie in read_movie_list(
        saved(tmp_path, {**MOVIES, **columns})
    ))  # fmt: skip

    assert one == {"pixel_size_A": 0.8, "voltage_kV": 300.0, "pre_exposure_e_A2": 0.0}
    assert two.pop("gain") == str(tmp_path / "gain 1.mrc")
    assert two.pop("defects").endswith("/none.txt")
    assert two == {
        "pixel_size_A": 1.1, "voltage_kV": 120.0, "pre_exposure_e_A2": 3.5,
        "dose_per_frame_e_A2": 1.25,
    }  # fmt: skip


def test_lists_of_older_versions_have_all_in_one_table(tmp_path):
    found = read_movie_list(
        saved(tmp_path, {"rlnMicrographMovieName": ["a.mrc"], "rlnVoltage": [200]}, None)
    )

    assert [dict(movie.parameters) for movie in found] == [{"voltage_kV": 200.0}]


@pytest.mark.parametrize(
    ("movies", "optics", "words"),
    [
        ({**MOVIES, "rlnVoltage": ["300", "fast"]}, OPTICS, "numbers in the column _rlnVoltage"),
        ({**MOVIES, "rlnVoltage": ["300", "nan"]}, OPTICS, "b.mrc: `voltage_kV`"),
        ({**MOVIES, "rlnVoltage": ["300", "-1"]}, OPTICS, "b.mrc: `voltage_kV`"),
        (MOVIES, {**OPTICS, "rlnMicrographOriginalPixelSize": ["abc"] * 3}, "found abc"),
        ({**MOVIES, "rlnOpticsGroup": [1, 4]}, OPTICS, "b.mrc in an optics group.*number 4"),
        ({**MOVIES, "rlnOpticsGroup": [1, "x"]}, OPTICS, "column _rlnOpticsGroup, found x"),
        (MOVIES, {**OPTICS, "rlnOpticsGroup": [1, 2, 2]}, "once among the optics groups"),
        ({"rlnImageName": ["1@a.mrcs"]}, OPTICS, "column _rlnMicrographMovieName; found none"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path, movies, optics, words):
    with pytest.raises(InputError, match=f"movies.star.*{words}"):
        read_movie_list(saved(tmp_path, movies, optics))
