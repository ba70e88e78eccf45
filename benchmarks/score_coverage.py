"""How often confidence intervals of scores include the score without noise.

They are counted over alignments and bands, once for all movies together, where movies are the
samples of an interval, and once for each movie alone, where patches are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from flexalign.scoring.movie_scores import MovieScores
from flexalign.scoring.session_scores import CONFIDENCE, compare_scores


class Coverage(NamedTuple):
    """Number of intervals that include the score without noise, and of all intervals."""

    inside: int
    total: int

    def __str__(self) -> str:
        """The numbers in words.

        Examples
        --------
        >>> str(Coverage(19, 20))
        '19 of 20'
        """
        return f"{self.inside} of {self.total}"


def coverage(
    names: Iterable[str], movies: Sequence[MovieScores], clean: Sequence[MovieScores], truth: str
) -> Coverage:
    """How often intervals of the change from the true motion to another include that of `clean`.

    Parameters
    ----------
    names : of the other motions
    movies, clean : a session, with and without noise
    truth : name of the true motion
    """
    inside = []
    for name in names:
        found, expected = (compare_scores(one, truth, name).bands for one in (movies, clean))
        inside += [
            one.low <= known.percent <= one.high
            for one, known in zip(found, expected, strict=False)
        ]
    return Coverage(sum(inside), len(inside))


def coverage_lines(
    names: Sequence[str],
    movies: Mapping[str, Sequence[MovieScores]],
    clean: Sequence[MovieScores],
    truth: str,
) -> Iterator[str]:
    """Rows of a table of the coverage.

    Parameters
    ----------
    names : of the motions other than the true one
    movies : scores by the electrons they are of
    clean : scores without noise
    truth : name of the true motion
    """
    yield f"| {100 * CONFIDENCE:g} % intervals, electrons | of the session | of single movies |"
    yield "| --- | --: | --: |"
    for electrons, scores in movies.items():
        alone = [coverage(names, [a], [b], truth) for a, b in zip(scores, clean, strict=True)]
        single = Coverage(sum(one.inside for one in alone), sum(one.total for one in alone))
        yield f"| {electrons} | {coverage(names, scores, clean, truth)} | {single} |"
