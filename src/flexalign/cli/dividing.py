"""The command `divide`: electrons that no alignment has seen, for the command `score`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from flexalign.batch.inputs import find_movies
from flexalign.cli.alignment import movies_argument
from flexalign.cli.console import Debug, progress_bar, run_each
from flexalign.cli.options import collect_parameters, takes_only_parameters
from flexalign.errors import InputError
from flexalign.naming import movie_root

HALVES = ("a", "b")


@takes_only_parameters("gain")
def divide(
    movies: Annotated[list[str], movies_argument("MRC or TIFF with counts; not EER")],
    out: Annotated[
        Path,
        typer.Option(
            help="Folder for the folders 'a' and 'b', one half of each movie in either, under the "
            "name of the movie.",
            metavar="DIR",
        ),
    ],
    seed: Annotated[
        int, typer.Option(min=0, help="Seed of the random numbers; the same gives the same halves.")
    ] = 1,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files of the same names.")
    ] = False,
    debug: Debug = False,
    **values: Any,
) -> None:
    """Divide the electrons of counted movies at random into two movies of half the dose.

    Align the movies in 'a' with any programs, and score the alignments with those in 'b' and
    --independent: they have the same specimen and motion, but independent noise. Movies must be as
    the detector wrote them, before gain correction: whole numbers in MRC or TIFF. EER movies cannot
    be divided; score their alignments on the movies themselves. The gain is not applied; its size
    shows whether a TIFF holds two counts in each byte.

    Exit code: 0 all divided, 1 some failed, 2 parameters, 3 all failed.
    """
    from flexalign.io.movies.halves import check_countable, half_suffix, write_halves
    from flexalign.io.movies.open_movie import open_for
    from flexalign.io.results import make_folder
    from flexalign.io.writing.ownership import refuse_existing, refuse_inputs

    params = collect_parameters(values, None)
    paths = find_movies(movies, (params.gain,))
    make_folder(out)
    count = Counter(movie_root(path) for path in paths)

    def work(path: Path) -> None:
        root = movie_root(path)
        if count[root] > 1:
            raise InputError(f"{path}: expected movies of different names, found {root} twice")
        with open_for(path, params) as reader:
            check_countable(reader)
            name = root + half_suffix(reader.info.file_format)
            a, b = (out / half / name for half in HALVES)
            refuse_inputs([a, b], paths)
            refuse_existing(a, overwrite=overwrite)
            refuse_existing(b, overwrite=overwrite)
            for half in (a, b):
                make_folder(half.parent)
            with progress_bar(path) as progress:
                write_halves(reader, (a, b), seed, progress)
        typer.echo(f"{path.name}: {a} and {b}", err=True)

    raise typer.Exit(run_each(paths, work, debug=debug))
