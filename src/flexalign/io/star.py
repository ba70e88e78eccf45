"""STAR files, the metadata tables of RELION and Xmipp.

A file has named blocks.  A block is a list of labels with one value each, or a loop of rows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from flexalign.atomic import replacing
from flexalign.errors import InputError
from flexalign.files import displayed, exists, read_text

# Block -> label without its underscore -> column of words.
Blocks = dict[str, dict[str, list[str]]]

# A quoted word ends at a quote followed by a space, so that quotes inside words are literal.
_WORD = re.compile(r"""'((?:[^']|'(?=\S))*)'(?=\s|$)|"((?:[^"]|"(?=\S))*)"(?=\s|$)|(\S+)""")

_NEEDS_NO_QUOTES = re.compile(r"""(?!data_|loop_)[^\s'"#_]\S*""")


def read_star(path: str | Path) -> Blocks:
    """The blocks of a STAR file, in order; in a list, each column has one word.

    Raises
    ------
    InputError
        If the file cannot be read, a row does not have one word per label, a quote is not closed, a
        block or a label of a block is duplicated, or text is outside all blocks.

    Examples
    --------
    >>> path = getfixture("tmp_path") / "a.star"
    >>> write_star(path, [star_list("general", {"n": 2}), star_loop("rows", {"x": [1, 2]})])
    >>> read_star(path)
    {'general': {'n': ['2']}, 'rows': {'x': ['1', '2']}}
    """
    reading = _Reading()
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        try:
            reading.take(line)
        except ValueError as error:
            raise InputError(f"{path}, line {number}: {error}") from error
    return reading.blocks


class _Reading:
    """Parser state: the blocks of a STAR file so far."""

    def __init__(self) -> None:
        self.blocks: Blocks = {}
        self._table: dict[str, list[str]] | None = None
        self._columns: list[list[str]] = []
        self._is_loop = False

    def take(self, line: str) -> None:
        """Parse the next line."""
        if "\0" in line:
            raise ValueError("expected text, found a null character: the file is damaged")
        words, is_quoted = _words(line), line.lstrip()[:1] in ("'", '"')
        if not words:
            return
        if words[0].startswith("data_") and not is_quoted:
            self._begin(words[0].removeprefix("data_"))
        elif self._table is None:
            raise ValueError(f"expected a block (data_) first, found {words[0]:.40}")
        elif words[0] == "loop_" and not is_quoted:
            self._is_loop = True
        elif words[0].startswith("_") and not is_quoted:
            self._label(self._table, words[0].removeprefix("_"), words[1:])
        elif len(words) != len(self._columns):
            raise ValueError(f"expected {len(self._columns)} words, found {len(words)}")
        else:
            for column, word in zip(self._columns, words, strict=True):
                column.append(word)

    def _begin(self, name: str) -> None:
        """Begin a block."""
        if name in self.blocks:
            raise ValueError(f"expected each block once, found data_{name:.40} again")
        self._table = self.blocks[name] = {}
        self._columns, self._is_loop = [], False

    def _label(self, table: dict[str, list[str]], label: str, words: list[str]) -> None:
        """Parse a label, with its word in a list."""
        if label in table:
            raise ValueError(f"expected each label once, found _{label:.40} again")
        if self._is_loop:
            if any(self._columns):
                raise ValueError(f"expected labels before rows, found _{label:.40} after some")
            self._columns.append([])
            table[label] = self._columns[-1]
            return
        if len(words) != 1:
            raise ValueError(f"expected one word for _{label:.40}, found {len(words)}")
        table[label] = words


def _words(line: str) -> list[str]:
    """The words of a line, up to a comment."""
    words = []
    for found in _WORD.finditer(line):
        plain = found[3]
        if plain is None:
            words.append(found[1] if found[1] is not None else found[2])
            continue
        if plain.startswith("#"):
            break
        if plain[0] in "'\"":
            raise ValueError(f"expected a quote that is closed, found {plain:.40}")
        words.append(plain)
    return words


def listed_paths(source: str | Path, names: Iterable[str]) -> Iterator[Path]:
    """Paths listed in `source`, relative to the current folder or to one above the file.

    RELION's paths are relative to its project, some folders above the list.
    """
    folders = [Path(), *Path(source).absolute().parents]
    for name in names:
        yield next((folder / name for folder in folders if exists(folder / name)), Path(name))


def star_list(name: str, items: Mapping[str, object]) -> str:
    """A block of one value for each label."""
    lines = [f"_{label:<40} {_word(value)}" for label, value in items.items()]
    return "\n".join([f"data_{name}", "", *lines, ""])


def star_loop(name: str, columns: Mapping[str, Sequence[object]]) -> str:
    """A block of rows, given by its columns of equal length."""
    labels = [f"_{label} #{number}" for number, label in enumerate(columns, start=1)]
    rows = [" ".join(map(_word, row)) for row in zip(*columns.values(), strict=True)]
    return "\n".join([f"data_{name}", "", "loop_", *labels, *rows, ""])


def write_star(path: str | Path, blocks: Iterable[str], comment: str = "") -> None:
    """Write blocks from `star_list` and `star_loop` atomically.

    Raises
    ------
    InputError
        If the file cannot be written; nothing is left behind.
    """
    with replacing(path) as temporary:
        temporary.write_text(star_text(blocks, comment), encoding="utf-8")


def star_text(blocks: Iterable[str], comment: str = "") -> str:
    """The content of a file of these blocks."""
    text = "".join(f"# version 30001\n\n{block}\n\n" for block in blocks)
    return f"# {comment}\n{text}" if comment else text


def _word(value: object) -> str:
    """`value` as one word of a STAR file."""
    if isinstance(value, float):
        return f"{value:.6f}"
    text = displayed(str(value))
    if _NEEDS_NO_QUOTES.fullmatch(text):
        return text
    return f'"{text}"' if "'" in text else f"'{text}'"
