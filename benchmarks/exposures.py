"""Movies whose alignments are scored: one specimen and motion, with different electrons.

The programs see the first movie, and an over-fitted motion is made of it.  The second has other
electrons, and the third so many that noise does not matter.  Of `NULLS` there is only the first,
since no motion has signal in them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import peers
from overfitted import overfitted_motion
from scipy.special import j0
from store import code_of, installed

from flexalign.align import align_and_write
from flexalign.arrays import fourier
from flexalign.arrays.dose import exposure_weights
from flexalign.io.motion_formats.truth import read_truth, true_motion
from flexalign.model import FloatArray
from flexalign.params import AlignParams
from flexalign.scoring.freedom import INDEPENDENT, freedom_of
from flexalign.scoring.movie_scores import BANDS_A, MovieScores
from flexalign.scoring.score_movie import Scored, read_scored, score_movie
from flexalign.simulate import SimulatedMovie, SimulationSettings, motion_error_px, simulate_movie
from flexalign.simulate.detector import make_detector
from flexalign.simulate.layers import make_layers, make_motions
from flexalign.simulate.movie import exposed

MOVIES: dict[str, dict[str, Any]] = {
    "plain": {},
    "rigid": {"local_motion_px": 0.0},
    "faint": {"electrons_per_px": 0.4},
    "weak": {"contrast": 0.4},
    "still": {"global_motion_px": 1e-3, "local_motion_px": 0.0},
    "noise": {"particles": 0, "ice_thickness_A": 0.0},
    "shuffled": {"detector_seed": 1},
}
# Frames without common signal: empty ones, and each frame from a movie of another specimen.
NULLS = ("noise", "shuffled")
TRUTH, OVERFITTED = "truth", "over-fitted"
_OTHER_SEED = 5000
# Far more than those of the other movies, and below the limit of 16 bits.
_ELECTRONS_WITHOUT_NOISE = 5000.0
# Errors over the field are taken at every second node of the lattice of the truth.
_EVERY = 2


class Exposure:
    """Two movies of one specimen and one motion, in the cache; the second has other electrons."""

    def __init__(self, name: str, seed: int, cache: Path, threads: int, **changes: Any) -> None:
        self.settings = SimulationSettings(**{**MOVIES[name], **changes, "seed": seed})
        self.name, self.threads = name, threads
        self.code = code_of(self.settings, name)
        self.folder = cache / f"scores_{name}_{seed}_{self.code}"
        if not (self.folder / "complete").exists():
            self._make()
            (self.folder / "complete").touch()
        self.truth = read_truth(self.folder / "first_truth.npz")

    def _make(self) -> None:
        made, threads = self.settings, self.threads
        first = shuffled(made) if self.name == "shuffled" else simulate_movie(made, threads=threads)
        first.save(self.folder, "first")
        if self.name not in NULLS:
            self._exposed_again(seed=made.seed + _OTHER_SEED).save(self.folder, "second")

    def _exposed_again(self, **changes: Any) -> SimulatedMovie:
        """A movie of the same specimen and motion on the same detector, with other electrons."""
        made, threads = self.settings, self.threads
        changed = replace(made, **changes)
        return exposed(
            changed, make_motions(made), make_detector(replace(changed, seed=made.seed)),
            lambda canvas_px: make_layers(made, canvas_px, threads), threads,
        )  # fmt: skip

    def params(self) -> AlignParams:
        """Parameters as a user gives them."""
        made = self.settings
        return AlignParams(
            pixel_size_A=made.pixel_size_A, voltage_kV=made.voltage_kV,
            dose_per_frame_e_A2=made.dose_e_A2, gain=str(self.folder / "first_gain.mrc"),
            dose_weight=False, psd=False, threads=self.threads,
        )  # fmt: skip

    def motions(self) -> dict[str, Scored]:
        """What the programs make of the first movie, the over-fitted motion, and the truth."""
        movie, files = self.folder / "first.mrc", {}
        align_and_write(movie, self.params(), self.folder, root="ours", overwrite=True)
        files["ours"] = self.folder / "ours_record.json"
        if installed(peers.RELION_METHODS):
            star = self.folder / "relion.star"
            try:
                peers.keep_relion_star(
                    movie, self.folder / "first_gain.mrc", self.settings, self.threads, star
                )
                files["RELION"] = star
            except peers.PeerError as error:
                print(f"RELION: {error}")
        found = read_scored(movie, files, self.params(), with_global=True)
        motion = overfitted_motion(movie, self.params())
        found[OVERFITTED] = Scored(motion, freedom_of(motion))
        return {TRUTH: Scored(true_motion(self.truth), INDEPENDENT), **found}

    def scores(self, motions: Mapping[str, Scored]) -> tuple[MovieScores, MovieScores | None]:
        """Scores on the electrons of the fit, and on the others."""
        same = score_movie(self.folder / "first.mrc", motions, self.params(), _silent)
        if self.name in NULLS:
            return same, None
        other = self.folder / "second.mrc"
        return same, score_movie(other, _independent(motions), self.params(), _silent)

    def scores_without_noise(self, motions: Mapping[str, Scored]) -> MovieScores:
        """Scores on so many electrons, at the same dose, that noise does not matter."""
        movie = self._exposed_again(
            electrons_per_px=_ELECTRONS_WITHOUT_NOISE, dose_per_frame_e_A2=self.settings.dose_e_A2
        )
        with TemporaryDirectory(dir=self.folder) as folder:
            files = movie.save(folder, "bright")
            params = replace(self.params(), gain=str(files["gain"]))
            return score_movie(files["movie"], _independent(motions), params, _silent)

    def error_px(self, one: Scored) -> float:
        """RMS distance of a motion from the true one."""
        truth = self.truth
        known = {
            "displacement_px": truth.displacement_px,
            "lattice_y_px": truth.y_px,
            "lattice_x_px": truth.x_px,
        }
        return motion_error_px(one.motion, known).rms_px

    def true_losses(self, one: Scored) -> list[float]:
        """Share of the signal that the errors of a motion cost in each band.

        It follows from the known motion and the power of the known specimen: a pair of frames
        whose errors differ by e keeps J0(2 pi k e) of the signal of a ring of frequency k.
        """
        truth, made = self.truth, self.settings
        count = made.frame_count
        y_px, x_px = truth.y_px[::_EVERY], truth.x_px[::_EVERY]
        at = np.arange(count)[:, None, None], y_px[:, None], x_px
        found, true = (
            np.stack(motion.displacement_px(*at), axis=-1)
            for motion in (one.motion, true_motion(truth))
        )
        error_A = (found - true).reshape(count, -1, 2) * made.pixel_size_A
        apart_A = np.linalg.norm(error_A[:, None] - error_A[None], axis=-1)
        with np.load(self.folder / "first_truth.npz") as file:
            per_A, power = specimen_power(file["specimen"], made.pixel_size_A)
        middle = made.pre_exposure_e_A2 + made.dose_e_A2 * (np.arange(count) + 0.5)
        left = exposure_weights(per_A, middle[:, None], made.voltage_kV).astype(np.float64) ** 2
        kept, whole = np.zeros(len(per_A)), np.zeros(len(per_A))
        for ring, frequency in enumerate(per_A):
            pairs = np.outer(left[:, ring], left[:, ring])
            np.fill_diagonal(pairs, 0.0)
            kept[ring] = (pairs * j0(2 * np.pi * frequency * apart_A).mean(axis=-1)).sum()
            whole[ring] = pairs.sum()
        # As the mean signal-to-noise ratio over the coefficients of a band weights the rings.
        weight = power * per_A * (left.sum(axis=0) / np.maximum(whole, 1e-30))
        bands = [(per_A > 1 / coarse) & (per_A <= 1 / fine) for coarse, fine in BANDS_A]
        share = [(weight * kept)[band].sum() / (weight * whole)[band].sum() for band in bands]
        return [1 - float(one) for one in share]


def specimen_power(specimen: FloatArray, pixel_size_A: float) -> tuple[FloatArray, FloatArray]:
    """Frequency (rings,) per Angstrom and mean power (rings,), up to the finest band."""
    shape = specimen.shape[0], specimen.shape[1]
    spectrum = np.abs(fourier.rfft2(specimen - specimen.mean(), 1)) ** 2
    ky, kx = fourier.frequencies(shape)
    width_per_A = 1 / (min(shape) * pixel_size_A)
    ring = np.rint(np.hypot(ky, kx) / pixel_size_A / width_per_A).astype(np.int64).ravel()
    power = np.bincount(ring, spectrum.ravel()) / np.maximum(np.bincount(ring), 1)
    per_A = np.arange(len(power)) * width_per_A
    used = (per_A > 0) & (per_A <= 1 / BANDS_A[-1][1])
    return per_A[used], power[used]


def _independent(motions: Mapping[str, Scored]) -> dict[str, Scored]:
    """Motions that were fitted to other electrons than those they are scored on."""
    return {name: replace(one, freedom=INDEPENDENT) for name, one in motions.items()}


def shuffled(settings: SimulationSettings) -> SimulatedMovie:
    """A movie whose frame t is that of a movie of another specimen, of seed `seed` + t."""
    counts = [
        _counts(replace(settings, seed=settings.seed + frame))[frame]
        for frame in range(settings.frame_count)
    ]
    return replace(simulate_movie(settings, threads=1), counts=np.stack(counts))


@lru_cache(maxsize=30)
def _counts(settings: SimulationSettings) -> Any:
    """All frames of a movie; movies of neighbouring seeds share the simulations."""
    return simulate_movie(settings, threads=1).counts


def _silent(stage: str, done: int, total: int) -> None:
    """No progress is shown."""
