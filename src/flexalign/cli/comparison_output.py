"""What `compare` prints: a table, CSV, JSON, and notes."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from flexalign.comparison import MotionComparison
    from flexalign.io.motion_formats.alignment_pairs import Matches, Pair

SCHEMA = 1
WIDTH_WITHOUT_TERMINAL = 120
MAX_NAMES = 20
COLUMNS = (
    "movie", "frames", "rms_px", "rms_A", "whole_frame_rms_px", "local_rms_px", "largest_px",
    "motion_rms_px", "worst_frame", "worst_y_px", "worst_x_px", "pixel_size_A", "a", "b",
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """One movie in both alignments.

    Attributes
    ----------
    pair : its two files
    found : the comparison
    pixel_size_A : of the unbinned movie; None = unknown
    hint : another convention in which B would be close to A
    """

    pair: Pair
    found: MotionComparison
    pixel_size_A: float | None
    hint: str

    def row(self) -> dict[str, Any]:
        """The numbers of a table, by `COLUMNS`; frames counted from one."""
        found, size_A = self.found, self.pixel_size_A
        y_px, x_px = found.worst_place_px
        return {
            "movie": self.pair.root,
            "frames": len(found.frame),
            "rms_px": found.rms_px,
            "rms_A": None if size_A is None else found.rms_px * size_A,
            "whole_frame_rms_px": found.whole_frame_rms_px,
            "local_rms_px": found.local_rms_px,
            "largest_px": found.largest_px,
            "motion_rms_px": found.motion_rms_px,
            "worst_frame": found.worst_frame + 1,
            "worst_y_px": y_px,
            "worst_x_px": x_px,
            "pixel_size_A": size_A,
            "a": str(self.pair.a.path),
            "b": str(self.pair.b.path),
        }


def names(roots: Sequence[str]) -> str:
    """A list of names, truncated."""
    more = f" and {len(roots) - MAX_NAMES} more" if len(roots) > MAX_NAMES else ""
    return ", ".join(roots[:MAX_NAMES]) + more


def as_plain(a: str, b: str, compared: list[Compared], matches: Matches) -> dict[str, Any]:
    """All results as plain JSON; frames counted from zero."""
    return {
        "schema": SCHEMA,
        "a": a,
        "b": b,
        "movies": [
            {
                **item.row(),
                **item.found.to_dict(),
                "worst_frame": item.found.worst_frame,
                "hint": item.hint,
            }
            for item in compared
        ],
        "only_a": [{"movie": item.root, "file": str(item.path)} for item in matches.only_a],
        "only_b": [{"movie": item.root, "file": str(item.path)} for item in matches.only_b],
        "not_compared": sorted(
            {pair.root for pair in matches.pairs} - {item.pair.root for item in compared}
            | matches.ambiguous.keys()
        ),
    }


def print_csv(compared: list[Compared]) -> None:
    """One line for each movie."""
    from flexalign.batch.rows import write_rows

    rows = (item.row().items() for item in compared)
    numbers = ({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row} for row in rows)
    write_rows(sys.stdout, COLUMNS, numbers)


def print_table(compared: list[Compared], worst: int) -> None:
    """The movies that differ most."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    is_terminal = sys.stdout.isatty()
    console = Console(width=None if is_terminal else WIDTH_WITHOUT_TERMINAL)
    table = Table(box=box.SIMPLE_HEAD, title_justify="left")
    table.add_column("Movie", overflow="fold")
    headings = (
        "Frames", "Difference\n(A)", "Difference\n(px)", "Whole frame\n(px)", "Local\n(px)",
        "Motion of A\n(px)", "Worst\nframe", "Worst place\nx, y (px)",
    )  # fmt: skip
    for head in headings:
        table.add_column(head, justify="right", no_wrap=True)
    for item in compared[:worst]:
        row = item.row()
        table.add_row(
            row["movie"],
            str(row["frames"]),
            "?" if row["rms_A"] is None else f"{row['rms_A']:.2f}",
            f"{row['rms_px']:.3f}",
            f"{row['whole_frame_rms_px']:.3f}",
            f"{row['local_rms_px']:.3f}",
            f"{row['motion_rms_px']:.2f}",
            str(row["worst_frame"]),
            f"{row['worst_x_px']:.0f}, {row['worst_y_px']:.0f}",
        )
    console.print(table)


def print_notes(compared: list[Compared], matches: Matches) -> None:
    """Print a summary, hints on conventions, and the movies found on one side only."""
    if len(compared) > 1:
        sizes_px = sorted(item.found.rms_px for item in compared)
        typer.echo(
            f"{len(compared)} movies compared: difference from {sizes_px[0]:.3f} to "
            f"{sizes_px[-1]:.3f} px rms, median {sizes_px[len(sizes_px) // 2]:.3f}",
            err=True,
        )
    for words, count in Counter(item.hint for item in compared if item.hint).items():
        remedy = "; compare with --turn-rows" if "rows" in words else ""
        typer.echo(
            f"note: {count} of {len(compared)} movies differ as if {words}{remedy}", err=True
        )
    for side, items in (("A", matches.only_a), ("B", matches.only_b)):
        if items:
            found = names([item.root for item in items])
            typer.echo(f"only in {side} ({len(items)}): {found}", err=True)
