"""Whether scores of alignments say what is true: on the electrons of the fit, and on others.

Each exposure is simulated twice, with the same specimen and motion and different electrons.  The
programs see the first; all alignments, the true motion and an over-fitted one among them, are
scored on both.  The tables, in Markdown, show the signal of each alignment relative to the true
motion on both, how often the order by score is that of the true errors, and which alignments have
more signal than no motion where there is nothing to align ("still", "noise", "shuffled")::

    python benchmarks/scores.py --list
    python benchmarks/scores.py plain noise --seeds 301 302 303
    python benchmarks/scores.py --small noise shuffled still

Results are appended to ``scores.jsonl`` in the cache, where movies and motions are kept as well.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from exposures import MOVIES, NULLS, OVERFITTED, TRUTH, Exposure
from score_coverage import coverage_lines
from score_tables import band_titles, change_cell
from store import Store, digest, make_parser, parse, version_of

import flexalign
from flexalign.scoring.movie_scores import NO_MOTION, SIGNIFICANT, MovieScores, with_names
from flexalign.scoring.session_scores import compare_scores, corrected_log_likelihood

SIZE = {"shape_px": (1024, 1024), "frame_count": 24}
SMALL = {"shape_px": (640, 640), "frame_count": 12, "pixel_size_A": 1.5, "dose_per_frame_e_A2": 2.0}
# Errors that differ by less need not be in order.
MIN_ERROR_RATIO = 1.2
# Without common signal in the frames, or without motion.
NOTHING_TO_ALIGN = (*NULLS, "still")
_RESULTS = "scores.jsonl"


@dataclass(frozen=True, slots=True)
class Result:
    """Scores of all alignments of one exposure: a line of the results.

    Attributes
    ----------
    code : of the settings of the simulation
    version : of our code
    error_px : RMS distance of each alignment from the true motion
    true_losses : share of the signal that these errors cost in each band; none without specimen
    same, other, clean : `MovieScores` on the electrons of the fit, on others, and without noise;
        None = only the first
    """

    movie: str
    seed: int
    code: str
    version: str
    error_px: dict[str, float]
    true_losses: dict[str, list[float]]
    same: dict[str, Any]
    other: dict[str, Any] | None
    clean: dict[str, Any] | None

    @property
    def on_same(self) -> MovieScores:
        """Scores on the electrons of the fit."""
        return MovieScores.from_dict(self.same)

    @property
    def on_other(self) -> MovieScores:
        """Scores on the other electrons."""
        assert self.other is not None
        return MovieScores.from_dict(self.other)

    @property
    def without_noise(self) -> MovieScores:
        """Scores without noise."""
        assert self.clean is not None
        return MovieScores.from_dict(self.clean)


def results_of(
    name: str, seeds: Iterable[int], cache: Path, threads: int, *, is_small: bool = False
) -> list[Result]:
    """The results of one kind of movie; what the same code has not done is computed."""
    store = Store(cache / _RESULTS, Result)
    done = {(one.code, one.version): one for one in store.read()}
    found = []
    for seed in seeds:
        exposure = Exposure(name, seed, cache, threads, **(SMALL if is_small else SIZE))
        key = exposure.code, _version()
        if key not in done:
            done[key] = _result(exposure)
            store.append(done[key])
        found.append(done[key])
    return found


def _version() -> str:
    """Version of our code, with a digest of what affects scores as well."""
    folder = Path(flexalign.__file__).parent / "scoring"
    scripts = (Path(__file__).parent / name for name in ("exposures.py", "overfitted.py"))
    files = [*sorted(folder.glob("*.py")), *scripts]
    return f"{version_of('ours')} {digest(*(file.read_bytes() for file in files))}"


def _result(exposure: Exposure) -> Result:
    motions = exposure.motions()
    same, other = exposure.scores(motions)
    known = {} if exposure.name in NULLS else motions
    clean = exposure.scores_without_noise(motions) if known else None
    return Result(
        exposure.name, exposure.settings.seed, exposure.code, _version(),
        {name: exposure.error_px(one) for name, one in motions.items()},
        {name: exposure.true_losses(one) for name, one in known.items()},
        same.to_dict(), other and other.to_dict(), clean and clean.to_dict(),
    )  # fmt: skip


def in_all(results: Sequence[Result]) -> list[str]:
    """Names of the alignments that all movies have; a program may fail."""
    names = [score.name for score in results[0].on_same.scores]
    return [name for name in names if all(name in one.error_px for one in results)]


def band_table(results: Sequence[Result]) -> Iterator[str]:
    """The signal of each alignment relative to the true motion, on both sets of electrons.

    Below them is the signal by the score without noise, and by the known errors.
    """
    same, other = ([one.on_same for one in results], [one.on_other for one in results])
    clean = [one.without_noise for one in results]
    bands = band_titles(same[0].bands_A)
    yield f"| alignment | electrons | {' | '.join([*bands, 'all'])} |"
    yield "| --- " * 2 + "| --: " * (len(bands) + 1) + "|"
    for name in in_all(results):
        if name == TRUTH:
            continue
        for words, movies in (("of the fit", same), ("others", other)):
            found = compare_scores(movies, TRUTH, name)
            cells = [change_cell(change) for change in (*found.bands, found.overall)]
            yield f"| {name} | {words} | {' | '.join(cells)} |"
        changes = compare_scores(clean, TRUTH, name).bands
        cells = [f"{change.percent:+z.1f}" for change in changes]
        yield f"| {name} | without noise | {' | '.join(cells)} | |"
        losses = np.mean([one.true_losses[name] for one in results], axis=0)
        cells = [f"{-100 * loss:+z.1f}" for loss in losses[: len(bands)]]
        yield f"| {name} | by its errors | {' | '.join(cells)} | |"


def pairs_of(movie: MovieScores, error_px: Mapping[str, float]) -> Iterator[tuple[float, float]]:
    """Ratio of the errors (above one) and score of the better minus that of the worse, in percent.

    One for each pair of alignments of a movie whose errors differ enough.
    """
    found = {score.name: corrected_log_likelihood(score) for score in movie.scores}
    for pair in itertools.combinations(found, 2):
        better, worse = sorted(pair, key=lambda name: error_px[name])
        if error_px[worse] > MIN_ERROR_RATIO * error_px[better]:
            larger = max(abs(found[better]), abs(found[worse]))
            ratio = error_px[worse] / max(error_px[better], 1e-30)
            yield ratio, 100 * (found[better] - found[worse]) / larger


def is_above_none(movie: MovieScores, name: str) -> bool:
    """Whether a motion has significantly more signal than none, within the limits of its bias.

    Movies without signal are not left out, as `compare_scores` does.
    """
    one, none = movie[name], movie[NO_MOTION]
    excess = one.log_likelihood - one.log_likelihood_bias[:, 1] - none.log_likelihood
    return float(excess.sum()) > SIGNIFICANT * movie.noise_sd


def noise_of(one: Result, name: str) -> float:
    """Log-likelihood by noise for each parameter of a motion; NaN for one without parameters.

    It is what is more on the electrons of the fit than on others, or all of it without signal.
    """
    fitted = one.on_same[name]
    noise = float(fitted.log_likelihood.sum())
    if one.other is not None:
        noise -= float(one.on_other[name].log_likelihood.sum())
    return noise / fitted.freedom[1] if fitted.freedom[1] else float("nan")


def null_table(results: Sequence[Result]) -> Iterator[str]:
    """How often each alignment has more signal than no motion, and the verdict over all movies.

    The noise per parameter, see `noise_of`, is the mean and the maximum over movies.
    """
    movies = [one.on_same for one in results]
    yield (
        "| alignment | above none | significantly | noise per parameter | verdict over all movies |"
    )
    yield "| --- | --: | --: | --: | --- |"
    for name in in_all(results):
        if name in (NO_MOTION, TRUTH):
            continue
        raw = [
            float(movie[name].log_likelihood.sum() - movie[NO_MOTION].log_likelihood.sum())
            for movie in movies
        ]
        above = sum(is_above_none(movie, name) for movie in movies)
        verdict = compare_scores(movies, NO_MOTION, name).verdict()
        noise = [value for one in results if np.isfinite(value := noise_of(one, name))]
        cell = f"{np.mean(noise):.1f}, at most {max(noise):.1f}" if noise else ""
        yield f"| {name} | {sum(one > 0 for one in raw)} | {above} | {cell} | {verdict} |"


def report(name: str, results: Sequence[Result]) -> None:
    """Print the tables of one kind of movie."""
    same = [one.on_same for one in results]
    print(f"\n## {name}, {len(results)} movies\n")
    print(f"with signal on the electrons of the fit: {sum(movie.has_signal for movie in same)}\n")
    if name in NOTHING_TO_ALIGN:
        print("\n".join([*null_table(results), ""]), flush=True)
    if name in NULLS:
        return
    print("\n".join([*band_table(results), ""]), flush=True)
    if name == "still":
        return
    other = [one.on_other for one in results]
    clean = [one.without_noise for one in results]
    others = [name for name in in_all(results) if name != TRUTH]
    rows = coverage_lines(others, {"of the fit": same, "others": other}, clean, TRUTH)
    print("\n".join([*rows, ""]))
    for names, words in ((in_all(results), ""), (_given(results), f", without {OVERFITTED}")):
        for electrons, movies in (("of the fit", same), ("others", other)):
            gains = [
                gain
                for movie, one in zip(movies, results, strict=True)
                for _, gain in pairs_of(with_names(movie, names), one.error_px)
            ]
            right = sum(gain > 0 for gain in gains)
            print(f"order by score is that of the errors{words}, electrons {electrons}: "
                  f"{right} of {len(gains)} pairs")  # fmt: skip


def _given(results: Sequence[Result]) -> list[str]:
    """The alignments that a user would have."""
    return [name for name in in_all(results) if name != OVERFITTED]


def main() -> None:
    """Run the command line."""
    parser = make_parser(__doc__)
    parser.add_argument("--seeds", nargs="+", type=int, default=[*range(401, 409)])
    parser.add_argument("--small", action="store_true", help="movies of 12 frames of 640 px")
    chosen = parse(parser, MOVIES, "MOVIE")
    for name in chosen.names or MOVIES:
        found = results_of(name, chosen.seeds, chosen.cache, chosen.threads, is_small=chosen.small)
        report(name, found)


if __name__ == "__main__":
    main()
