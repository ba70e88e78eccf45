"""Files as they are opened everywhere."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from flexalign.errors import InputError
from flexalign.files import check_regular_file, read_text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_text_reads_alike_however_it_is_encoded(
    tmp_path: Path, encoding: str, line_end: str
) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(line_end.join(("µ = 1", "b")).encode(encoding))
    assert read_text(path) == "µ = 1\nb"


def test_bytes_that_are_no_text_are_refused_or_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"caf\xe9")
    with pytest.raises(InputError, match=r"expected text in UTF-8.*position 3"):
        read_text(path)
    assert read_text(path, errors="replace") == "caf\N{REPLACEMENT CHARACTER}"


def test_text_larger_than_the_bound_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(InputError, match="found 1,099,511,627,776 bytes"):
        read_text(path)


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("fifo")
    (tmp_path / "ring").symlink_to("ring")
    cases = {
        tmp_path: "a folder", tmp_path / "fifo": "a FIFO", tmp_path / "link": "a FIFO",
        Path("/dev/zero"): "a device", tmp_path / "none": "no such file",
        tmp_path / "ring": "symbolic links", tmp_path / ("x" * 300): "too long",
        tmp_path / "a\0b": "null",
    }  # fmt: skip
    for path, words in cases.items():
        for read in (check_regular_file, read_text):
            with pytest.raises(InputError, match=words):
                read(path)


def test_size_of_a_file_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("a")
    assert check_regular_file(tmp_path / "link") == 5
