"""Pictures of the sums of one movie along several motions, to look at side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from flexalign.arrays.device import resolve
from flexalign.arrays.power_spectrum import power_spectrum
from flexalign.io.movies.open_movie import open_for
from flexalign.io.references import references_for
from flexalign.io.thumbnails import details_of, spectra_thumbnail, thumbnails_of
from flexalign.model import PixelArray
from flexalign.naming import movie_root
from flexalign.params import AlignParams
from flexalign.passes import Progress, first_pass, second_pass
from flexalign.plan import make_plan
from flexalign.scoring.score_movie import Scored, params_of_shared_frames


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
    """Sum a movie along two motions, over the frames that were measured in both.

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
    sums: list[PixelArray] = []
    with open_for(movie, params) as reader:
        plan = make_plan(reader.info, params)
        device = resolve(params.device, plan.gpu_memory_bytes)
        references = references_for(reader.info, params)
        with device.active():
            _, first = first_pass(reader, plan, references, params, threads, progress, device)
            for one in motions.values():
                found = second_pass(
                    reader, plan, first, one.motion, params, threads, progress, device
                )
                sums.append(found.plain)
    before, after = (power_spectrum(image, plan.pixel_size_A, threads=threads) for image in sums)
    return SumPictures(
        movie_root(movie), tuple(motions), tuple(thumbnails_of(sums)), tuple(details_of(sums)),
        spectra_thumbnail(before, after),
    )  # fmt: skip
