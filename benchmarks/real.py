r"""Compare motion correction programs on real movies: their signal, seconds and memory.

Every program that is found (flexalign with and without local motion, RELION's own implementation
with 5 x 5 patches and without, MotionCor2 or MotionCor3) aligns every movie, one after the other.
Results of other programs are given as folders.  All alignments are then scored on the movies by
``flexalign score``::

    python benchmarks/real.py 'Movies/*.tiff' --gain Movies/gain.mrc --pixel-size 0.885 \
        --voltage 200 --dose-per-frame 1.277 --out comparison
    python benchmarks/real.py movies --pixel-size 0.83 --out comparison \
        --alignment cryosparc=exported --options relion='--gain_flip 1'

What is finished in the folder of results, with the same options, is not repeated.  Movies are read
once before the programs start, so that all find them in the page cache.  Memory is that of the
host, not of a GPU.  With ``--score-on`` the alignments of one half of the electrons are scored on
the other half (``flexalign divide``).
"""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import drifting
import peers
from peers import Watched
from programs import Program, Session, found_programs, movie_options
from score_tables import comparison_table

import flexalign
from flexalign.batch.inputs import find_movies
from flexalign.batch.rows import write_csv
from flexalign.naming import movie_root

COST = "cost.json"
TABLE, ROWS, SCORES = "comparison.md", "comparison.csv", "scores.json"


@dataclass(frozen=True, slots=True)
class Results:
    """Results of the programs in a folder: ``PROGRAM/MOVIE/``, with a `COST` when finished."""

    folder: Path

    def cost(self, program: Program, movie: Path, session: Session) -> Watched | None:
        """What a finished run of the same command cost; None = there is none."""
        path = self._place(program) / movie_root(movie) / COST
        if not path.exists():
            return None
        found = json.loads(path.read_text())
        is_same = found.pop("command") == program.command(movie, session)
        return Watched(**found) if is_same else None

    def _place(self, program: Program) -> Path:
        return self.folder / program.name.replace(" ", "_")

    def run(self, program: Program, movie: Path, session: Session) -> Watched:
        """Run a program on a movie and keep its results.

        Raises
        ------
        PeerError
            If it fails or writes no alignment; nothing is kept.
        """
        of_program = self._place(program)
        of_program.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=of_program, prefix=".") as name:
            work = Path(name) / movie_root(movie)
            (work / "movies").mkdir(parents=True)
            (work / "movies" / movie.name).symlink_to(movie)
            command = program.command(movie, session)
            cost = peers.watched(command, work, peers.thread_limit(session.threads))
            if not list(work.glob(program.alignment)):
                raise peers.PeerError(f"{program.name} wrote no {program.alignment} of {movie}")
            shutil.rmtree(work / "movies")
            (work / COST).write_text(json.dumps({"command": command, **asdict(cost)}))
            place = of_program / work.name
            if (place / COST).exists():  # of other options
                shutil.rmtree(place)
            work.rename(place)
        return cost

    def alignments(self, program: Program) -> str:
        """Pattern of the alignments of all movies."""
        return str(self._place(program) / "*" / program.alignment)


def run_all(
    programs: Sequence[Program], movies: Sequence[Path], session: Session, results: Results
) -> list[str]:
    """Run what is not finished; a line for each failure."""
    failures = []
    is_compiled = False
    for movie in movies:
        left = [one for one in programs if results.cost(one, movie, session) is None]
        if left:
            drifting.read_through(movie)
        for program in left:
            if program.family == "flexalign" and not is_compiled:
                compile_loops(program, movie, session)
                is_compiled = True
            try:
                cost = results.run(program, movie, session)
                print(f"{movie.name}: {program.name} {cost.seconds:.1f} s", flush=True)
            except peers.PeerError as error:
                reason = str(error).strip().splitlines()[-1]
                failures.append(f"{movie.name}: {program.name} failed: {reason}")
                print(failures[-1], flush=True)
    return failures


def compile_loops(program: Program, movie: Path, session: Session) -> None:
    """Run flexalign once, so that no measured time includes the compilation of its loops."""
    with tempfile.TemporaryDirectory() as name:
        try:
            Results(Path(name)).run(program, movie, session)
        except peers.PeerError:
            print(f"{movie.name}: could not be aligned for a first time", flush=True)


def scored(
    alignments: Mapping[str, str], movies: Sequence[Path], session: Session, *more: str
) -> dict[str, Any]:
    """What ``flexalign score --json`` prints of alignments, by name."""
    words = [sys.executable, "-m", flexalign.__name__, "score", "--json", *more]
    words += [f"{name}={path}" for name, path in alignments.items()]
    for movie in movies:
        words += ["--movies", str(movie)]
    # Movies that cannot be scored are printed there, and are not in the table.
    printed = subprocess.run(
        [*words, *movie_options(session)], stdout=subprocess.PIPE, text=True, check=False
    )
    if not printed.stdout:
        raise peers.PeerError(f"flexalign score ended with code {printed.returncode}")
    return dict(json.loads(printed.stdout))


def write_table(
    path: Path, scores: Mapping[str, Any], costs: Mapping[tuple[str, str], Watched]
) -> None:
    """CSV: cost and scores of each alignment of each movie."""
    of_costs = ("seconds", "cpu_s", "peak_memory_bytes")
    rows = []
    for row in scores["movies"]:
        cost = costs.get((row["alignment"], row["movie"]))
        rows.append({**row, **{name: getattr(cost, name, "") for name in of_costs}})
    if rows:
        write_csv(path, tuple(max(rows, key=len)), rows)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("movies", nargs="+", help="movies, quoted patterns, folders or lists")
    parser.add_argument("--pixel-size", type=float, required=True, metavar="A")
    parser.add_argument("--voltage", type=float, default=300, metavar="kV")
    parser.add_argument("--dose-per-frame", type=float, metavar="e/A2")
    parser.add_argument("--gain", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="folder of results")
    parser.add_argument("--threads", type=int, default=2, help="of each program")
    parser.add_argument("--programs", nargs="+", metavar="NAME",
                        help="only these of the programs that are found")  # fmt: skip
    parser.add_argument("--alignment", action="append", default=[], metavar="NAME=FOLDER",
                        help="results of another program; may be repeated")  # fmt: skip
    parser.add_argument("--options", action="append", default=[], metavar="PROGRAM=WORDS",
                        help="more options for flexalign (those about the movies, as 'score' has "
                        "them too), relion or motioncor; may be repeated")  # fmt: skip
    parser.add_argument("--score-on", metavar="MOVIES", help="score on these movies, of the same "
                        "names, with other electrons: the second halves of 'divide'")  # fmt: skip
    parser.add_argument("--list", action="store_true",
                        help="print the commands for the first movie, run nothing")  # fmt: skip
    chosen = parser.parse_args()
    chosen.alignment = _by_name(parser, chosen.alignment)
    chosen.options = {
        name: shlex.split(words) for name, words in _by_name(parser, chosen.options).items()
    }
    if unknown := chosen.options.keys() - {"flexalign", "relion", "motioncor"}:
        parser.error(
            f"--options: expected flexalign, relion or motioncor, found {', '.join(unknown)}"
        )
    names = [program.name for program in found_programs()]
    if unknown := set(chosen.programs or []) - set(names):
        parser.error(f"--programs: expected some of {', '.join(names)}, found {', '.join(unknown)}")
    return chosen


def _by_name(parser: argparse.ArgumentParser, given: Sequence[str]) -> dict[str, str]:
    """Values of ``NAME=VALUE`` by name."""
    pairs = [text.partition("=") for text in given]
    if wrong := [text for text, (_, sign, value) in zip(given, pairs, strict=True) if not value]:
        parser.error(f"expected NAME=VALUE, found {', '.join(wrong)}")
    return {name: value for name, _, value in pairs}


def _movies(given: Sequence[str], gain: Path | None) -> list[Path]:
    """The movies that were given; results are in folders of their names, so that these differ."""
    movies = [path.resolve() for path in find_movies(given, (gain,))]
    (root, count), *_ = Counter(map(movie_root, movies)).most_common(1)
    if count > 1:
        raise flexalign.InputError(f"expected movies of different names, found {root} twice")
    return movies


def main() -> int:
    """Run the command line; the exit code is 1 if a program failed on a movie."""
    chosen = _arguments()
    gain = chosen.gain.resolve() if chosen.gain else None
    session = Session(
        chosen.pixel_size, chosen.voltage, chosen.dose_per_frame, gain, chosen.threads,
        chosen.options,
    )  # fmt: skip
    try:
        movies = _movies(chosen.movies, chosen.gain)
    except flexalign.FlexAlignError as error:
        sys.exit(str(error))
    programs = [
        one for one in found_programs() if not chosen.programs or one.name in chosen.programs
    ]
    if chosen.list:
        for program in programs:
            print(f"{program.name}: {shlex.join(program.command(movies[0], session))}")
        return 0
    results = Results(chosen.out.resolve())
    failures = run_all(programs, movies, session, results)
    costs = {
        (program.name, movie_root(movie)): cost
        for program in programs
        for movie in movies
        if (cost := results.cost(program, movie, session)) is not None
    }
    done = [one for one in programs if any(name == one.name for name, _ in costs)]
    alignments = {one.name: results.alignments(one) for one in done} | chosen.alignment
    try:
        if chosen.score_on is None:
            scores = scored(alignments, movies, session)
        else:
            others = _movies([chosen.score_on], chosen.gain)
            scores = scored(alignments, others, session, "--independent")
    except (peers.PeerError, flexalign.FlexAlignError) as error:
        sys.exit(str(error))
    of_programs = {
        one.name: [cost for (name, _), cost in costs.items() if name == one.name] for one in done
    }
    lines = [_circumstances(session), "", *comparison_table(scores, of_programs), ""]
    text = "\n".join(lines + [f"- {failure}" for failure in failures])
    (results.folder / SCORES).write_text(json.dumps(scores, indent=1))
    (results.folder / TABLE).write_text(text)
    write_table(results.folder / ROWS, scores, costs)
    print(f"\n{text}")
    return int(bool(failures))


def _circumstances(session: Session) -> str:
    """Versions and threads."""
    relion = peers.relion_version()
    others = f", {relion}" if relion else ""
    return f"flexalign {flexalign.__version__}{others}; {session.threads} threads."


if __name__ == "__main__":
    sys.exit(main())
