"""Callbacks that are told how far a movie is.

`Progress` is called as ``progress(stage, done, total)``, several times in each stage.
"""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]


def silent(stage: str, done: int, total: int) -> None:
    """Default progress callback: does nothing."""
