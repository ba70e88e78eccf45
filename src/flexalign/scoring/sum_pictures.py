"""Pictures of the sums of one movie along several motions, to look at side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from flexalign.arrays.power_spectrum import power_spectrum
from flexalign.io.thumbnails import details_of, spectra_thumbnail, thumbnails_of
from flexalign.naming import movie_root
from flexalign.params import AlignParams
from flexalign.passes import second_pass
from flexalign.progress import Progress
from flexalign.scoring.score_movie import Scored, after_first_pass, params_of_shared_frames


@dataclass(frozen=True, slots=True)
class SumPictures:
    """The sums of one movie along two motions, as PNG.

    Attributes
    ----------
    movie : its name
    names : of the motions
    whole, middle : down-sampled, and the middle at full resolution, for each motion; each kind has
        one grey scale
    spectra : the left half of the first, the right half of the second
    """

    movie: str
    names: tuple[str, ...]
    whole: tuple[bytes, ...]
    middle: tuple[bytes, ...]
    spectra: bytes


def sum_pictures(
    movie: str | Path, motions: Mapping[str, Scored], params: AlignParams, progress: Progress
) -> SumPictures:
    """Sum a movie along two motions, from the first to the last frame measured in both.

    The movie is read once, and once more for each motion.

    Parameters
    ----------
    motions, params, progress : as for `score_movie`

    Raises
    ------
    InputError
        As `score_movie`.
    """
    params, _ = params_of_shared_frames(movie, motions, params)
    threads = params.thread_count
    with after_first_pass(movie, params, progress) as read:
        sums = [
            second_pass(
                read.reader, read.plan, read.first, one.motion, params, threads, progress,
                read.device,
            ).plain
            for one in motions.values()
        ]  # fmt: skip
        pixel_size_A = read.plan.output_pixel_size_A
    one, other = (power_spectrum(image, pixel_size_A, threads=threads) for image in sums)
    return SumPictures(
        movie_root(movie), tuple(motions), tuple(thumbnails_of(sums)), tuple(details_of(sums)),
        spectra_thumbnail(one, other),
    )  # fmt: skip
