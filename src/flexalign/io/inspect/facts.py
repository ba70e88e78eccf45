"""The description of a file, as text and as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from flexalign.model import to_plain

Lines = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class FileFacts:
    """The description of a file.

    Attributes
    ----------
    path : the file or folder
    kind : "movie", "image", "defects", "motion", "record", "list", "run" or "other"
    values : plain JSON values, units in their names
    lines : the same as pairs of label and text
    problem : what is wrong with the file, "" if nothing
    """

    path: str
    kind: str
    values: dict[str, Any] = field(default_factory=dict)
    lines: tuple[tuple[str, str], ...] = ()
    problem: str = ""

    def describe(self) -> str:
        """The lines as one text."""
        return "\n".join(f"{name:16}{text}" for name, text in self.lines)

    def to_dict(self) -> dict[str, Any]:
        """The description as plain JSON."""
        head = {"path": self.path, "kind": self.kind, "problem": self.problem}
        return {**head, **to_plain(self.values)}
