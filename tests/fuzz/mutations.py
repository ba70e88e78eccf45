"""What disks, transfers, editors and other programs do to good files, and what is asked of readers.

A reader that meets such a file reads it or raises a `FlexAlignError`, in bounded work and memory.
The short form of these tests is the same every time; with FLEXALIGN_FULL_TESTS=1 each reader gets
thousands of new files.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import struct
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from flexalign.errors import FlexAlignError

IS_FULL = bool(os.environ.get("FLEXALIGN_FULL_TESTS"))
SHORT_EXAMPLES, FULL_EXAMPLES = 60, 3000
# Time of the processor, not of the clock: a busy machine makes no reader slower.
MAX_CPU_S = 5.0

fuzzing = settings(
    max_examples=FULL_EXAMPLES if IS_FULL else SHORT_EXAMPLES,
    deadline=None,
    derandomize=not IS_FULL,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

_INTEGERS = (0, 1, -1, 2, 7, 127, 128, 255, 256, 32767, -32768, 65535, 1 << 20, 1 << 24)
_INTEGERS_OF_4_BYTES = (*_INTEGERS, (1 << 31) - 1, -(1 << 31))
_INTEGERS_OF_8_BYTES = (*_INTEGERS_OF_4_BYTES, 1 << 32, 1 << 40, (1 << 63) - 1, -(1 << 63))
_FLOATS = (0.0, -1.0, 1e-40, 1e-5, 1e10, 1e38, -1e38, float("inf"), float("nan"))
_WORDS = (
    "", "0", "-1", "1.5", "1e308", "1e-308", "1e999", "nan", "inf", "9" * 20, "9" * 400, "0x10",
    "\u00b2", "\u0663", "None", "true", "a" * 300, "../../x", "{", "]]>", "<a>", "\0", "\ufeff",
    "\u2028", '"',
)  # fmt: skip
_VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 1 << 70, 1.5, 1e308, float("nan"), "", "nan", "../../x", [], {}, [[]],
    [None],
)  # fmt: skip


@contextlib.contextmanager
def only_typed_errors(*, max_bytes: int) -> Iterator[None]:
    """Let nothing pass but a `FlexAlignError`, no more memory than that, and no endless work.

    Parameters
    ----------
    max_bytes : that Python and NumPy may hold at once, beyond what they hold already
    """

    def stop(signal_number: int, frame: object) -> None:
        raise AssertionError(f"expected an answer within {MAX_CPU_S:g} s of processor time")

    before = signal.signal(signal.SIGPROF, stop)
    # Again and again: what is raised inside a callback of the garbage collector goes unheard.
    signal.setitimer(signal.ITIMER_PROF, MAX_CPU_S, MAX_CPU_S)
    tracemalloc.start()
    try:
        with contextlib.suppress(FlexAlignError):
            yield
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
    assert peak_bytes <= max_bytes, f"{peak_bytes} bytes were held, expected at most {max_bytes}"


def mutated(content: bytes, *, at: Sequence[int] = (), count: int = 4) -> st.SearchStrategy[bytes]:
    """`content` after one to `count` changes.

    Parameters
    ----------
    at : offsets at which numbers lie; these are changed more often than others
    """

    @st.composite
    def changed(draw: st.DrawFn) -> bytes:
        data = bytearray(content)
        for _ in range(draw(st.integers(1, count))):
            draw(st.sampled_from(_CHANGES))(draw, data, at)
        return bytes(data)

    return changed()


def _place(draw: st.DrawFn, data: bytearray) -> int:
    """An offset in `data`, rather near its beginning."""
    return draw(st.integers(0, min(len(data), 256)) | st.integers(0, len(data)))


def _flip(draw: st.DrawFn, data: bytearray, at: Sequence[int]) -> None:
    """One bit is another."""
    place = _place(draw, data)
    if place < len(data):
        data[place] ^= 1 << draw(st.integers(0, 7))


def _cut(draw: st.DrawFn, data: bytearray, at: Sequence[int]) -> None:
    """The end is missing."""
    del data[_place(draw, data) :]


def _remove(draw: st.DrawFn, data: bytearray, at: Sequence[int]) -> None:
    """A piece is missing."""
    place = _place(draw, data)
    del data[place : place + draw(st.integers(1, 64))]


def _insert(draw: st.DrawFn, data: bytearray, at: Sequence[int]) -> None:
    """A piece of something else got in."""
    place = _place(draw, data)
    data[place:place] = draw(st.binary(min_size=1, max_size=16))


def _repeat(draw: st.DrawFn, data: bytearray, at: Sequence[int]) -> None:
    """A piece is in it twice, at another place the second time."""
    start, place = _place(draw, data), _place(draw, data)
    data[place:place] = data[start : start + draw(st.integers(1, 256))]


def _blank(draw: st.DrawFn, data: bytearray, at: Sequence[int]) -> None:
    """A piece was never written."""
    place = _place(draw, data)
    stop = min(len(data), place + draw(st.integers(1, 512)))
    data[place:stop] = bytes(stop - place)


def _number(draw: st.DrawFn, data: bytearray, at: Sequence[int]) -> None:
    """A number is an extreme one."""
    anywhere = st.integers(0, min(len(data), 1024) // 4).map(lambda word: 4 * word)
    place = draw(st.sampled_from(at) | anywhere if at else anywhere)
    packed = draw(
        st.builds(
            _packed, st.sampled_from("<>"), st.just("i"), st.sampled_from(_INTEGERS_OF_4_BYTES)
        )
        | st.builds(
            _packed, st.sampled_from("<>"), st.just("q"), st.sampled_from(_INTEGERS_OF_8_BYTES)
        )
        | st.builds(_packed, st.sampled_from("<>"), st.sampled_from("fd"), st.sampled_from(_FLOATS))
    )
    data[place : place + len(packed)] = packed


def _packed(order: str, kind: str, value: float) -> bytes:
    """A number as bytes."""
    return struct.pack(order + kind, value)


_Change = Callable[[st.DrawFn, bytearray, Sequence[int]], None]
_CHANGES: tuple[_Change, ...] = (
    _flip, _cut, _remove, _insert, _repeat, _blank, _number, _number,
)  # fmt: skip


def mutated_text(
    text: str, *, words: Sequence[str] = (), count: int = 3
) -> st.SearchStrategy[bytes]:
    """`text` with one to `count` words or lines changed, in any encoding that editors save.

    Parameters
    ----------
    words : that mean something in this format, to put where they do not belong
    """
    some_word = st.sampled_from((*_WORDS, *words)) | st.text(max_size=8)

    @st.composite
    def changed(draw: st.DrawFn) -> bytes:
        found = text
        for _ in range(draw(st.integers(1, count))):
            spans = [match.span() for match in re.finditer(r"[^\s,;:=<>\"']+", found)] or [(0, 0)]
            start, stop = draw(st.sampled_from(spans))
            kind = draw(st.sampled_from(("word", "word", "word", "line", "twice", "cut")))
            if kind == "word":
                found = found[:start] + draw(some_word) + found[stop:]
            elif kind == "line":
                end = found.find("\n", start)
                found = found[:start] + found[end + 1 if end >= 0 else len(found) :]
            elif kind == "twice":
                found = found[:stop] + found[start:]
            else:
                found = found[:start]
        return draw(st.sampled_from(_ENCODERS))(found)

    return changed() | mutated(text.encode(), count=count)


_ENCODERS: tuple[Callable[[str], bytes], ...] = (
    lambda text: text.encode("utf-8", "replace"),
    lambda text: text.encode("utf-8-sig", "replace"),
    lambda text: text.encode("utf-16", "replace"),
    lambda text: text.encode("latin-1", "replace"),
    lambda text: text.replace("\n", "\r\n").encode("utf-8", "replace"),
)


def mutated_json(plain: Any, *, count: int = 3) -> st.SearchStrategy[bytes]:
    """A JSON document in which one to `count` values are others, or missing."""
    paths = list(_paths(plain))

    @st.composite
    def changed(draw: st.DrawFn) -> bytes:
        copy = json.loads(json.dumps(plain))
        for _ in range(draw(st.integers(1, count))):
            _change_value(draw, copy, draw(st.sampled_from(paths)))
        return json.dumps(copy).encode()

    return changed()


def _paths(plain: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to each value inside lists and objects."""
    if isinstance(plain, dict | list):
        for key, value in plain.items() if isinstance(plain, dict) else enumerate(plain):
            yield (*before, key)
            yield from _paths(value, (*before, key))


def _change_value(draw: st.DrawFn, plain: Any, path: tuple[Any, ...]) -> None:
    """Another value at `path`, or none; nothing where the way there has gone."""
    with contextlib.suppress(LookupError, TypeError):
        for key in path[:-1]:
            plain = plain[key]
        value = draw(st.sampled_from((*_VALUES, KeyError)))
        if value is KeyError:
            del plain[path[-1]]
        elif isinstance(plain, list) or path[-1] in plain:
            plain[path[-1]] = value
