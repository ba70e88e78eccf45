"""STAR files, the tables that RELION and Xmipp keep their metadata in.

A file has named blocks.  A block is a list of labels with one value each, or a loop of rows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from flexalign.errors import InputError
from flexalign.files import displayed, exists
from flexalign.io.atomic import replacing

# Block, then label without its underscore, then the column of words.
Blocks = dict[str, dict[str, list[str]]]

_WORD = re.compile(r"""'([^']*)'|"([^"]*)"|(\S+)""")


def read_star(path: str | Path) -> Blocks:
    """The blocks of a STAR file, in their order; of a list, each column has one word.

    Raises
    ------
    InputError
        If the file cannot be read, or a row has not one word for each label.

    Examples
    --------
    >>> path = getfixture("tmp_path") / "a.star"
    >>> write_star(path, [star_list("general", {"n": 2}), star_loop("rows", {"x": [1, 2]})])
    >>> read_star(path)
    {'general': {'n': ['2']}, 'rows': {'x': ['1', '2']}}
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: expected a STAR file: {error}") from error
    blocks: Blocks = {}
    table: dict[str, list[str]] = {}
    is_loop = False
    for number, line in enumerate(text.splitlines(), start=1):
        words = ["".join(groups) for groups in _WORD.findall(line)]
        if not words or words[0].startswith("#"):
            continue
        if words[0].startswith("data_"):
            table, is_loop = blocks.setdefault(words[0].removeprefix("data_"), {}), False
        elif words[0] == "loop_":
            is_loop = True
        elif line.lstrip().startswith("_"):
            table[words[0].removeprefix("_")] = [] if is_loop else words[1:2]
        elif len(words) != len(table):
            raise InputError(
                f"{path}, line {number}: expected {len(table)} words, found {len(words)}"
            )
        else:
            for column, word in zip(table.values(), words, strict=True):
                column.append(word)
    return blocks


def listed_paths(source: str | Path, names: Iterable[str]) -> Iterator[Path]:
    """Paths that the file `source` lists: from the current folder, else from one above the file.

    RELION's are relative to its project, some folders above the file that lists them.
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
    """Write blocks from `star_list` and `star_loop`, whole or not at all.

    Raises
    ------
    InputError
        If the file cannot be written; nothing is left behind.
    """
    text = "".join(f"# version 30001\n\n{block}\n\n" for block in blocks)
    with replacing(path) as temporary:
        temporary.write_text(f"# {comment}\n{text}" if comment else text, encoding="utf-8")


def _word(value: object) -> str:
    """`value` as one word of a STAR file."""
    if isinstance(value, float):
        return f"{value:.6f}"
    text = displayed(str(value))
    if text and not any(character.isspace() for character in text):
        return text
    return f'"{text}"' if "'" in text else f"'{text}'"
