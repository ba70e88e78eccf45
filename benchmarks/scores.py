"""Whether scores of alignments say what is true: on the electrons of the fit, and on others.

Each exposure is simulated twice, with the same specimen and motion and different electrons.  The
programs see the first; all alignments, the true motion among them, are scored on both.  The
tables, in Markdown, show the signal of each alignment relative to the true motion on both, how
often the order by score is that of the true errors, and what is found in noise alone::

    python benchmarks/scores.py --list
    python benchmarks/scores.py plain noise --seeds 301 302 303

Movies and motions are kept in the cache.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import peers
from store import code_of, installed, make_parser, parse

from flexalign.align import align_and_write
from flexalign.io.motion_formats.truth import read_truth, true_motion
from flexalign.params import AlignParams
from flexalign.scoring.freedom import INDEPENDENT
from flexalign.scoring.movie_scores import MovieScores
from flexalign.scoring.score_movie import Scored, read_scored, score_movie
from flexalign.scoring.session_scores import (
    Change,
    compare_scores,
    corrected_log_likelihood,
)
from flexalign.simulate import SimulationSettings, motion_error_px, simulate_movie
from flexalign.simulate.detector import make_detector
from flexalign.simulate.layers import make_layers, make_motions
from flexalign.simulate.movie import exposed

MOVIES: dict[str, dict[str, Any]] = {
    "plain": {},
    "rigid": {"local_motion_px": 0.0},
    "faint": {"electrons_per_px": 0.4},
    "weak": {"contrast": 0.4},
    "noise": {"particles": 0, "ice_thickness_A": 0.0},
}
TRUTH = "truth"
# Errors that differ by less need not be in order.
MIN_ERROR_RATIO = 1.2
_OTHER_SEED = 5000


class Exposure:
    """Two movies of one specimen and one motion, in the cache; the second has other electrons."""

    def __init__(self, name: str, seed: int, cache: Path, threads: int) -> None:
        self.settings = SimulationSettings(
            **{"shape_px": (1024, 1024), "frame_count": 24, **MOVIES[name], "seed": seed}
        )
        self.threads = threads
        self.folder = cache / f"scores_{name}_{seed}_{code_of(self.settings)}"
        if not (self.folder / "second_truth.npz").exists():  # it is written last
            simulate_movie(self.settings, threads=threads).save(self.folder, "first")
            exposed(
                replace(self.settings, seed=seed + _OTHER_SEED), make_motions(self.settings),
                make_detector(self.settings),
                lambda canvas_px: make_layers(self.settings, canvas_px, threads), threads,
            ).save(self.folder, "second")  # fmt: skip
        self.truth = read_truth(self.folder / "first_truth.npz")

    def params(self) -> AlignParams:
        """Parameters as a user gives them."""
        made = self.settings
        return AlignParams(
            pixel_size_A=made.pixel_size_A, voltage_kV=made.voltage_kV,
            dose_per_frame_e_A2=made.dose_e_A2, gain=str(self.folder / "first_gain.mrc"),
            dose_weight=False, psd=False, threads=self.threads,
        )  # fmt: skip

    def motions(self) -> dict[str, Scored]:
        """What the programs make of the first movie, and the truth."""
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
        return {TRUTH: Scored(true_motion(self.truth), INDEPENDENT), **found}

    def scores(self, motions: Mapping[str, Scored]) -> tuple[MovieScores, MovieScores]:
        """Scores on the electrons of the fit, and on the others."""
        free = {name: replace(one, freedom=INDEPENDENT) for name, one in motions.items()}
        first, second = (self.folder / f"{name}.mrc" for name in ("first", "second"))
        return (
            score_movie(first, motions, self.params(), _silent),
            score_movie(second, free, self.params(), _silent),
        )

    def errors_px(self, motions: Mapping[str, Scored]) -> dict[str, float]:
        """RMS distance of each motion from the true one."""
        truth = self.truth
        known = {
            "displacement_px": truth.displacement_px,
            "lattice_y_px": truth.y_px,
            "lattice_x_px": truth.x_px,
        }
        return {name: motion_error_px(one.motion, known).rms_px for name, one in motions.items()}


def _silent(stage: str, done: int, total: int) -> None:
    """No progress is shown."""


def band_table(same: Sequence[MovieScores], other: Sequence[MovieScores]) -> Iterator[str]:
    """The signal of each alignment relative to the true motion, on both sets of electrons."""
    bands = [f"{coarsest:g}-{finest:g} A" for coarsest, finest in same[0].bands_A]
    yield f"| alignment | electrons | {' | '.join([*bands, 'all'])} |"
    yield "| --- " * 2 + "| --: " * (len(bands) + 1) + "|"
    names = [score.name for score in same[0].scores if score.name != TRUTH]
    for name in names:
        for words, movies in (("of the fit", same), ("others", other)):
            found = compare_scores(movies, TRUTH, name)
            cells = [_cell(change) for change in (*found.bands, found.overall)]
            yield f"| {name} | {words} | {' | '.join(cells)} |"


def _cell(change: Change) -> str:
    """A change with the limits of its interval."""
    return f"{change.percent:+.1f} ({change.low:+.1f} to {change.high:+.1f})"


def ordered_pairs(
    scores: Sequence[MovieScores], errors_px: Sequence[Mapping[str, float]]
) -> tuple[int, int]:
    """Pairs of alignments whose order by score is that of their errors, and pairs compared."""
    right = pairs = 0
    for movie, error_px in zip(scores, errors_px, strict=True):
        found = {score.name: corrected_log_likelihood(score) for score in movie.scores}
        for one, other in itertools.combinations(found, 2):
            low, high = sorted((error_px[one], error_px[other]))
            if high > MIN_ERROR_RATIO * low:
                pairs += 1
                right += (found[one] > found[other]) == (error_px[one] < error_px[other])
    return right, pairs


def report(name: str, seeds: Sequence[int], cache: Path, threads: int) -> None:
    """Print the tables of one kind of movie."""
    same, other, errors = [], [], []
    for seed in seeds:
        exposure = Exposure(name, seed, cache, threads)
        motions = exposure.motions()
        on_same, on_other = exposure.scores(motions)
        same.append(on_same)
        other.append(on_other)
        errors.append(exposure.errors_px(motions))
    print(f"\n## {name}, {len(seeds)} movies\n")
    print(f"with signal: {sum(m.has_signal for m in same)} on the electrons of the fit, "
          f"{sum(m.has_signal for m in other)} on others")  # fmt: skip
    if name == "noise":
        return
    common = set.intersection(*({score.name for score in movie.scores} for movie in same))
    same, other = (
        [replace(m, scores=tuple(s for s in m.scores if s.name in common)) for m in movies]
        for movies in (same, other)
    )
    print("\n".join(["", *band_table(same, other), ""]), flush=True)
    for words, movies in (("of the fit", same), ("others", other)):
        right, pairs = ordered_pairs(movies, errors)
        print(f"order by score is that of the errors, electrons {words}: {right} of {pairs} pairs")


def main() -> None:
    """Run the command line."""
    parser = make_parser(__doc__)
    parser.add_argument("--seeds", nargs="+", type=int, default=[301, 302, 303, 304])
    chosen = parse(parser, MOVIES, "MOVIE")
    for name in chosen.names or MOVIES:
        report(name, chosen.seeds, chosen.cache, chosen.threads)


if __name__ == "__main__":
    main()
