"""Accuracy of the motion under common and adverse imaging conditions.

Movies of many kinds with known motion are aligned by flexalign, with and without local motion,
and by RELION where it is installed.  Results are appended to ``conditions.jsonl`` in the cache,
so a long run can be done in parts; what the same code has done already is not done again.  The
table is Markdown::

    python benchmarks/conditions.py --list
    python benchmarks/conditions.py plain gold-foil --seeds 101 102
    python benchmarks/conditions.py --random 200
    python benchmarks/conditions.py --random 200 --first 1001 --max-samples 0.5

RMS is the length of the difference from the true displacement in px, over frames and places,
each place's mean over frames removed.  Seeds below 100 are for tuning and are not reported.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import peers
from attainable import attainable_motions
from catalogue import CONDITIONS, MAX_PX, Condition, condition, random_condition
from store import Store, add_table_option, installed, make_parser, parse, version_of

import flexalign
from flexalign.align import align_movie
from flexalign.comparison import MotionLike
from flexalign.model import Quality
from flexalign.motion import Motion
from flexalign.params import AlignParams
from flexalign.simulate import motion_error_px, simulate_movie

ATTAINABLE = "attainable"
METHODS = ("none", "ours", "ours global", ATTAINABLE, *peers.RELION_METHODS)
# A motion may be off by so much more before it is called worse, or by so many stated errors
# before these are called wrong.
_WORSE, _MIN_PX, _STATED_ERRORS = 1.05, 0.05, 5.0
OTHERS = {
    "worse than none": ("none",),
    "worse than RELION": peers.RELION_METHODS,
    "worse than our global": ("ours global",),
}
# The aim: an error of at most this share of the best other's, or near the attainable one.
_OF_OTHERS, _OF_ATTAINABLE = 0.7, 1.3
SHORT = f"over {_OF_OTHERS:g} of the best other and over {_OF_ATTAINABLE:g} of the attainable"
OFF = f"off by more than {_STATED_ERRORS:g} stated errors"
FAULTS = (*OTHERS, SHORT, OFF, "failed")
_OTHER_MOTIONS = (*peers.RELION_METHODS, "ours global")
_RESULTS = "conditions.jsonl"


@dataclass(frozen=True, slots=True)
class Result:
    """Result of one method on one movie: a line of the results.

    Attributes
    ----------
    code : of the settings and of the simulator
    version : of the program
    rms_px, worst_px : distance to the true displacement; None where the program failed
    stated_px : the typical standard error that it states, of the length
    chosen, flags : which motion flexalign kept, and the flags of the movie
    error : why there is no motion
    """

    condition: str
    seed: int
    code: str
    method: str
    version: str
    rms_px: float | None = None
    worst_px: float | None = None
    stated_px: float | None = None
    chosen: str = ""
    flags: str = ""
    error: str = ""


class Movie:
    """A movie in the cache."""

    def __init__(self, made: Condition, cache: Path, threads: int) -> None:
        self.condition, self.threads = made, threads
        self.folder = cache / f"{made.name}_{made.settings.seed}_{made.code}"
        self.path, self.gain = self.folder / "movie.mrc", self.folder / "movie_gain.mrc"
        self.truth = self.folder / "movie_truth.npz"
        if not self.truth.exists():  # it is written last
            simulate_movie(made.settings, threads=threads).save(self.folder, "movie")
        with np.load(self.truth) as file:
            self._truth = {name: file[name] for name in file.files if name != "specimen"}

    def params(self, **changes: Any) -> AlignParams:
        """Parameters as a user gives them, without images that are not scored."""
        settings = self.condition.settings
        return AlignParams(
            pixel_size_A=settings.pixel_size_A, voltage_kV=settings.voltage_kV,
            dose_per_frame_e_A2=settings.dose_e_A2, gain=str(self.gain), dose_weight=False,
            psd=False, threads=self.threads, **changes,
        )  # fmt: skip

    def result(self, method: str, motion: MotionLike | None = None, **more: Any) -> Result:
        """Error of `motion` with respect to the true one."""
        if motion is not None:
            error = motion_error_px(motion, self._truth)
            more.update(rms_px=error.rms_px, worst_px=error.worst_px)
        made = self.condition
        return Result(made.name, made.settings.seed, made.code, method, version_of(method), **more)


def samples_Gpx(made: Condition) -> float:
    """Pixels of all frames of a movie, in 1e9."""
    return made.settings.pixel_count * made.settings.frame_count / 1e9


def results_of(movie: Movie, missing: Iterable[str]) -> Iterator[Result]:
    """Results of the methods in `missing` on a movie."""
    missing = set(missing)
    if "none" in missing:
        yield movie.result("none", Motion.still(movie.condition.settings.frame_count))
    for method, local in (("ours", True), ("ours global", False)):
        if method in missing:
            yield _by_flexalign(movie, method, local)
    if ATTAINABLE in missing:
        yield _attainable(movie)
    if missing.intersection(peers.RELION_METHODS):
        yield from _by_relion(movie)


def _by_flexalign(movie: Movie, method: str, local: bool) -> Result:
    try:
        found = align_movie(movie.path, movie.params(local=local))
    except flexalign.FlexAlignError as error:
        return movie.result(method, error=str(error))
    return movie.result(
        method, found.motion, chosen=found.quality.chosen,
        stated_px=stated_error_px(found.quality, movie.condition.settings.pixel_size_A),
        flags=", ".join(found.quality.flag_names),
    )  # fmt: skip


def _attainable(movie: Movie) -> Result:
    """The smaller error of those with different coarsest detail."""
    motions = attainable_motions(movie.path, movie.truth, movie.params())
    results = (movie.result(ATTAINABLE, motion) for motion in motions)
    return min(results, key=lambda result: result.rms_px or 0.0)


def _by_relion(movie: Movie) -> Iterator[Result]:
    """Both motions of one run."""
    settings, methods = movie.condition.settings, peers.RELION_METHODS
    try:
        motions, _ = peers.relion_motions(movie.path, movie.gain, settings, movie.threads)
    except peers.PeerError as error:
        yield from (movie.result(method, error=str(error)[-200:]) for method in methods)
        return
    yield from (movie.result(method, motion) for method, motion in motions.items())


def stated_error_px(quality: Quality, pixel_size_A: float) -> float | None:
    """Median standard error of the length of a displacement; None = not given."""
    if not np.isfinite(quality.trajectory_error_A):
        return None
    field_A, along_A = np.nan_to_num(quality.field_error_A), quality.trajectory_error_A
    across_A = along_A if np.isnan(quality.other_error_A) else quality.other_error_A
    return float(np.sqrt(along_A**2 + across_A**2 + 2 * field_A**2) / pixel_size_A)


def run(
    wanted: Iterable[Condition], methods: Sequence[str], cache: Path, threads: int, *, keep: bool
) -> None:
    """Compute the results that are missing for the current versions."""
    results = Store(cache / _RESULTS, Result)
    done = {(r.code, r.method, r.version) for r in results.read()}
    for made in wanted:
        missing = [m for m in methods if (made.code, m, version_of(m)) not in done]
        if not missing:
            continue
        movie = Movie(made, cache, threads)
        for result in results_of(movie, missing):
            results.append(result)
            print(f"{made.name} {made.settings.seed} {result.method}: {_px(result)}", flush=True)
        if not keep:
            shutil.rmtree(movie.folder)


Rows = dict[tuple[str, int], dict[str, Result]]


def latest(results: Iterable[Result], wanted: Iterable[Condition]) -> Rows:
    """The latest result of each method, by condition and seed."""
    rows: Rows = {(made.name, made.settings.seed): {} for made in wanted}
    codes = {made.code for made in wanted}
    for result in results:
        if result.code in codes:
            rows[result.condition, result.seed][result.method] = result
    return {key: row for key, row in rows.items() if row}


def table(rows: Rows) -> str:
    """A Markdown table with one line for each movie."""
    lines = [
        "| condition | seed | " + " | ".join(METHODS) + " | stated | kept | flags |",
        "| --- | --: |" + " --: |" * (len(METHODS) + 1) + " --- | --- |",
    ]
    for (name, seed), row in rows.items():
        cells = [name, str(seed), *(_px(row.get(method)) for method in METHODS)]
        ours = row.get("ours")
        stated = "-" if ours is None or ours.stated_px is None else f"{ours.stated_px:.3f}"
        cells += [stated, (ours and ours.chosen) or "-", (ours and ours.flags) or "-"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _px(result: Result | None) -> str:
    if result is None or (result.rms_px is None and not result.error):
        return "-"
    return "failed" if result.rms_px is None else f"{result.rms_px:.3f}"


def faults_of(row: dict[str, Result]) -> list[str]:
    """The faults of our motion of one movie, as named in the summary."""
    ours = row.get("ours")
    if ours is None or ours.rms_px is None:
        return ["failed"] if ours is not None else []
    found = []
    for fault, methods in OTHERS.items():
        known = _known_px(row, methods)
        if known and ours.rms_px > _WORSE * min(known) + _MIN_PX:
            found.append(fault)
    if can_have(SHORT, row) and _is_short(row):
        found.append(SHORT)
    if ours.stated_px is not None and ours.rms_px > _STATED_ERRORS * ours.stated_px + _MIN_PX:
        found.append(OFF)
    return found


def _is_short(row: dict[str, Result]) -> bool:
    """Whether our error is neither much smaller than the others' nor near the attainable one."""
    ours, attainable = row["ours"].rms_px, row[ATTAINABLE].rms_px
    assert ours is not None
    assert attainable is not None
    is_near = ours <= _OF_ATTAINABLE * attainable + _MIN_PX
    return not is_near and ours > _OF_OTHERS * min(_known_px(row, _OTHER_MOTIONS)) + _MIN_PX


def _known_px(row: dict[str, Result], methods: Iterable[str]) -> list[float]:
    """The errors of those of the methods that found a motion."""
    found = (row[method].rms_px for method in methods if method in row)
    return [rms_px for rms_px in found if rms_px is not None]


def can_have(fault: str, row: dict[str, Result]) -> bool:
    """Whether a fault can be determined for a movie."""
    ours = row.get("ours")
    if ours is None or ours.rms_px is None:
        return fault == "failed" and ours is not None
    if fault == OFF:
        return ours.stated_px is not None
    if fault == SHORT:
        return bool(_known_px(row, _OTHER_MOTIONS) and _known_px(row, [ATTAINABLE]))
    return bool(_known_px(row, OTHERS.get(fault, ("ours",))))


def summary(rows: Rows) -> str:
    """Number and names of movies with each fault, of those for which it can be determined."""
    lines = []
    for fault in FAULTS:
        wrong = [key for key, row in rows.items() if fault in faults_of(row)]
        of = sum(can_have(fault, row) for row in rows.values())
        if not of:
            continue
        names = ", ".join(f"{name} {seed}" for name, seed in wrong)
        line_of_fault = f"- {fault}: {len(wrong)} of {of} ({len(wrong) / of:.1%})"
        lines.append(f"{line_of_fault}: {names}" if names else line_of_fault)
    return "\n".join([f"Of {len(rows)} movies", "", *lines])


def main() -> None:
    parser = make_parser(__doc__)
    add_table_option(parser)
    parser.add_argument("--seeds", nargs="+", type=int, default=[101])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--size", type=int, metavar="PX", help="square fields of this size")
    parser.add_argument("--random", type=int, metavar="N",
                        help="N movies with random settings")  # fmt: skip
    parser.add_argument("--first", type=int, default=1001, metavar="SEED", help="of --random")
    parser.add_argument("--largest", type=int, default=MAX_PX, metavar="PX",
                        help="side of a field of --random")  # fmt: skip
    parser.add_argument("--max-samples", type=float, metavar="GPX",
                        help="leave out movies of more pixels in all, in 1e9")  # fmt: skip
    parser.add_argument("--discard", action="store_true", help="keep no movies in the cache")
    chosen = parse(parser, CONDITIONS, "CONDITION")
    if chosen.random:
        seeds = range(chosen.first, chosen.first + chosen.random)
        wanted = [random_condition(seed, chosen.largest) for seed in seeds]
    else:
        names = chosen.names or CONDITIONS
        wanted = [condition(name, seed, chosen.size) for name in names for seed in chosen.seeds]
    if chosen.max_samples is not None:
        wanted = [made for made in wanted if samples_Gpx(made) <= chosen.max_samples]
    methods = installed(chosen.methods)
    if not chosen.table:
        keep = not (chosen.discard or chosen.random)
        run(wanted, methods, chosen.cache, chosen.threads, keep=keep)
    rows = latest(Store(chosen.cache / _RESULTS, Result).read(), wanted)
    print("\n" + table(rows) + "\n\n" + summary(rows))


if __name__ == "__main__":
    main()
