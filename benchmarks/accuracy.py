"""How accurate the motion is, and how much of the specimen the micrographs keep.

Movies with known motion are simulated once and kept in the cache; each method is scored on them
and the scores are appended to ``results.jsonl`` there, so a long run can be done in parts.  What
has been scored by the same code already is not scored again.  The tables are Markdown::

    python benchmarks/accuracy.py --quick
    python benchmarks/accuracy.py --classes k2 falcon --seeds 101 102 103

Seeds below 100 are for tuning and are not reported.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import peers
import scoring

import flexalign
from flexalign.align import align_movie, open_for
from flexalign.io.references import load_references
from flexalign.model import PixelArray
from flexalign.motion import Motion
from flexalign.params import AlignParams
from flexalign.passes import FirstPass, first_pass, second_pass
from flexalign.plan import make_plan
from flexalign.simulate import SimulationSettings, TrueMotion, motion_error_px, simulate_movie
from flexalign.simulate.motions import make_motion
from flexalign.simulate.score import AnyMotion

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
CACHE = Path(__file__).parent / "cache"
# What the numbers depend on; reading and writing files and the command line are left out.
_SOURCES = ("arrays", "estimate", "align.py", "motion.py", "passes.py", "plan.py", "simulate")


@dataclass(frozen=True, slots=True)
class Score:
    """One method on one movie: a line of the results.

    Attributes
    ----------
    movie : class of movie
    version : of the program that was scored
    rms_px, worst_px : distance to the true displacement
    ssnr : of the plain sum, in each of `scoring.BANDS_A`
    seconds : from the files to the micrograph; None where nothing was estimated
    chosen : which of its motions flexalign kept
    """

    movie: str
    seed: int
    method: str
    version: str
    rms_px: float
    worst_px: float
    ssnr: list[float]
    seconds: float | None = None
    chosen: str = ""


class Movie:
    """A simulated movie in the cache, with what the methods need to be scored on it."""

    def __init__(self, name: str, seed: int, cache: Path, threads: int) -> None:
        self.settings = SimulationSettings(**CLASSES[name], seed=seed)
        self.name, self.seed, self.threads = name, seed, threads
        settings = json.dumps(self.settings.to_dict(), sort_keys=True)
        code = hashlib.sha256(settings.encode()).hexdigest()[:8]
        self._folder = cache / f"{name}_{seed}_{code}"
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
        """The true motion, anywhere."""
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
        """Defaults, without the images that nobody looks at here."""
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
            first = self._first_pass
            # second_pass needs nothing of a motion but the displacement on a lattice
            return second_pass(
                reader, plan, first, motion, self.params, self.threads, _silent
            ).plain

    @cached_property
    def _first_pass(self) -> FirstPass:
        """Bad pixels and frames, as flexalign finds them."""
        with open_for(self.path, self.params) as reader:
            references = load_references(reader.info, gain=self.gain)
            plan = make_plan(reader.info, self.params)
            return first_pass(reader, plan, references, self.params, self.threads, _silent)

    def score(self, method: str, found: Found) -> Score:
        """How good what `method` found is."""
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
            self.name, self.seed, method, version_of(method), error.rms_px, error.worst_px, ssnr,
            found.seconds, found.chosen,
        )  # fmt: skip


class Found(Protocol):
    """What a method makes of a movie."""

    motion: AnyMotion
    image: PixelArray
    seconds: float | None
    chosen: str


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    motion: AnyMotion
    image: PixelArray
    seconds: float | None = None
    chosen: str = ""


def _silent(stage: str, done: int, total: int) -> None:
    """Progress that nobody watches."""
