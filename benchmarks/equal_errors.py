"""Whether alignments of equal error and different freedom are scored alike.

Three motions are fitted to each movie of a rigid specimen by maximum likelihood without a prior:
displacements of whole frames, of quarters of frames, and of every patch alone.  Errors that no fit
has made are added at random, until all three have the same RMS error in each frame.  They then
lose the same signal, but each has aligned as much noise as its freedom allows.  The tables, in
Markdown, have the signal of each relative to the first, by band::

    python benchmarks/equal_errors.py
    python benchmarks/equal_errors.py --seeds 601 602 --electrons 4
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from exposures import TRUTH, Exposure
from score_tables import band_titles, change_cell
from scores import SMALL
from store import make_parser

from flexalign import align_movie
from flexalign.estimate.damage import damage_envelope
from flexalign.estimate.patch_spectra import PatchSpectra, cut_spectra, sweep
from flexalign.estimate.patches import make_grid
from flexalign.io.motion_formats.field_fit import fit_field
from flexalign.io.motion_formats.truth import true_motion
from flexalign.model import FloatArray, FrameRange
from flexalign.motion import Motion
from flexalign.progress import silent
from flexalign.scoring.freedom import INDEPENDENT, Freedom
from flexalign.scoring.movie_scores import MovieScores
from flexalign.scoring.ring_sums import Places, RingSums, displacements_px, ring_sums
from flexalign.scoring.score_movie import MIN_PATCH_A, Scored, after_first_pass
from flexalign.scoring.session_scores import compare_scores

FRAMES, QUARTERS, PATCHES = "frames", "quarters", "patches"
# Electrons per pixel: enough that signal determines the displacement of every patch.
ELECTRONS = 30.0
_MOTION_PX = 3.0
_ROUNDS, _STEPS = 5, 8


@dataclass(frozen=True, slots=True)
class Equal:
    """One movie.

    Attributes
    ----------
    rms_px : error of each motion, before others were added and after
    freedom : of each motion
    same, other, clean : scores on the electrons of the fit, on others, and without noise
    """

    rms_px: dict[str, tuple[float, float]]
    freedom: dict[str, Freedom]
    same: MovieScores
    other: MovieScores
    clean: MovieScores

    def noise_of(self, name: str) -> float:
        """Log-likelihood that noise adds for each parameter more than whole frames have."""
        on_same, on_other = (
            float((movie[name].log_likelihood - movie[FRAMES].log_likelihood).sum())
            for movie in (self.same, self.other)
        )
        more = self.freedom[name].maximum - self.freedom[FRAMES].maximum
        return (on_same - on_other) / more


def equalised(errors_px: Mapping[str, FloatArray], seed: int) -> dict[str, FloatArray]:
    """Errors (patches, frames, 2) to which others were added, so that all are equal in each frame.

    The RMS over patches becomes a tenth more than that of the largest.  The mean over frames, which
    has no effect on a sum, is zero.
    """
    rng = np.random.default_rng(seed)
    start = {name: one - one.mean(axis=1, keepdims=True) for name, one in errors_px.items()}
    target = 1.1 * np.max([np.sqrt((one**2).mean(axis=(0, 2))) for one in start.values()], axis=0)
    found = {}
    for name, one in start.items():
        added = rng.normal(size=one.shape)
        for _ in range(_ROUNDS):  # to take off the mean changes the RMS a little
            added -= added.mean(axis=1, keepdims=True)
            a, b, c = (
                (x * y).mean(axis=(0, 2)) for x, y in ((added, added), (one, added), (one, one))
            )
            scale = (-b + np.sqrt(b**2 + a * (target**2 - c))) / a
            added *= scale[:, None]
        found[name] = one + added - added.mean(axis=1, keepdims=True)
    return found


def equal(seed: int, electrons_per_px: float, cache: Path, threads: int) -> Equal:
    """Fit motions to a movie, make their errors equal, and score them."""
    changes = {**SMALL, "global_motion_px": _MOTION_PX, "electrons_per_px": electrons_per_px}
    exposure = Exposure("rigid", seed, cache, threads, **changes)
    fits, made = _fits(exposure), exposure.settings
    y_px, x_px = fits.center_px.T
    in_frames = true_motion(exposure.truth).displacement_px(
        np.arange(made.frame_count), y_px[:, None], x_px[:, None]
    )
    true_px = np.stack(np.broadcast_arrays(*in_frames), axis=-1)
    errors_px = {name: one - true_px for name, one in fits.tracks_px.items()}
    equal_px = equalised(errors_px, seed)
    still = Motion.still(made.frame_count).trajectory
    whole = FrameRange(0, made.frame_count)
    motions = {}
    for name, error_px in equal_px.items():
        field = fit_field(true_px + error_px, y_px, x_px, whole, fits.control_points, made.shape_px)
        motions[name] = Scored(Motion(still, field), fits.freedom[name])
    motions[TRUTH] = Scored(true_motion(exposure.truth), INDEPENDENT)
    same, other = exposure.scores(motions)
    assert other is not None
    rms_px = {name: (_rms(errors_px[name]), _rms(equal_px[name])) for name in equal_px}
    clean = exposure.scores_without_noise(motions)
    return Equal(rms_px, fits.freedom, same, other, clean)


@dataclass(frozen=True, slots=True)
class Fits:
    """Motions that were fitted to a movie.

    Attributes
    ----------
    tracks_px : (patches, frames, 2) of each motion, at the centres of the patches
    freedom : of each motion
    center_px : (patches, 2)
    control_points : of a field with all of these tracks
    """

    tracks_px: dict[str, FloatArray]
    freedom: dict[str, Freedom]
    center_px: FloatArray
    control_points: tuple[int, int, int]


def _fits(exposure: Exposure) -> Fits:
    """Motions of different freedom that were fitted to the first movie."""
    movie, count = exposure.folder / "first.mrc", exposure.settings.frame_count
    params = replace(exposure.params(), min_patch_A=MIN_PATCH_A)
    start = align_movie(movie, replace(exposure.params(), local=False)).motion
    with after_first_pass(movie, params, silent) as read:
        frames, counts = read.frames, read.plan.patches
        envelope = damage_envelope(frames, read.plan, params)
    grid = make_grid(frames, counts)
    at_px = displacements_px(start, frames, Places(grid.center_px, np.arange(count)))
    sums = ring_sums(frames, grid, at_px, envelope)
    patches = cut_spectra(frames, grid, at_px, envelope)
    row, column = np.indices(counts).reshape(2, -1)
    groups = {
        FRAMES: np.zeros(len(row), int),
        QUARTERS: 2 * (2 * row // counts[0]) + 2 * column // counts[1],
        PATCHES: np.arange(len(row)),
    }
    tracks_px, freedom = {}, {}
    for name, group in groups.items():
        tracks_px[name] = _most_likely(patches, sums, at_px, group)
        parameters = 2.0 * (count - 1) * (group.max() + 1)
        freedom[name] = Freedom(parameters, parameters)
    return Fits(tracks_px, freedom, grid.center_px, (count, *counts))


def _most_likely(
    patches: PatchSpectra, sums: RingSums, at_px: FloatArray, group: npt.NDArray[np.int64]
) -> FloatArray:
    """Displacements (patches, frames, 2) of highest likelihood, the same for patches of a group."""
    per_px2 = patches.pixel_size_A**2 * sums.information.sum(axis=-1)[..., None]
    member = np.equal.outer(group, group).astype(float)
    for _ in range(_STEPS):
        gradient = sums.share * sweep(patches, at_px, sums.weight).gradient
        step = np.tensordot(member, gradient, 1) / np.tensordot(member, per_px2, 1)
        at_px = at_px + step - step.mean(axis=1, keepdims=True)
    return at_px


def _rms(error_px: FloatArray) -> float:
    """RMS length of errors (patches, frames, 2), less their mean over frames."""
    moving = error_px - error_px.mean(axis=1, keepdims=True)
    return float(np.sqrt((moving**2).sum(axis=-1).mean()))


def uncorrected(movie: MovieScores) -> MovieScores:
    """The scores as if nothing had been fitted."""
    scores = (
        replace(
            one, freedom=tuple(INDEPENDENT), ssnr_bias=0 * one.ssnr_bias,
            log_likelihood_bias=0 * one.log_likelihood_bias,
        )
        for one in movie.scores
    )  # fmt: skip
    return replace(movie, scores=tuple(scores))


def noise_cell(values: Sequence[float]) -> str:
    """Mean over movies and its standard error.

    Examples
    --------
    >>> noise_cell([0.9, 1.1])
    '1.00 +- 0.10'
    """
    error = np.std(values, ddof=1) / np.sqrt(len(values))
    return f"{np.mean(values):.2f} +- {error:.2f}"


def tables(movies: Sequence[Equal]) -> Iterator[str]:
    """The errors and the freedom of the motions, and their signal relative to the trajectory."""
    yield (
        "| motion | error of the fit (px) | made equal (px) | parameters | noise per parameter |"
    )
    yield "| --- | --: | --: | --: | --: |"
    for name in movies[0].rms_px:
        fit, after = np.mean([one.rms_px[name] for one in movies], axis=0)
        parameters = movies[0].freedom[name].maximum
        by_noise = "" if name == FRAMES else noise_cell([one.noise_of(name) for one in movies])
        yield f"| {name} | {fit:.2f} | {after:.2f} | {parameters:.0f} | {by_noise} |"
    same = [one.same for one in movies]
    kinds = {
        "without noise": [one.clean for one in movies],
        "others": [one.other for one in movies],
        "of the fit, uncorrected": [uncorrected(one) for one in same],
        "of the fit": same,
    }
    yield ""
    yield f"| motion | electrons | {' | '.join([*band_titles(same[0].bands_A), 'all'])} |"
    yield "| --- " * 2 + "| --: " * (len(same[0].bands_A) + 1) + "|"
    for name in (QUARTERS, PATCHES):
        for electrons, scores in kinds.items():
            found = compare_scores(scores, FRAMES, name)
            cells = map(change_cell, (*found.bands, found.overall))
            yield f"| {name} | {electrons} | {' | '.join(cells)} |"


def main() -> None:
    """Run the command line."""
    parser = make_parser(__doc__)
    parser.add_argument("--seeds", nargs="+", type=int, default=[*range(601, 609)])
    parser.add_argument("--electrons", type=float, default=ELECTRONS, help="per pixel and frame")
    chosen = parser.parse_args()
    chosen.cache.mkdir(parents=True, exist_ok=True)
    movies = [equal(seed, chosen.electrons, chosen.cache, chosen.threads) for seed in chosen.seeds]
    print("\n".join(tables(movies)))


if __name__ == "__main__":
    main()
