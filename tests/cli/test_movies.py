"""From what was typed to the list of movies."""

from __future__ import annotations

from pathlib import Path

import pytest

from flexalign.cli.movies import check_roots, find_movies
from flexalign.errors import InputError


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
        folder / name for name in ("a.MRC", "b.tiff", "c.mrc.bz2", "gain.mrc")
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


def test_two_movies_with_the_same_outputs_are_refused_with_both_names():
    roots = {Path("one/m.tiff"): "m", Path("x.mrc"): "x", Path("two/m.mrc"): "m"}

    with pytest.raises(InputError, match=r"one/m\.tiff and two/m\.mrc: .*different folders"):
        check_roots(roots)
