"""From what was typed to the list of movies."""

from __future__ import annotations

from pathlib import Path

import pytest

from flexalign.batch.inputs import find_movies, is_one_file, listed_parameters
from flexalign.errors import InputError
from flexalign.io.writing.ownership import resolved
from flexalign.params import AlignParams


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """The current folder, with some files in it."""
    (tmp_path / "more").mkdir()
    for name in ("b.tiff", "a.MRC", "c.mrc.bz2", "gain.mrc", "notes.txt", "more/d.eer"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_files_keep_their_order(folder):
    assert find_movies(["b.tiff", "a.MRC"]) == [Path("b.tiff"), Path("a.MRC")]


def test_a_folder_gives_its_movies_but_not_those_below_it(folder):
    assert find_movies([str(folder)]) == [
        folder / name for name in ("a.MRC", "b.tiff", "c.mrc.bz2")
    ]


def test_references_in_a_folder_are_no_movies(folder):
    names = [path.name for path in find_movies(["."], references=("gain.mrc", None))]

    assert names == ["a.MRC", "b.tiff", "c.mrc.bz2"]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [("*.tiff", ["b.tiff"]), ("**/*.eer", ["d.eer"]), ("[ab].*", ["a.MRC", "b.tiff"])],
)
def test_patterns_are_expanded(folder, pattern, names):
    assert [path.name for path in find_movies([pattern])] == names


def test_a_movie_named_twice_is_aligned_once(folder):
    assert find_movies(["b.tiff", "*.tiff", str(folder / "b.tiff"), "./b.tiff"]) == [Path("b.tiff")]


def test_a_file_whose_name_looks_like_a_pattern_is_taken_as_it_is(folder):
    odd = folder / "movie[1].tiff"
    odd.touch()

    assert find_movies([str(odd)]) == [odd]


@pytest.mark.parametrize("argument", ["*.xyz", "more/*.mrc"])
def test_a_pattern_that_matches_nothing_is_an_error_that_names_it(folder, argument):
    with pytest.raises(InputError, match="expected at least one movie there, found none") as error:
        find_movies([argument])

    assert argument in str(error.value)


def test_a_folder_without_movies_is_an_error(tmp_path):
    with pytest.raises(InputError, match=tmp_path.name):
        find_movies([str(tmp_path)])


def test_a_text_file_lists_movies_from_here_or_from_where_it_lies(folder):
    listing = folder / "more" / "session.txt"
    listing.write_text("# the first day\nb.tiff\n\nd.eer\n")

    assert find_movies([str(listing)]) == [Path("b.tiff"), folder / "more" / "d.eer"]


RELION_MOVIES = """
# version 50001

data_optics

loop_
_rlnOpticsGroupName #1
_rlnOpticsGroup #2
_rlnMicrographOriginalPixelSize #3
_rlnVoltage #4
"first day" 1 0.885 200.0

data_movies

loop_
_rlnMicrographMovieName #1
_rlnOpticsGroup #2
b.tiff 1
more/d.eer 1
gone.tiff 1
"""


@pytest.fixture
def star(folder) -> str:
    """RELION's list of movies, two folders below its project."""
    path = folder / "Import" / "job001" / "movies.star"
    path.parent.mkdir(parents=True)
    path.write_text(RELION_MOVIES)
    return str(path)


def test_movies_of_relion_are_found_from_its_project(folder, star, tmp_path_factory, monkeypatch):
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))

    names = [folder / "b.tiff", folder / "more" / "d.eer", Path("gone.tiff")]
    assert find_movies([star]) == names


def test_pixel_size_and_voltage_come_with_the_movies_of_relion(star):
    found = listed_parameters([star], find_movies([star]), AlignParams())

    assert found.common == {"pixel_size_A": 0.885, "voltage_kV": 200.0}
    assert found.own == {}


def test_what_a_list_says_is_not_true_of_other_movies(folder, star):
    found = listed_parameters(["a.MRC", star], find_movies(["a.MRC", star]), AlignParams())

    assert found.common == {}
    assert found.own[resolved("b.tiff")] == {"pixel_size_A": 0.885, "voltage_kV": 200.0}
    assert resolved("a.MRC") not in found.own


def test_movies_of_two_groups_have_each_their_own(folder, star):
    text = RELION_MOVIES.replace("0.885 200.0", '0.885 200.0\n"second day" 2 1.1 200.0')
    Path(star).write_text(text.replace("more/d.eer 1", "more/d.eer 2"))

    found = listed_parameters([star], find_movies([star]), AlignParams(eer_upsampling=2))

    assert found.common == {"voltage_kV": 200.0}
    assert found.own[resolved("b.tiff")] == {"pixel_size_A": 0.885}
    # RELION's pixel is that of the frames it renders, ours that of the camera.
    assert found.own[resolved("more/d.eer")] == {"pixel_size_A": 2.2}


def test_what_is_given_otherwise_counts(folder, star):
    text = RELION_MOVIES.replace("0.885 200.0", '0.885 200.0\n"second day" 2 1.1 200.0')
    Path(star).write_text(text.replace("more/d.eer 1", "more/d.eer 2"))

    found = listed_parameters([star], find_movies([star]), AlignParams(), fixed={"pixel_size_A"})

    assert (found.common, found.own) == ({"voltage_kV": 200.0}, {})


def test_two_lists_that_contradict_each_other_are_refused(folder, star):
    other = Path(star).with_name("again.star")
    other.write_text(RELION_MOVIES.replace("0.885", "1.1"))

    with pytest.raises(
        InputError, match=r"again.star: expected each movie with the same values.*b.tiff twice"
    ):
        listed_parameters([star, str(other)], find_movies([star]), AlignParams())


def test_a_star_file_without_movies_is_an_error(folder):
    (folder / "particles.star").write_text("data_\nloop_\n_rlnImageName #1\n1@a.mrcs\n")

    with pytest.raises(InputError, match="rlnMicrographMovieName; found none"):
        find_movies(["particles.star"])


def test_only_a_file_by_its_name_is_one_movie(folder):
    (folder / "list.txt").write_text("b.tiff\n")

    assert is_one_file(["b.tiff"])
    assert not any(map(is_one_file, (["."], ["*.tiff"], ["list.txt"], ["b.tiff", "a.MRC"])))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_lists_of_windows_and_lines_too_long_for_names_are_read(tmp_path, encoding):
    movie = tmp_path / "m.mrc"
    movie.touch()
    listed = tmp_path / "movies.txt"
    listed.write_bytes(f"{movie}\r\n{'x' * 3000}\r\n".encode(encoding))

    assert find_movies([str(listed)]) == [movie, Path("x" * 3000)]


def test_a_word_that_is_no_name_is_taken_for_one(tmp_path):
    """Whoever opens it says what is wrong."""
    assert find_movies(["x" * 3000 + ".mrc"]) == [Path("x" * 3000 + ".mrc")]
