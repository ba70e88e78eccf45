"""Warnings of many movies, counted by what they say."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

# Warnings name frames and numbers, which differ from movie to movie.
_NUMBERED = re.compile(r"^(?:frame \d+ is|\d+)(?= )")


def warning_kind(warning: str) -> str:
    """What a warning has in common with those of other movies.

    Examples
    --------
    >>> warning_kind("frame 3 is left out: it is blank")
    'frames are left out'
    >>> warning_kind("aligned globally only: 2 frames are too few")
    'aligned globally only'
    >>> warning_kind("3 EER raw frames at the end are not used")
    'EER raw frames at the end are not used'
    """
    head = re.split(r"[:,]", warning, maxsplit=1)[0]
    return _NUMBERED.sub(lambda found: "frames are" if "frame" in found[0] else "", head).strip()


@dataclass(slots=True)
class _Kind:
    """Number of movies with a kind of warning, and its text if all say the same."""

    count: int
    text: str


class WarningCounts:
    """Counts the movies that have each kind of warning.

    Examples
    --------
    >>> counts = WarningCounts()
    >>> counts.add(["aligned globally only: 2 frames are too few"])
    ['aligned globally only: 2 frames are too few']
    >>> counts.add(["aligned globally only: 2 frames are too few", "frame 1 is left out: blank"])
    ['frame 1 is left out: blank']
    >>> counts.to_dict()
    {'aligned globally only: 2 frames are too few': 2, 'frame 1 is left out: blank': 1}
    """

    def __init__(self) -> None:
        self._kinds: dict[str, _Kind] = {}

    def add(self, warnings: Iterable[str]) -> list[str]:
        """Count the warnings of one movie; return those of a kind that no movie had before."""
        first_of_kind: dict[str, str] = {}
        for warning in warnings:
            first_of_kind.setdefault(warning_kind(warning), warning)
        new = []
        for kind, warning in first_of_kind.items():
            known = self._kinds.get(kind)
            if known is None:
                self._kinds[kind] = _Kind(1, warning)
                new.append(warning)
            else:
                known.count += 1
                known.text = warning if warning == known.text else kind
        return new

    def to_dict(self) -> dict[str, int]:
        """Number of movies with each warning, the most frequent first."""
        kinds = sorted(self._kinds.values(), key=lambda kind: -kind.count)
        return {kind.text: kind.count for kind in kinds}
