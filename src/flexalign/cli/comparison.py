"""The command `compare`: two alignments of the same movies."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flexalign.cli.comparison_output import (
    Compared,
    as_plain,
    names,
    print_csv,
    print_notes,
    print_table,
)
from flexalign.cli.console import Debug, print_error, run_each
from flexalign.cli.option_groups import takes_options
from flexalign.errors import InputError, ParameterError

if TYPE_CHECKING:
    from flexalign.io.motion_formats.alignment_pairs import Alignment, Pair

MAX_NAME_LENGTH = 32


@dataclass(frozen=True, slots=True)
class CompareOptions:
    """Outputs of a comparison, and properties of the movies that no file has."""

    worst: Annotated[
        int,
        typer.Option(
            help="Number of movies shown, those with the largest differences.", metavar="N", min=1
        ),
    ] = 20
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print all movies as CSV instead of the table.")
    ] = False
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print everything as JSON instead: differences by frame and place, and movies on "
            "one side only.",
        ),
    ] = False
    plot: Annotated[
        Path | None,
        typer.Option(
            help="Plot the movies shown, one '..._comparison.png' each, in this folder.",
            metavar="DIR",
        ),
    ] = None
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing plots.")] = False
    pixel_size: Annotated[
        float | None,
        typer.Option(help="Pixel size of the unbinned movie, if no file has it.", metavar="A"),
    ] = None
    size: Annotated[
        tuple[int, int] | None,
        typer.Option(
            help="Size of the unbinned movie in pixels, if no file has it (logs of MotionCor, "
            "Warp, Xmipp).",
            metavar="X Y",
        ),
    ] = None
    turn_rows: Annotated[
        bool,
        typer.Option(
            "--turn-rows",
            help="Reverse the rows of B, for programs that read the rows of TIFF movies in the "
            "other order, such as Xmipp.",
        ),
    ] = False

    def __post_init__(self) -> None:
        if self.as_csv and self.as_json:
            raise ParameterError("--csv, --json: expected one of them, found both")
        is_positive = self.pixel_size is None or 0 < self.pixel_size < math.inf
        if min(self.size or (1,)) < 1 or not is_positive:
            raise ParameterError("--size, --pixel-size: expected numbers above 0")

    @property
    def shape_px(self) -> tuple[int, int] | None:
        """(h, w) of the unbinned movie, where it was given."""
        return None if self.size is None else (self.size[1], self.size[0])


@takes_options
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
    options: CompareOptions,
    debug: Debug = False,
) -> None:
    """Compare two alignments of the same movies, by frame and by position.

    Movies are matched by their names; two single files are compared whatever their names.

    A constant at each position does not blur and is subtracted. Differences are lengths over x
    and y, root mean square over frames and 9 x 9 positions, in pixels of the unbinned movie.

    Exit code: 0 all compared, 1 some failed, 2 parameters, 3 all failed.
    """
    from flexalign.io.motion_formats.alignment_pairs import find_alignments, match_alignments

    sides = find_alignments(a), find_alignments(b)
    matches = match_alignments(*sides)
    if not matches.pairs:
        raise InputError(_nothing_in_common(a, b, *sides))
    if options.plot is not None:
        _check_pictures(options.plot, matches.pairs, overwrite=options.overwrite)
    compared: list[Compared] = []

    def work(pair: Pair) -> None:
        compared.append(_compared(pair, options))

    code = run_each(matches.pairs, work, debug=debug)
    for root, problem in matches.ambiguous.items():
        print_error(InputError(problem), subject=root)
        code = code or 1
    compared.sort(key=lambda item: -item.found.rms_px)
    if options.as_json:
        typer.echo(json.dumps(as_plain(a, b, compared, matches), indent=1))
    elif options.as_csv:
        print_csv(compared)
    elif compared:
        print_table(compared, options.worst)
    print_notes(compared, matches)
    if options.plot is not None:
        _draw(compared[: options.worst], options.plot, (a, b))
    raise typer.Exit(code)


def _compared(pair: Pair, options: CompareOptions) -> Compared:
    """Compare the two alignments of a movie."""
    from flexalign.comparison import (
        MotionLike,
        compare_motions,
        other_convention,
        rows_reversed,
        shared_frames,
    )
    from flexalign.io.motion_formats.alignment_pairs import read_pair
    from flexalign.io.motion_formats.read_motion import ANY_SHAPE_PX

    a, read_b, facts = read_pair(pair, shape_px=options.shape_px, pixel_size_A=options.pixel_size)
    frames = shared_frames(a, read_b)
    # Without a known size there is no local motion either.
    shape = facts.shape_px or ANY_SHAPE_PX
    b: MotionLike = rows_reversed(read_b, shape) if options.turn_rows else read_b
    found = compare_motions(a, b, frames, shape)
    return Compared(pair, found, facts.pixel_size_A, other_convention(a, b, frames, shape))


def _nothing_in_common(a: str, b: str, in_a: list[Alignment], in_b: list[Alignment]) -> str:
    """The error message when no movie is in both."""
    found = (names([item.root for item in side]) for side in (in_a, in_b))
    return (
        f"expected alignments of the same movies, found none of one name: {next(found)} in {a}, "
        f"{next(found)} in {b}"
    )


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
