"""Files that data-collection programs write beside a movie."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from flexalign.errors import FlexAlignError
from flexalign.io.inspect.session_facts import inspect_session_file
from flexalign.io.movies.reader import read_head

SIDECAR_SUFFIXES = (".mdoc", ".xml")
# Suffixes in movie names of data-collection programs that are absent in sidecar names.
MOVIE_ENDINGS = re.compile(r"_(fractions|EER)$", re.IGNORECASE)


def sidecars_of(movie: Path, suffixes: Sequence[str] = SIDECAR_SUFFIXES) -> Iterator[Path]:
    """Paths of the files that may be beside a movie, whether they exist or not."""
    stem = MOVIE_ENDINGS.sub("", movie.stem)
    for suffix in suffixes:
        for name in (movie.name + suffix, movie.stem + suffix, stem + suffix):
            yield movie.with_name(name)


def read_sidecar(movie: Path) -> tuple[Path, dict[str, Any]] | None:
    """The first file beside a movie that has metadata of one exposure, and its values."""
    for path in sidecars_of(movie):
        try:
            facts = inspect_session_file(path, read_head(path)) if path.is_file() else None
        except FlexAlignError:
            continue  # half-written, or of another kind
        if facts is not None and facts.values.get("sections", 1) == 1:
            return path, dict(facts.values)
    return None


def acquired(movie: Path) -> str | None:
    """The time of acquisition in the file beside a movie (ISO 8601); None if there is none.

    It is that of the microscope's clock, without its time zone, which SerialEM does not write.
    """
    found = read_sidecar(movie)
    return None if found is None else found[1].get("acquired")
