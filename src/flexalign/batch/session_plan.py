"""The plans of many movies, grouped, with the disk space, memory and time of all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from flexalign.naming import SUFFIXES, output_names
from flexalign.params import AlignParams
from flexalign.plan import Plan, movie_lines

# Time of a core for 1e9 pixels of all frames, and for a movie of any size; see the page on speed.
CORE_S_PER_GPX, S_PER_MOVIE = 17.0, 1.0
_IMAGES = ("micrograph", "dose_weighted", "even", "odd", "unaligned")
# Pictures, tables and motion of one movie.
SMALL_FILES_BYTES = 2_000_000


@dataclass(frozen=True, slots=True)
class PlannedMovie:
    """One movie that can be aligned.

    Attributes
    ----------
    movie : its path
    plan : of its alignment
    params : that it is aligned with
    """

    movie: Path
    plan: Plan
    params: AlignParams

    @property
    def lines(self) -> tuple[tuple[str, str], ...]:
        """What it has in common with movies that are aligned alike, as label and text."""
        info = self.plan.movie
        kind = ("format", f"{info.file_format}, {info.pixel_dtype}")
        size = next(line for line in movie_lines(info) if line[0] == "size")
        return (kind, size, *self.plan.lines())

    @property
    def written_bytes(self) -> int:
        """Disk space of the results."""
        plan, params = self.plan, self.params
        images = len({SUFFIXES[kind] for kind in _IMAGES} & set(output_names("", params)))
        if params.dose_weight and plan.dose_per_frame_e_A2 is None:
            images -= 1
        frames = plan.sum.count if params.save_movie else 0
        pixel_bytes = 2 if params.float16 else 4
        return (images + frames) * math.prod(plan.output_shape_px) * pixel_bytes + SMALL_FILES_BYTES

    @property
    def core_s(self) -> float:
        """About the time that one core takes."""
        info = self.plan.movie
        pixels = info.width_px * info.height_px * info.frame_count
        return S_PER_MOVIE + CORE_S_PER_GPX * pixels / 1e9


def describe_movies(planned: Sequence[PlannedMovie], cores: int) -> str:
    """The plans as text: one for each group of movies that are aligned alike, and totals.

    Parameters
    ----------
    cores : number of cores that all movies have together
    """
    groups: dict[tuple[tuple[str, str], ...], list[PlannedMovie]] = {}
    for item in planned:
        groups.setdefault(item.lines, []).append(item)
    texts = [_describe_group(group) for group in groups.values()]
    return "\n\n".join([*texts, _describe_totals(planned, cores)])


def _describe_group(group: Sequence[PlannedMovie]) -> str:
    """The plan that movies have in common."""
    first, last = group[0].movie.name, group[-1].movie.name
    names = f"{len(group)} alike, {first} to {last}" if len(group) > 1 else str(group[0].movie)
    return "\n".join(f"{label:16}{text}" for label, text in [("movies", names), *group[0].lines])


def _describe_totals(planned: Sequence[PlannedMovie], cores: int) -> str:
    """Disk space, memory and time of all movies."""
    read_bytes = sum(item.plan.movie.size_bytes for item in planned)
    written_bytes = sum(item.written_bytes for item in planned)
    memory_bytes = max(item.plan.memory_bytes for item in planned)
    minutes = sum(item.core_s for item in planned) / cores / 60
    return "\n".join(
        f"{label:16}{text}"
        for label, text in [
            ("all movies", f"{len(planned)}"),
            ("disk", f"{_gb(read_bytes)} are read, about {_gb(written_bytes)} written"),
            ("memory", f"about {_gb(memory_bytes)} for each movie that is aligned at a time"),
            ("time", f"very roughly {_duration(minutes)} with {cores} cores, without a GPU"),
        ]
    )


def _gb(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.3g} GB"


def _duration(minutes: float) -> str:
    """Minutes, or hours, in one or two digits.

    Examples
    --------
    >>> _duration(0.2), _duration(42.7), _duration(200.0)
    ('1 minute', '43 minutes', '3.3 hours')
    """
    if minutes >= 90:
        return f"{minutes / 60:.2g} hours"
    whole = max(1, round(minutes))
    return "1 minute" if whole == 1 else f"{whole} minutes"
