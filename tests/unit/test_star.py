"""STAR files: lists and loops, quoting, and what is broken."""

from __future__ import annotations

import pytest

from flexalign.errors import InputError
from flexalign.io.star import read_star, star_list, star_loop, write_star


def test_lists_and_loops_come_back_in_their_order(tmp_path):
    path = tmp_path / "a.star"
    blocks = [star_list("b", {"size": 3, "name": "x.mrc"}), star_loop("a", {"n": [1], "m": [2.5]})]

    write_star(path, blocks, "by a test")

    assert read_star(path) == {
        "b": {"size": ["3"], "name": ["x.mrc"]},
        "a": {"n": ["1"], "m": ["2.500000"]},
    }


@pytest.mark.parametrize("word", ["my movie.mrc", "Ana's movie.mrc", "", "a.mrc"])
def test_words_come_back_whatever_is_in_them(tmp_path, word):
    write_star(tmp_path / "a.star", [star_loop("t", {"name": [word], "n": [1]})])

    assert read_star(tmp_path / "a.star")["t"] == {"name": [word], "n": ["1"]}


def test_another_parser_reads_the_same(tmp_path):
    starfile = pytest.importorskip("starfile")
    write_star(
        tmp_path / "a.star",
        [star_list("general", {"rlnVoltage": 300.0}), star_loop("t", {"rlnX": [1, 2, 3]})],
    )

    blocks = starfile.read(tmp_path / "a.star")

    assert blocks["general"]["rlnVoltage"] == 300.0
    assert list(blocks["t"]["rlnX"]) == [1, 2, 3]


def test_a_row_with_a_word_too_few_is_named(tmp_path):
    (tmp_path / "a.star").write_text("data_t\n\nloop_\n_x #1\n_y #2\n1 2\n3\n")

    with pytest.raises(InputError, match="line 7: expected 2 words, found 1"):
        read_star(tmp_path / "a.star")


def test_a_missing_file_is_explained(tmp_path):
    with pytest.raises(InputError, match="expected a STAR file"):
        read_star(tmp_path / "none.star")
