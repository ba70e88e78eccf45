"""Rates of wrong verdicts, false flags and wrong standard errors.

Movies without any specimen, with one at rest and with one that moves are aligned, at many sizes,
frame numbers and doses.  Results are appended to ``error_rates.jsonl`` in the cache, so a long run
can be done in parts; what the same code has done already is not done again.  The table is Markdown,
with 95 % intervals of Wilson::

    python benchmarks/error_rates.py --list
    python benchmarks/error_rates.py flat still-faint --sizes 512 --seeds 101 102 103
    python benchmarks/error_rates.py --minutes 30
    python benchmarks/error_rates.py --table

Seeds below 100 are for tuning and are not reported.

References
----------
Wilson, J. Am. Stat. Assoc. 22 (1927) 209.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import peers
from conditions import stated_error_px
from store import Store, add_table_option, make_parser, parse, version_of

from flexalign.align import align_movie
from flexalign.motion import Motion
from flexalign.params import AlignParams
from flexalign.quality.flags import DEFINITIONS
from flexalign.simulate import SimulatedMovie, SimulationSettings, motion_error_px, simulate_movie

_FLAT: dict[str, Any] = {"motion": "none", "particles": 0, "ice_thickness_A": 0.0}
_STILL: dict[str, Any] = {"motion": "none"}
_MOVING: dict[str, Any] = {"global_motion_px": 5.0, "local_motion_px": 1.5}
_MEDIUM: dict[str, Any] = {"contrast": 0.5}
_FAINT: dict[str, Any] = {"contrast": 0.2, "ice_thickness_A": 100.0}
SITUATIONS: dict[str, dict[str, Any]] = {
    "flat": _FLAT,
    "flat-pattern": {**_FLAT, "gain_error": 0.05},
    "flat-hot": {**_FLAT, "faults": ("stuck-blocks",)},
    "still": _STILL,
    "still-medium": {**_STILL, **_MEDIUM},
    "still-faint": {**_STILL, **_FAINT},
    "still-pattern": {**_STILL, "gain_error": 0.05},
    "moving": _MOVING,
    "moving-medium": {**_MOVING, **_MEDIUM},
    "moving-faint": {**_MOVING, **_FAINT},
}
# Frames and electrons per pixel in each: about as many electrons in all, and far fewer.
EXPOSURES = ((2, 2.0), (3, 2.0), (4, 1.0), (8, 1.0), (8, 0.2), (24, 1.0), (24, 0.1), (100, 0.2),
             (100, 0.02))  # fmt: skip
SIZES_PX = (512, 1024, 2048)
PIXEL_SIZE_A = 1.2
# Flags for too little signal, which are true of faint movies.
_OF_LITTLE_SIGNAL = {"no-signal", "uncorrected", "uncertain", "rough-path"}
# Flags that are true in other situations; any other warning or problem is false.
_TRUE_FLAGS = {
    "flat": {"no-signal"},
    "flat-pattern": {"no-signal", "fixed-pattern", "gain-residual", "uncorrected"},
    "flat-hot": {"no-signal", "hot-pixels", "uncorrected"},
    "still-pattern": {"fixed-pattern", "gain-residual"} | _OF_LITTLE_SIGNAL,
}
# Tolerance below which a motion counts as none; RELION has found a motion if it leaves less than
# this share of it.
_MIN_PX, _FOUND_SHARE, _STATED_ERRORS = 0.05, 0.5, 5.0
_RESULTS = "error_rates.jsonl"
_WILSON = 1.96


@dataclass(frozen=True, slots=True)
class Case:
    """Settings of one movie."""

    situation: str
    size_px: int
    frames: int
    electrons_per_px: float
    seed: int

    @property
    def settings(self) -> SimulationSettings:
        """Settings of the simulation."""
        return SimulationSettings(
            shape_px=(self.size_px, self.size_px), frame_count=self.frames, seed=self.seed,
            electrons_per_px=self.electrons_per_px, pixel_size_A=PIXEL_SIZE_A,
            **SITUATIONS[self.situation],
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict on one movie: a line of the results.

    Attributes
    ----------
    situation, size_px, frames, electrons_per_px, seed : of the `Case`
    version : of the program
    chosen, flags : which motion was kept, and the flags of the movie
    bound_px : stated upper bound of the motion; None = not stated
    extent_px : largest true displacement of any place along y or x
    before_px, after_px : rms distance from the true motion of none and of the one kept
    told_px : the error to which the standard error refers: of the path where there is no field
    stated_px : that standard error; None = not stated
    peer_px : the error of RELION's motion, where the specimen moved and no motion was kept
    """

    situation: str
    size_px: int
    frames: int
    electrons_per_px: float
    seed: int
    version: str
    chosen: str
    flags: tuple[str, ...]
    bound_px: float | None
    extent_px: float
    before_px: float
    after_px: float
    told_px: float
    stated_px: float | None
    peer_px: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "flags", tuple(self.flags))  # JSON has lists

    @property
    def moves(self) -> bool:
        """Whether the specimen moves."""
        return self.situation.startswith("moving")

    @property
    def false_flags(self) -> set[str]:
        """False flags of the severities warning and problem."""
        true = _TRUE_FLAGS.get(self.situation, _OF_LITTLE_SIGNAL)
        grave = {name for name in self.flags if DEFINITIONS[name].severity != "note"}
        return grave - true


def _kept_without_signal(v: Verdict) -> bool | None:
    return v.chosen != "none" if v.situation.startswith("flat") else None


def _kept_at_rest(v: Verdict) -> bool | None:
    return v.after_px > _MIN_PX if v.situation.startswith("still") else None


def _missed(v: Verdict) -> bool | None:
    """Whether no motion was kept where another program has found one."""
    if not v.moves:
        return None
    return v.peer_px is not None and v.peer_px < _FOUND_SHARE * v.before_px


def _worse(v: Verdict) -> bool | None:
    return v.after_px > 1.05 * v.before_px + _MIN_PX if v.moves else None


def _beyond_bound(v: Verdict) -> bool | None:
    """Whether a specimen reported as still moved more than the stated bound."""
    return None if v.bound_px is None or "still" not in v.flags else v.extent_px > v.bound_px


def _beyond_errors(v: Verdict) -> bool | None:
    """Whether the error of the motion exceeds its standard errors without a flag."""
    if v.stated_px is None or v.chosen == "none":
        return None
    is_off = v.told_px > _STATED_ERRORS * v.stated_px + _MIN_PX
    return is_off and "unsafe-motion" not in v.flags


WRONG: dict[str, Callable[[Verdict], bool | None]] = {
    "a motion kept without any specimen": _kept_without_signal,
    "a motion kept of a specimen at rest": _kept_at_rest,
    "none kept where RELION found one": _missed,
    "the motion kept worse than none": _worse,
    "farther than the bound of *still*": _beyond_bound,
    "off by more than 5 stated errors, not *unsafe-motion*": _beyond_errors,
    "a warning or problem without cause": lambda v: bool(v.false_flags),
}


def verdict_on(case: Case, threads: int, folder: Path) -> Verdict:
    """The verdict on one movie, with the error of RELION where flexalign found no motion."""
    movie = simulate_movie(case.settings, threads=threads)
    files = movie.save(folder, "movie")
    params = AlignParams(
        pixel_size_A=PIXEL_SIZE_A, dose_per_frame_e_A2=movie.settings.dose_e_A2,
        gain=str(files["gain"]), dose_weight=False, psd=False, threads=threads,
    )  # fmt: skip
    found = align_movie(files["movie"], params)
    quality = found.quality
    still = Motion.still(case.frames)
    after_px = motion_error_px(found.motion, movie).rms_px
    told_px = after_px if found.motion.field is not None else _path_error_px(found.motion, movie)
    has_bound = math.isfinite(quality.motion_bound_A)
    peer_px = None
    if SITUATIONS[case.situation].get("motion") != "none" and quality.chosen == "none":
        peer_px = _by_relion(movie, files, threads)
    return Verdict(
        **asdict(case), version=version_of("refined"),
        chosen=quality.chosen, flags=tuple(quality.flag_names),
        bound_px=quality.motion_bound_A / PIXEL_SIZE_A if has_bound else None,
        extent_px=float(np.ptp(movie.displacement_px, axis=0).max()),
        before_px=motion_error_px(still, movie).rms_px,
        after_px=after_px,
        told_px=told_px,
        stated_px=stated_error_px(quality, PIXEL_SIZE_A), peer_px=peer_px,
    )  # fmt: skip


def _path_error_px(motion: Motion, movie: SimulatedMovie) -> float:
    """RMS distance of the path from the mean of the true motion over places."""
    error = motion.trajectory.displacement_px - movie.displacement_px.mean(axis=(1, 2))
    return float(np.sqrt(((error - error.mean(axis=0)) ** 2).sum(axis=1).mean()))


def _by_relion(movie: SimulatedMovie, files: dict[str, Path], threads: int) -> float | None:
    """RMS distance of RELION's motion from the true one; None = failed or not installed."""
    method = "RELION 5x5"
    if not version_of(method):
        return None
    try:
        found, _ = peers.relion_motions(files["movie"], files["gain"], movie.settings, threads)
    except peers.PeerError:
        return None
    return motion_error_px(found[method], movie).rms_px


def cases(situations: Iterable[str], sizes_px: Sequence[int], seeds: Sequence[int]) -> list[Case]:
    """All movies; fewer of larger fields, since they take longer."""
    smallest = min(sizes_px)
    return [
        Case(situation, size_px, *exposure, seed)
        for size_px in sizes_px
        for seed in seeds[: max(1, len(seeds) * smallest // size_px)]
        for exposure in EXPOSURES
        for situation in situations
    ]


def run(wanted: Iterable[Case], cache: Path, threads: int, minutes: float = math.inf) -> None:
    """Compute the results that are missing for the current version, within the time limit."""
    ends = time.monotonic() + 60 * minutes
    results = Store(cache / _RESULTS, Verdict)
    done = {_key(verdict) for verdict in results.read()}
    for case in wanted:
        if time.monotonic() > ends:
            return
        if (case, version_of("refined")) in done:
            continue
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            verdict = verdict_on(case, threads, Path(folder))
        results.append(verdict)
        wrong = [name for name, is_wrong in WRONG.items() if is_wrong(verdict)]
        print(case, verdict.chosen, *verdict.flags, *(f"[{name}]" for name in wrong), flush=True)


def _key(verdict: Verdict) -> tuple[Case, str]:
    case = Case(verdict.situation, verdict.size_px, verdict.frames, verdict.electrons_per_px,
                verdict.seed)  # fmt: skip
    return case, verdict.version


def interval(wrong: int, of: int) -> tuple[float, float]:
    """The 95 % confidence interval of a rate (Wilson).

    Examples
    --------
    >>> [round(end, 3) for end in interval(0, 100)]
    [0.0, 0.037]
    """
    z2 = _WILSON**2
    middle = (wrong + z2 / 2) / (of + z2)
    half = _WILSON * math.sqrt(wrong * (of - wrong) / of + z2 / 4) / (of + z2)
    return max(0.0, middle - half), min(1.0, middle + half)


def table(verdicts: Sequence[Verdict]) -> str:
    """A Markdown table of the wrong verdicts, and the false flags."""
    sizes = sorted({verdict.size_px for verdict in verdicts})
    lines = [
        "| wrong | " + " | ".join(f"{size} px" for size in sizes) + " | all | rate, % |",
        "| --- |" + " --: |" * (len(sizes) + 2),
    ]
    for name, is_wrong in WRONG.items():
        counted = [_counted(verdicts, is_wrong, [size]) for size in sizes]
        wrong, of = _counted(verdicts, is_wrong, sizes)
        cells = [f"{part} of {whole}" if whole else "-" for part, whole in [*counted, (wrong, of)]]
        rate = "{:.1f} to {:.1f}".format(*(100 * end for end in interval(wrong, of))) if of else "-"
        lines.append(f"| {name} | {' | '.join(cells)} | {rate} |")
    false = sorted(name for verdict in verdicts for name in verdict.false_flags)
    flag_counts = (
        ", ".join(f"*{name}* {false.count(name)}" for name in sorted(set(false))) or "none"
    )
    return "\n".join([*lines, "", f"Flags without cause: {flag_counts}."])


def _counted(
    verdicts: Iterable[Verdict], is_wrong: Callable[[Verdict], bool | None], sizes: Sequence[int]
) -> tuple[int, int]:
    """Number of wrong verdicts, and of verdicts that could be wrong."""
    found = [is_wrong(verdict) for verdict in verdicts if verdict.size_px in sizes]
    known = [answer for answer in found if answer is not None]
    return sum(known), len(known)


def main() -> None:
    parser = make_parser(__doc__)
    add_table_option(parser)
    parser.add_argument("--sizes", nargs="+", type=int, default=list(SIZES_PX), metavar="PX")
    parser.add_argument("--seeds", nargs="+", type=int, default=[101, 102, 103, 104])
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop after so many")
    chosen = parse(parser, SITUATIONS, "SITUATION")
    wanted = cases(chosen.names or SITUATIONS, chosen.sizes, chosen.seeds)
    if not chosen.table:
        run(wanted, chosen.cache, chosen.threads, chosen.minutes)
    latest = {
        _key(verdict)[0]: verdict for verdict in Store(chosen.cache / _RESULTS, Verdict).read()
    }
    print("\n" + table([latest[case] for case in wanted if case in latest]))


if __name__ == "__main__":
    main()
