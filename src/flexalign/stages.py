"""The three stages of an alignment: reading, computing, writing.

An alignment calls one function for each. Alone they are called one after the other; in
`flexalign.batch.session` each waits for its turn, so that the stages of several movies overlap.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

Result = TypeVar("Result")


class Caller(Protocol):
    """Calls a function, here and now or in its turn."""

    def __call__(self, work: Callable[[], Result]) -> Result:
        """The result of `work`; what it raises is raised."""
        ...


def call(work: Callable[[], Result]) -> Result:
    """The result of `work`, called at once."""
    return work()


@dataclass(frozen=True, slots=True)
class Stages:
    """How the stages of one alignment are called.

    Attributes
    ----------
    read, compute, write : call the function of a stage
    reads_ahead : whether all frames are decoded while reading, into memory, and not while computing
    """

    read: Caller = call
    compute: Caller = call
    write: Caller = call
    reads_ahead: bool = False


AT_ONCE = Stages()
