"""Accuracy of the motion of tilt series, tilt by tilt, with and without a shared prior.

Series with known motion are simulated; each tilt is measured by flexalign by itself, and again with
the prior that the other tilts give, and by RELION where it is installed.  Results are appended
to ``tilt_series.jsonl`` in the cache, so that a long run can be done in parts; what the same code
has done already is not done again.  The tables are Markdown::

    python benchmarks/tilt_series.py --list
    python benchmarks/tilt_series.py frames-6 frames-6-gold --seeds 101 102
    python benchmarks/tilt_series.py pixel-2.7 frames-6-eer --seeds 101 --tilts 11
    python benchmarks/tilt_series.py frames-6-gold --size 2046 2880 --tilts 41
    python benchmarks/tilt_series.py --table

A series in EER is also written in MRC, with the same electrons, for RELION.  RMS is the length of
the difference from the true displacement in px, over frames and places, each place's mean over
frames removed.  "best global" is the error of the true motion averaged over the field.  Seeds below
100 are for tuning and are not reported.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import peers
from store import Store, add_table_option, code_of, installed, make_parser, parse, version_of
from tilt_conditions import SERIES, settings_of

import flexalign
from flexalign.align import align_movie
from flexalign.comparison import MotionLike, relative_px
from flexalign.estimate.series import series_priors
from flexalign.estimate.series_prior import SeriesPrior
from flexalign.measure_tilt import measure_tilt
from flexalign.motion import Motion
from flexalign.params import AlignParams
from flexalign.simulate import (
    TiltSeriesSettings,
    motion_error_px,
    simulate_tilt_series,
)
from flexalign.simulate.files import save_movie
from flexalign.simulate.tilt_files import EER_RAW_FRAMES_PER_FRAME

METHODS = ("none", "best global", "alone", "series", *peers.RELION_METHODS)
_RESULTS = "tilt_series.jsonl"
# One without neighbours, and two with what they say.
_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Result:
    """Result of one method on one tilt: a line of the results.

    Attributes
    ----------
    code : of the settings
    number : of the tilt, in order of time
    version : of the program
    rms_px : distance to the true displacement; None where the program failed
    seconds : that it took
    chosen : which motion flexalign kept
    error : why there is no motion
    """

    series: str
    seed: int
    code: str
    number: int
    angle_deg: float
    method: str
    version: str
    rms_px: float | None = None
    seconds: float | None = None
    chosen: str = ""
    error: str = ""


class Series:
    """A series in the cache."""

    def __init__(self, name: str, seed: int, made: TiltSeriesSettings, cache: Path) -> None:
        self.name, self.seed, self.settings = name, seed, made
        self.is_eer = SERIES[name].file_format == "eer"
        self.code = code_of(made, *(["eer"] if self.is_eer else []))
        self.folder = cache / f"tilts_{name}_{seed}_{self.code}"
        self.gain = self.folder / "gain.mrc"

    def simulate(self, threads: int) -> None:
        """Write the files that are missing."""
        if (self.folder / "done").exists():
            return
        for tilt in simulate_tilt_series(self.settings, threads=threads):
            first, name = tilt.number == 0, f"{tilt.number}"
            paths = save_movie(tilt.movie, self.folder, name, "mrc", with_gain=first)
            if "gain" in paths:
                paths["gain"].rename(self.gain)
            if self.is_eer:
                save_movie(
                    tilt.movie, self.folder, name, "eer", EER_RAW_FRAMES_PER_FRAME, with_gain=first
                )
        (self.folder / "done").touch()

    def movie(self, number: int) -> Path:
        """The movie of a tilt in MRC."""
        return self.folder / f"{number}.mrc"

    def our_movie(self, number: int) -> Path:
        """The movie of a tilt in the format of the series."""
        return self.movie(number).with_suffix(".eer") if self.is_eer else self.movie(number)

    def params(self, number: int, threads: int) -> AlignParams:
        """Parameters as a user gives them, without images that are not scored."""
        movie = self.settings.of_tilt(number)
        return AlignParams(
            pixel_size_A=movie.pixel_size_A, voltage_kV=movie.voltage_kV,
            dose_per_frame_e_A2=movie.dose_e_A2, pre_exposure_e_A2=movie.pre_exposure_e_A2,
            gain=str(self.folder / "0.gain" if self.is_eer else self.gain),
            eer_fractions=movie.frame_count, dose_weight=False, psd=False, threads=threads,
        )  # fmt: skip

    def truth(self, number: int) -> dict[str, Any]:
        """The true motion of a tilt."""
        with np.load(self.folder / f"{number}_truth.npz") as file:
            return {key: file[key] for key in file.files if key != "specimen"}

    def result(
        self, number: int, method: str, motion: MotionLike | None = None, **more: Any
    ) -> Result:
        """Error of `motion` with respect to the true one."""
        if motion is not None:
            more["rms_px"] = motion_error_px(motion, self.truth(number)).rms_px
        angle = self.settings.angles_deg[number]
        return Result(
            self.name, self.seed, self.code, number, angle, method, version_of(method), **more
        )


def results_of(series: Series, missing: set[str], threads: int) -> Iterator[Result]:
    """Results of the methods in `missing` on a series."""
    tilts = range(series.settings.tilt_count)
    if "none" in missing:
        still = Motion.still(series.settings.movie.frame_count)
        yield from (series.result(number, "none", still) for number in tilts)
    if "best global" in missing:
        yield from (_best_global(series, number) for number in tilts)
    if "alone" in missing:
        yield from (_alone(series, number, threads) for number in tilts)
    if "series" in missing:
        yield from _together(series, threads)
    if missing.intersection(peers.RELION_METHODS):
        for number in tilts:
            yield from _by_relion(series, number, threads)


def _best_global(series: Series, number: int) -> Result:
    """Error of the true motion averaged over the field, which no global motion can improve on."""
    true_px = relative_px(series.truth(number)["displacement_px"])
    local_px = true_px - true_px.mean(axis=(1, 2), keepdims=True)
    rms_px = float(np.sqrt((local_px**2).sum(axis=-1).mean()))
    return series.result(number, "best global", rms_px=rms_px)


def _alone(series: Series, number: int, threads: int) -> Result:
    """Motion of a tilt, aligned as a single movie."""
    started = time.perf_counter()
    found = align_movie(series.our_movie(number), series.params(number, threads))
    seconds, chosen = time.perf_counter() - started, found.quality.chosen
    return series.result(number, "alone", found.motion, chosen=chosen, seconds=seconds)


def _together(series: Series, threads: int) -> Iterator[Result]:
    """Motion of all tilts, in the last round with priors from the earlier ones."""
    tilts = range(series.settings.tilt_count)
    priors: list[SeriesPrior | None] = [None] * len(tilts)
    started = time.perf_counter()
    for _ in range(_ROUNDS):
        found = [
            measure_tilt(
                series.our_movie(number), series.params(number, threads), series_prior=prior
            )
            for number, prior in zip(tilts, priors, strict=True)
        ]
        priors = series_priors(series.settings.angles_deg, [tilt.statistics for tilt in found])
    seconds = (time.perf_counter() - started) / len(tilts)
    for number, tilt in zip(tilts, found, strict=True):
        yield series.result(number, "series", tilt.motion, chosen=tilt.chosen, seconds=seconds)


def _by_relion(series: Series, number: int, threads: int) -> Iterator[Result]:
    """Both motions of one run."""
    movie, settings = series.movie(number), series.settings.of_tilt(number)
    try:
        motions, seconds = peers.relion_motions(movie, series.gain, settings, threads)
    except peers.PeerError as error:
        reason = str(error)[-200:]
        yield from (series.result(number, name, error=reason) for name in peers.RELION_METHODS)
        return
    for method, motion in motions.items():
        yield series.result(number, method, motion, seconds=seconds)


def run(
    wanted: Iterable[Series], methods: Sequence[str], cache: Path, threads: int, *, keep: bool
) -> None:
    """Compute the results that are missing for the current versions."""
    results = Store(cache / _RESULTS, Result)
    done = {(r.code, r.number, r.method, r.version) for r in results.read()}
    for series in wanted:
        tilts = range(series.settings.tilt_count)
        missing = {
            m for m in methods for k in tilts if (series.code, k, m, version_of(m)) not in done
        }
        if not missing:
            continue
        series.simulate(threads)
        for result in results_of(series, missing, threads):
            results.append(result)
            words = (series.name, series.seed, f"{result.angle_deg:g}", result.method, _px(result))
            print(*words, flush=True)
        if not keep:
            shutil.rmtree(series.folder)


Rows = dict[int, dict[str, Result]]


def latest(results: Iterable[Result], series: Series) -> Rows:
    """The latest result of each method, by number of the tilt."""
    rows: Rows = {}
    for result in results:
        if result.code == series.code:
            rows.setdefault(result.number, {})[result.method] = result
    return rows


def table(rows: Rows) -> str:
    """A Markdown table with one line for each tilt, by angle."""
    lines = [
        "| angle | pre-exposures | " + " | ".join(METHODS) + " | kept alone |",
        "| --: | --: |" + " --: |" * len(METHODS) + " --- |",
    ]
    angles = {number: next(iter(row.values())).angle_deg for number, row in rows.items()}
    for number in sorted(rows, key=lambda number: angles[number]):
        row, angle = rows[number], angles[number]
        alone = row.get("alone")
        cells = [f"{angle:g}", str(number), *(_px(row.get(method)) for method in METHODS)]
        lines.append("| " + " | ".join([*cells, (alone and alone.chosen) or "-"]) + " |")
    return "\n".join(lines)


def _px(result: Result | None) -> str:
    if result is None or (result.rms_px is None and not result.error):
        return "-"
    return "failed" if result.rms_px is None else f"{result.rms_px:.3f}"


def summary(found: Sequence[tuple[Series, Rows]]) -> str:
    """Mean of each method over the tilts of each series, and its ratio to RELION's global."""
    lines = [
        "| series | seed | " + " | ".join(METHODS) + " | series / RELION global | tilts worse |",
        "| --- | --: |" + " --: |" * (len(METHODS) + 2),
    ]
    for series, rows in found:
        cells = [series.name, str(series.seed)]
        for method in METHODS:
            known = [row[method].rms_px for row in rows.values() if method in row]
            px = [value for value in known if value is not None]
            failed = len(known) - len(px)
            cells.append(f"{np.mean(px):.3f}" if px else "-")
            if failed:
                cells[-1] += f" ({failed} failed)"
        pairs = [
            (row["series"].rms_px, row["RELION global"].rms_px)
            for row in rows.values()
            if {"series", "RELION global"} <= row.keys()
        ]
        both = np.array([pair for pair in pairs if None not in pair], np.float64).reshape(-1, 2)
        if len(both):
            ours, theirs = both.T
            worse = f"{(ours > theirs).sum()} of {len(both)}"
            cells += [f"{ours.mean() / theirs.mean():.2f}", worse]
        else:
            cells += ["-", "-"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = make_parser(__doc__)
    add_table_option(parser)
    parser.add_argument("--seeds", nargs="+", type=int, default=[101])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument(
        "--size", nargs=2, type=int, default=(1024, 1024), metavar=("HEIGHT", "WIDTH"), help="in px"
    )
    parser.add_argument("--tilts", type=int, default=21, metavar="N", help="within 50 degrees")
    parser.add_argument("--discard", action="store_true", help="keep no movies in the cache")
    described = {name: asdict(condition) for name, condition in SERIES.items()}
    chosen = parse(parser, described, "SERIES")
    wanted = [
        Series(name, seed, settings_of(name, seed, tuple(chosen.size), chosen.tilts), chosen.cache)
        for name in chosen.names or SERIES
        for seed in chosen.seeds
    ]
    methods = installed(chosen.methods)
    if not chosen.table:
        run(wanted, methods, chosen.cache, chosen.threads, keep=not chosen.discard)
    results = Store(chosen.cache / _RESULTS, Result).read()
    found = [(series, rows) for series in wanted if (rows := latest(results, series))]
    for series, rows in found:
        print(f"\n{series.name}, seed {series.seed}, flexalign {flexalign.__version__}\n")
        print(table(rows))
    print("\n" + summary(found))


if __name__ == "__main__":
    main()
