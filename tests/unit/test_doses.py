"""Doses of frames from a file."""

from __future__ import annotations

import os

import pytest

from flexalign.errors import InputError
from flexalign.io.doses import read_doses


@pytest.mark.parametrize(
    ("text", "doses"),
    [
        ("1.2\n0.6\n\n0.6\n", (1.2, 0.6, 0.6)),
        ("\ufeff1.2 # the first\r\n0.6\r\n", (1.2, 0.6)),
        ("20 10 0.05\n10 5 0.1\n", (0.5, 0.5, 0.5, 0.5)),
        # What fills no frame is given to the last ones, as with --eer-groups.
        ("20 10 0.05\n11 5 0.1\n", (0.5, 0.5, 0.5, 0.6)),
        ("3, 1, 0.5\n", (0.5, 0.5, 0.5)),
    ],
)
def test_one_number_a_line_or_three_columns_give_the_dose_of_each_frame(tmp_path, text, doses):
    path = tmp_path / "doses.txt"
    path.write_bytes(text.encode())

    assert read_doses(path) == pytest.approx(doses)


@pytest.mark.parametrize(
    "content",
    [
        b"", b"# none\n", b"1.2 0.6\n", b"1.2\nx\n", b"20 0 1\n", b"20 5 1\n0.5\n", b"nan\n",
        b"1.5 1 1\n", b"\xff\xfe\n", b"9" * 5000 + b" 1 1\n", b"1000000000 1 1\n",
        b"900000 1 1\n" * 3, b"1 1 1 1\n",
    ],
)  # fmt: skip
def test_anything_else_is_refused_in_one_short_line(tmp_path, content):
    path = tmp_path / "doses.txt"
    path.write_bytes(content)

    with pytest.raises(InputError, match=f"{path}: .*expected .*") as caught:
        read_doses(path)
    assert len(str(caught.value)) < len(str(path)) + 250


def test_a_pipe_or_a_folder_is_no_file_of_doses(tmp_path):
    os.mkfifo(tmp_path / "pipe")

    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(InputError, match=r"expected a file, found a (folder|FIFO)"):
            read_doses(path)
