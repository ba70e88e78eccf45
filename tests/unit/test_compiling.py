"""Compiled loops that are kept on disk."""

from __future__ import annotations

import runpy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import pytest

from flexalign.arrays.kernels import warp
from flexalign.compiling import cached_njit, is_cacheable, is_cached

SOURCE = """
from flexalign.compiling import cached_njit

@cached_njit(nogil=True)
def triple(number):
    return 3 * number
"""


@pytest.fixture
def start(tmp_path, monkeypatch) -> Callable[[], Any]:
    """A compiled function as a process that has just started has it."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "loops.py").write_text(SOURCE)
    return lambda: runpy.run_path(str(tmp_path / "loops.py"))["triple"]


def kept_files(folder: Path, suffix: str) -> list[Path]:
    return list((folder / "cache").rglob(f"*{suffix}"))


def was_loaded(loop: Any) -> bool:
    return sum(loop.stats.cache_hits.values()) == 1


def test_code_is_kept_for_the_next_start(start):
    first = start()
    assert not is_cached(first)
    assert first(14) == 42

    second = start()

    assert is_cached(second)
    assert second(14) == 42
    assert was_loaded(second)


DAMAGES = {
    "empty": lambda content: b"",
    "cut": lambda content: content[: len(content) // 2],
    "zeros": lambda content: bytes(len(content)),
    "zeros at the end": lambda content: content[:-4096] + bytes(len(content[-4096:])),
    "one bit": lambda content: content[:-200] + bytes([content[-200] ^ 1]) + content[-199:],
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
def test_damaged_files_are_made_again(start, tmp_path, suffix, damage):
    start()(14)
    (path,) = kept_files(tmp_path, suffix)
    path.write_bytes(DAMAGES[damage](path.read_bytes()))

    mended = start()
    assert mended(14) == 42

    again = start()
    assert again(14) == 42
    assert was_loaded(again)


def test_code_of_an_earlier_version_of_the_files_is_made_again(start, tmp_path):
    """What numba keeps by itself has no digest."""
    start()(14)
    (path,) = kept_files(tmp_path, ".nbc")
    path.write_bytes(path.read_bytes()[:-32])

    mended = start()

    assert mended(14) == 42
    assert not was_loaded(mended)


def test_loops_run_where_there_is_no_place_to_keep_them():
    made: dict[str, Any] = {}
    exec(compile("def triple(number): return 3 * number", "/no/such/file.py", "exec"), made)

    loop = cached_njit(nogil=True)(made["triple"])

    assert loop(14) == 42
    assert not is_cacheable(loop)


def test_loops_run_where_their_folder_has_become_unusable(start, tmp_path):
    loop = start()
    shutil.rmtree(tmp_path / "cache")
    (tmp_path / "cache").write_text("no folder")

    assert loop(14) == 42


def test_a_slow_start_is_explained(start, monkeypatch):
    made: dict[str, Any] = {}
    exec(compile("def triple(number): return 3 * number", "/no/such/file.py", "exec"), made)
    notes = []
    for loop in (start(), cached_njit()(made["triple"])):
        monkeypatch.setattr(warp, "sample_tile", loop)
        notes.append(warp.compiling_note())
    start()(14)
    monkeypatch.setattr(warp, "sample_tile", start())

    assert "happens once" in notes[0]
    assert "at every start" in notes[1]
    assert "NUMBA_CACHE_DIR" in notes[1]
    assert warp.compiling_note() == ""
