"""The command `compare`: two alignments of the same movies."""

from __future__ import annotations

import csv
import json
import math
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flexalign.cli.console import Debug, run_each, say_error
from flexalign.errors import InputError, ParameterError

if TYPE_CHECKING:
    from flexalign.comparison import MotionComparison
    from flexalign.io.motion_formats.alignment_pairs import Alignment, Matches, Pair

SCHEMA = 1
WIDTH_WITHOUT_TERMINAL = 120
MAX_NAMES = 20
MAX_NAME_LENGTH = 32
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


def compare(
    a: Annotated[
        str,
        typer.Argument(
            help="An alignment, or a folder or quoted pattern of them: of flexalign (run folder, "
            "_record.json, _motion.json), RELION (job folder, corrected_micrographs.star, STAR "
            "file of a movie), MotionCor (.aln, logs), Warp (.xml), Xmipp (_shifts.xmd), or the "
            "truth of a simulation (_truth.npz).",
            metavar="A",
        ),
    ],
    b: Annotated[
        str,
        typer.Argument(help="The other alignment of the same movies, in any format.", metavar="B"),
    ],
    worst: Annotated[
        int,
        typer.Option(
            help="Number of movies shown, those with the largest differences.", metavar="N", min=1
        ),
    ] = 20,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print all movies as CSV instead of the table.")
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print everything as JSON instead: differences by frame and place, and movies on "
            "one side only.",
        ),
    ] = False,
    plot: Annotated[
        Path | None,
        typer.Option(
            help="Plot the movies shown, one '..._comparison.png' each, in this folder.",
            metavar="DIR",
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing plots.")] = False,
    pixel_size: Annotated[
        float | None,
        typer.Option(help="Of the unbinned movie, if no file has it.", metavar="A"),
    ] = None,
    size: Annotated[
        tuple[int, int] | None,
        typer.Option(
            help="Of the unbinned movie in pixels, if no file has it (logs of MotionCor, "
            "Warp, Xmipp).",
            metavar="X Y",
        ),
    ] = None,
    turn_rows: Annotated[
        bool,
        typer.Option(
            "--turn-rows",
            help="Reverse the rows of B, for programs that read the rows of TIFF movies in the "
            "other order, such as Xmipp.",
        ),
    ] = False,
    debug: Debug = False,
) -> None:
    """Compare two alignments of the same movies, frame by frame and place by place.

    Movies are matched by their names; two single files are compared whatever their names.

    A constant at each place blurs nothing and is taken away. Differences are lengths over x and
    y, root mean square over frames and 9 x 9 places, in pixels of the unbinned movie.

    Exit code: 0 all compared, 1 some could not be, 2 parameters, 3 nothing could be.
    """
    from flexalign.io.motion_formats.alignment_pairs import find_alignments, match_alignments

    if as_csv and as_json:
        raise ParameterError("--csv, --json: expected one of them, found both")
    shape_px = None if size is None else (size[1], size[0])
    if min(shape_px or (1,)) < 1 or not (pixel_size is None or 0 < pixel_size < math.inf):
        raise ParameterError("--size, --pixel-size: expected numbers above 0")
    sides = find_alignments(a), find_alignments(b)
    matches = match_alignments(*sides)
    if not matches.pairs:
        raise InputError(_nothing_in_common(a, b, *sides))
    if plot is not None:
        _check_pictures(plot, matches.pairs, overwrite=overwrite)
    compared: list[Compared] = []

    def work(pair: Pair) -> None:
        compared.append(_compared(pair, shape_px, pixel_size, turn_rows=turn_rows))

    code = run_each(matches.pairs, work, debug=debug)
    for root, problem in matches.ambiguous.items():
        say_error(InputError(problem), subject=root)
        code = code or 1
    compared.sort(key=lambda item: -item.found.rms_px)
    if as_json:
        typer.echo(json.dumps(_everything(a, b, compared, matches), indent=1))
    elif as_csv:
        _print_csv(compared)
    elif compared:
        _print_table(compared, worst)
    _print_notes(compared, matches)
    if plot is not None:
        _draw(compared[:worst], plot, (a, b))
    raise typer.Exit(code)


def _compared(
    pair: Pair, shape_px: tuple[int, int] | None, pixel_size_A: float | None, *, turn_rows: bool
) -> Compared:
    """Compare the two alignments of a movie."""
    from flexalign.comparison import (
        AnyMotion,
        compare_motions,
        other_convention,
        shared_frames,
        turned_over,
    )
    from flexalign.io.motion_formats.alignment_pairs import read_pair
    from flexalign.io.motion_formats.read_motion import ANY_SHAPE_PX

    a, read_b, facts = read_pair(pair, shape_px=shape_px, pixel_size_A=pixel_size_A)
    frames = shared_frames(a, read_b)
    # Without a known size there is no local motion either.
    shape = facts.shape_px or ANY_SHAPE_PX
    b: AnyMotion = turned_over(read_b, shape) if turn_rows else read_b
    found = compare_motions(a, b, frames, shape)
    return Compared(pair, found, facts.pixel_size_A, other_convention(a, b, frames, shape))


def _nothing_in_common(a: str, b: str, in_a: list[Alignment], in_b: list[Alignment]) -> str:
    """The error message when no movie is in both."""
    names = (_names([item.root for item in side]) for side in (in_a, in_b))
    return (
        f"expected alignments of the same movies, found none of one name: {next(names)} in {a}, "
        f"{next(names)} in {b}"
    )


def _names(roots: Sequence[str]) -> str:
    """A list of names, truncated."""
    more = f" and {len(roots) - MAX_NAMES} more" if len(roots) > MAX_NAMES else ""
    return ", ".join(roots[:MAX_NAMES]) + more


def _everything(a: str, b: str, compared: list[Compared], matches: Matches) -> dict[str, Any]:
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


def _print_csv(compared: list[Compared]) -> None:
    """One line for each movie."""
    table = csv.DictWriter(sys.stdout, COLUMNS, lineterminator="\n")
    table.writeheader()
    for item in compared:
        row = item.row()
        table.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()})


def _print_table(compared: list[Compared], worst: int) -> None:
    """The movies that differ most."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    is_terminal = sys.stdout.isatty()
    console = Console(width=None if is_terminal else WIDTH_WITHOUT_TERMINAL)
    table = Table(box=box.SIMPLE_HEAD, title_justify="left")
    table.add_column("Movie", overflow="fold")
    heads = (
        "Frames", "Difference\n(A)", "Difference\n(px)", "Whole frame\n(px)", "Local\n(px)",
        "Motion of A\n(px)", "Worst\nframe", "Worst place\nx, y (px)",
    )  # fmt: skip
    for head in heads:
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


def _print_notes(compared: list[Compared], matches: Matches) -> None:
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
            names = _names([item.root for item in items])
            typer.echo(f"only in {side} ({len(items)}): {names}", err=True)


def _picture(folder: Path, root: str) -> Path:
    """Path of the plot of a movie."""
    return folder / f"{root}_comparison.png"


def _check_pictures(folder: Path, pairs: Sequence[Pair], *, overwrite: bool) -> None:
    """Check, before anything is read, that the plots replace no foreign file and no input."""
    from flexalign.io.writing.ownership import refuse_existing, refuse_inputs

    pictures = [_picture(folder, pair.root) for pair in pairs]
    refuse_inputs(pictures, [side.path for pair in pairs for side in (pair.a, pair.b)])
    for picture in pictures:
        refuse_existing(picture, overwrite=overwrite)


def _draw(compared: list[Compared], folder: Path, names: tuple[str, str]) -> None:
    """Draw a plot of each movie."""
    from flexalign.io.comparison_plot import draw_comparison
    from flexalign.io.results import make_folder

    make_folder(folder)
    for item in compared:
        path = _picture(folder, item.pair.root)
        legend = (f"A: {names[0][-MAX_NAME_LENGTH:]}", f"B: {names[1][-MAX_NAME_LENGTH:]}")
        draw_comparison(path, item.found, item.pixel_size_A, title=item.pair.root, names=legend)
