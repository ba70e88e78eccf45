"""Accuracy of the motion, and signal of the specimen in the micrographs.

Movies with known motion are simulated once and kept in the cache; each method is scored on them
and the scores are appended to ``results.jsonl`` there, so a long run can be done in parts.  What
has been scored by the same code already is not scored again.  The tables are Markdown::

    python benchmarks/accuracy.py --quick
    python benchmarks/accuracy.py --classes k2 falcon --seeds 101 102 103

Seeds below 100 are for tuning and are not reported.
"""

from __future__ import annotations

import itertools
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import peers
import scoring
from store import Store, add_table_option, code_of, installed, make_parser, version_of

import flexalign
from flexalign.align import align_movie
from flexalign.io.movies.open_movie import open_for
from flexalign.io.references import load_references
from flexalign.model import PixelArray
from flexalign.motion import Motion
from flexalign.params import AlignParams
from flexalign.passes import FirstPass, first_pass, second_pass
from flexalign.plan import make_plan
from flexalign.simulate import SimulationSettings, TrueMotion, motion_error_px, simulate_movie
from flexalign.simulate.motions import make_motion

CLASSES: dict[str, dict[str, Any]] = {
    "k2": {"shape_px": (3838, 3710), "frame_count": 24, "pixel_size_A": 0.885,
           "motion": "measured", "global_motion_px": 16.0},
    "falcon": {"shape_px": (4096, 4096), "frame_count": 40, "pixel_size_A": 0.95},
    "k3": {"shape_px": (4092, 5760), "frame_count": 40, "pixel_size_A": 0.83,
           "motion": "measured", "global_motion_px": 16.0},
    "small": {"shape_px": (2048, 2048), "frame_count": 30, "local_motion_px": 3.0},
    "faint": {"shape_px": (4096, 4096), "frame_count": 40, "pixel_size_A": 1.1,
              "electrons_per_px": 0.8, "ice_thickness_A": 150.0, "particles": 60},
    "jump": {"shape_px": (2048, 2048), "frame_count": 30, "local_motion_px": 3.0,
             "motion": "jump"},
    "still": {"shape_px": (2048, 2048), "frame_count": 30, "motion": "none"},
    "tiny": {"shape_px": (1024, 1024), "frame_count": 20, "local_motion_px": 2.0},
}  # fmt: skip
QUICK = ("tiny", "small")
METHODS = ("none", "pairwise global", "pairwise local", "refined", "RELION 5x5", "oracle")
SEEDS = (101, 102, 103)
_RESULTS = "results.jsonl"


@dataclass(frozen=True, slots=True)
class Score:
    """One method on one movie: a line of the results.

    Attributes
    ----------
    movie : class of movie
    code : of the settings it was simulated with
    version : of the program that was scored
    rms_px, worst_px : distance to the true displacement
    ssnr : of the plain sum, in each of `scoring.BANDS_A`
    seconds : from the files to the micrograph; None where nothing was estimated
    chosen : which of its motions flexalign kept
    """

    movie: str
    seed: int
    code: str
    method: str
    version: str
    rms_px: float
    worst_px: float
    ssnr: list[float]
    seconds: float | None = None
    chosen: str = ""


def settings_of(name: str, seed: int) -> SimulationSettings:
    """What to simulate for one class and seed."""
    return SimulationSettings(**CLASSES[name], seed=seed)


class Movie:
    """A simulated movie in the cache, with the true motion and specimen for the scores."""

    def __init__(self, name: str, seed: int, cache: Path, threads: int) -> None:
        self.settings = settings_of(name, seed)
        self.name, self.seed, self.threads = name, seed, threads
        self.code = code_of(self.settings)
        self._folder = cache / f"{name}_{seed}_{self.code}"
        self.path, self.gain = self._folder / "movie.mrc", self._folder / "movie_gain.mrc"
        if not (self._folder / "movie_truth.npz").exists():  # it is written last
            simulate_movie(self.settings, threads=threads).save(self._folder, "movie")

    @cached_property
    def truth(self) -> dict[str, Any]:
        """The displacements on their lattice and the specimen, as the simulator saved them."""
        with np.load(self._folder / "movie_truth.npz") as file:
            return dict(file)

    @cached_property
    def motion(self) -> TrueMotion:
        """The true motion as a function of position."""
        motion = make_motion(self.settings)
        on_lattice = motion.on_lattice(self.truth["lattice_y_px"], self.truth["lattice_x_px"])
        if not np.allclose(on_lattice, self.truth["displacement_px"]):
            raise SystemExit(f"{self._folder} is from another simulator: remove it")
        return motion

    @cached_property
    def specimen(self) -> scoring.Specimen:
        """The noise-free specimen."""
        return scoring.Specimen(self.truth["specimen"], self.threads)

    @cached_property
    def params(self) -> AlignParams:
        """Defaults, without images that are not scored."""
        return AlignParams(
            pixel_size_A=self.settings.pixel_size_A,
            voltage_kV=self.settings.voltage_kV,
            dose_per_frame_e_A2=self.settings.dose_e_A2,
            gain=str(self.gain),
            dose_weight=False,
            psd=False,
            threads=self.threads,
        )

    def summed_along(self, motion: Motion | scoring.Known) -> PixelArray:
        """The plain sum of the frames along any motion."""
        with open_for(self.path, self.params) as reader:
            plan = make_plan(reader.info, self.params)
            # second_pass asks a motion for its displacement on a lattice and nothing else
            sums = second_pass(
                reader, plan, self._first_pass, motion, self.params, self.threads, _silent
            )
        return sums.plain

    @cached_property
    def _first_pass(self) -> FirstPass:
        """Bad pixels and frames, as flexalign finds them."""
        with open_for(self.path, self.params) as reader:
            references = load_references(reader.info, gain=self.gain)
            plan = make_plan(reader.info, self.params)
            return first_pass(reader, plan, references, self.params, self.threads, _silent)[1]

    def score(self, method: str, found: scoring.Found) -> Score:
        """Score of the result of `method`."""
        error = motion_error_px(found.motion, self.truth)
        offset = scoring.mean_offset_px(
            found.motion, self.motion, self.settings.frame_count, *self.specimen.lattice_px
        )
        ssnr = scoring.band_ssnr(
            found.image,
            self.specimen.moved(offset),
            self.settings.pixel_size_A,
            threads=self.threads,
        )
        return Score(
            self.name, self.seed, self.code, method, version_of(method), error.rms_px,
            error.worst_px, ssnr, found.seconds, found.chosen,
        )  # fmt: skip


def _silent(stage: str, done: int, total: int) -> None:
    """Progress callback that does nothing."""


def find(movie: Movie, method: str) -> scoring.Found:
    """Result of `method` on `movie`."""
    if method == "none":
        still = Motion.still(movie.settings.frame_count)
        return scoring.Found(still, movie.summed_along(still))
    if method == "oracle":
        return scoring.Found(movie.motion, movie.summed_along(scoring.Known(movie.motion)))
    if method == "RELION 5x5":
        return peers.run_relion(movie.path, movie.gain, movie.settings, movie.threads)
    params = movie.params
    if method != "refined":
        params = replace(params, refine=False, local=method == "pairwise local")
    started = time.perf_counter()
    result = align_movie(movie.path, params)
    seconds = time.perf_counter() - started
    return scoring.Found(result.motion, result.sums.plain, seconds, result.quality.chosen)


def warm_up(cache: Path, threads: int) -> None:
    """Compile all loops before the measurement."""
    movie = simulate_movie(shape_px=(512, 512), frame_count=8, threads=threads)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        files = movie.save(folder, "movie")
        params = AlignParams(pixel_size_A=1.0, gain=str(files["gain"]), threads=threads)
        align_movie(files["movie"], params)


def run(names: Iterable[str], seeds: Iterable[int], methods: list[str], cache: Path, threads: int):
    """Compute the scores that are missing for the current version."""
    results = Store(cache / _RESULTS, Score)
    done = {(s.movie, s.seed, s.method, s.version) for s in current(results.read())}
    is_warm = False
    for name, seed in itertools.product(names, seeds):
        missing = [m for m in methods if (name, seed, m, version_of(m)) not in done]
        if not missing:
            continue
        if not is_warm:
            warm_up(cache, threads)
            is_warm = True
        movie = Movie(name, seed, cache, threads)
        for method in missing:
            try:
                score = movie.score(method, find(movie, method))
            except (flexalign.FlexAlignError, peers.PeerError) as error:
                print(f"{name} {seed} {method}: failed: {error}", flush=True)
                continue
            results.append(score)
            print(f"{name} {seed} {method}: {score.rms_px:.3f} px", flush=True)


def current(scores: Iterable[Score]) -> list[Score]:
    """The scores for movies of the current `CLASSES`."""
    return [
        s for s in scores
        if s.movie in CLASSES and s.code == code_of(settings_of(s.movie, s.seed))
    ]  # fmt: skip


def tables(scores: Iterable[Score], names: Iterable[str]) -> str:
    """The latest score of each method and movie as one Markdown table for each class."""
    latest = {(s.movie, s.seed, s.method): s for s in scores}
    parts = []
    for name in names:
        rows = {
            method: {s.seed: s for s in latest.values() if (s.movie, s.method) == (name, method)}
            for method in METHODS
        }
        if not any(rows.values()):
            continue
        bands = " | ".join(f"{coarse:g}-{fine:g} A" for coarse, fine in scoring.BANDS_A)
        lines = [
            f"**{name}**: {describe(settings_of(name, seed=0))}",
            "",
            f"| method | RMS px | worst px | {bands} | s | kept | n |",
            "| --- |" + " --: |" * (3 + len(scoring.BANDS_A)) + " --- | --: |",
        ]
        lines += [_row(method, rows[method], rows["oracle"]) for method in METHODS if rows[method]]
        versions = sorted({s.version for row in rows.values() for s in row.values()})
        parts.append("\n".join([*lines, "", "Versions: " + ", ".join(versions) + "."]))
    return "\n\n".join(parts)


def describe(settings: SimulationSettings) -> str:
    """The movie in one line."""
    height, width = settings.shape_px
    return (
        f"{width} x {height} px, {settings.frame_count} frames, {settings.pixel_size_A:g} A/px, "
        f'{settings.dose_e_A2:.2f} e/A2 per frame, motion "{settings.motion}"'
    )


def _row(method: str, scores: dict[int, Score], oracle: dict[int, Score]) -> str:
    """One line of a table: medians over seeds, and the maximum of the worst errors."""
    values = list(scores.values())
    cells = [
        f"{np.median([s.rms_px for s in values]):.3f}",
        f"{max(s.worst_px for s in values):.2f}",
    ]
    relative = [
        np.divide(score.ssnr, oracle[seed].ssnr) for seed, score in scores.items() if seed in oracle
    ]
    if relative:
        cells += [f"{value:.3f}" for value in np.median(relative, axis=0)]
    else:
        cells += ["-"] * len(scoring.BANDS_A)
    seconds = [s.seconds for s in values if s.seconds is not None]
    cells.append(f"{np.median(seconds):.0f}" if seconds else "-")
    kept = Counter(s.chosen for s in values if s.chosen)
    cells.append(", ".join(f"{name} {count}" for name, count in kept.most_common()) or "-")
    return "| " + " | ".join([method, *cells, str(len(values))]) + " |"


def main() -> None:
    parser = make_parser(__doc__)
    add_table_option(parser)
    parser.add_argument("--classes", nargs="+", choices=CLASSES, metavar="CLASS",
                        help=f"of {', '.join(CLASSES)}; default: all but tiny")  # fmt: skip
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--quick", action="store_true",
                        help=f"only {' and '.join(QUICK)}, one seed")  # fmt: skip
    chosen = parser.parse_args()
    names = chosen.classes or (QUICK if chosen.quick else [n for n in CLASSES if n != "tiny"])
    seeds = chosen.seeds[:1] if chosen.quick else chosen.seeds
    methods = installed(chosen.methods)
    chosen.cache.mkdir(parents=True, exist_ok=True)
    if not chosen.table:
        run(names, seeds, methods, chosen.cache, chosen.threads)
    print(tables(current(Store(chosen.cache / _RESULTS, Score).read()), names))


if __name__ == "__main__":
    main()
