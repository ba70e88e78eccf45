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


WORDS = (
    "my movie.mrc", "Ana's movie.mrc", "", "a.mrc", "'a.mrc", "_a.mrc", "#a.mrc", "data_a.mrc",
    "loop_", 'a "b.mrc', "a'b.mrc",
)  # fmt: skip


@pytest.mark.parametrize("word", WORDS)
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
    with pytest.raises(InputError, match="no such file"):
        read_star(tmp_path / "none.star")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_files_of_windows_read_alike(tmp_path, encoding):
    text = "data_t\r\n\r\nloop_\r\n_x #1\r\n_y #2\r\n1 'a \u00b5'\r\n"
    (tmp_path / "a.star").write_bytes(text.encode(encoding))

    assert read_star(tmp_path / "a.star") == {"t": {"x": ["1"], "y": ["a \u00b5"]}}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("_x 1\n", "line 1: expected a block .* first, found _x"),
        ("data_t\n_x\n", "line 2: expected one word for _x, found 0"),
        ("data_t\n_x a b\n", "line 2: expected one word for _x, found 2"),
        ("data_t\n_x 1\n_x 2\n", "line 3: expected each label once, found _x"),
        ("data_t\nloop_\n_x\n1\n_y\n2 3\n", "line 5: expected labels before rows, found _y"),
        ("data_t\n_x 1\ndata_t\n_y 1\n", "line 3: expected each block once, found data_t"),
        ("data_t\nloop_\n_x\n'a b\n", "line 4: expected a quote that is closed"),
        ("data_t\nloop_\n1 2\n", "line 3: expected 0 words, found 2"),
        ("data_t\nloop_\n_x\na\0b\n", "line 4: expected text, found a null character"),
    ],
)
def test_what_is_malformed_is_named(tmp_path, text, words):
    (tmp_path / "a.star").write_text(text)

    with pytest.raises(InputError, match=f"a.star, {words}"):
        read_star(tmp_path / "a.star")


def test_comments_end_a_line(tmp_path):
    (tmp_path / "a.star").write_text("# a\ndata_t\n_x 1 # one\n_y '#2' #3\n")

    assert read_star(tmp_path / "a.star") == {"t": {"x": ["1"], "y": ["#2"]}}
