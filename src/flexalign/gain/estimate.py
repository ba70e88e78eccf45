"""Estimate a gain reference from the movies themselves."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flexalign.errors import FlexAlignError, InputError, OutputError, ParameterError
from flexalign.files import paths_of
from flexalign.gain.files import EER_SUFFIX, SUFFIXES, write_gain
from flexalign.gain.flat_field import Flat, flat_field, shaded_share
from flexalign.gain.limits import GAIN_ENOUGH_RATIO, GAIN_SHADED_SHARE, GAIN_TYPICAL_VARIATION
from flexalign.io.movies.open_movie import open_for
from flexalign.io.movies.reader import MovieReader
from flexalign.io.writing.ownership import refuse_existing
from flexalign.model import JsonValue, MovieInfo, PixelArray
from flexalign.params import AlignParams, given_params
from flexalign.progress import Progress, silent

# Frames with less than this fraction of the maximum mean counts so far are left out as blank.
BLANK_RATIO = 0.2
PRECISIONS = (0.02, 0.01, 0.005)


@dataclass(frozen=True, slots=True)
class GainEstimate(JsonValue):
    """Summary of an estimated gain reference.

    Attributes
    ----------
    path : of the reference
    sense : "multiply", or "divide" for counts, as programs take an MRC or TIFF for EER movies
    movie_count, frame_count : number of movies and frames that were added
    left_out : reason for each movie that was left out
    bad_frame_count : frames left out of the movies that were added
    counts_per_px : mean counts of a pixel in all frames together
    variation : relative standard deviation of the detector's sensitivity from pixel to pixel
    noise : standard deviation of the error of a pixel of the reference
    illumination_range : maximum over minimum of the illumination that was divided out
    defect_count : pixels marked with zero
    movies_for : number of such movies needed for each noise level, lowest noise last
    """

    path: str
    sense: str
    movie_count: int
    frame_count: int
    left_out: dict[str, str]
    bad_frame_count: int
    counts_per_px: float
    variation: float
    noise: float
    illumination_range: float
    defect_count: int
    movies_for: dict[str, int]

    @property
    def is_enough(self) -> bool:
        """Whether the noise is small compared with the variation that the reference corrects."""
        return self.noise <= GAIN_ENOUGH_RATIO * self.variation

    @property
    def movies_needed(self) -> int:
        """Number of such movies with which it would be; the present number if it is."""
        if self.is_enough:
            return self.movie_count
        wanted = GAIN_ENOUGH_RATIO * max(self.variation, GAIN_TYPICAL_VARIATION)
        return max(_movies_for(self.noise, wanted, self.movie_count), self.movie_count + 1)


def estimate_gain(
    movies: str | Path | Iterable[str | Path],
    out: str | Path,
    params: AlignParams | None = None,
    *,
    keep_illumination: bool = False,
    overwrite: bool = False,
    threads: int = 1,
    progress: Progress = silent,
) -> GainEstimate:
    """Estimate a gain reference from the mean of movies, write it and return a summary.

    Memory holds a few full images, whatever the number of movies.

    Parameters
    ----------
    movies : paths, or one path; those that cannot be read are skipped
    out : ``.mrc``, ``.tif``, ``.tiff``, or for EER movies ``.gain``; see `write_gain`
    params : how movies are read (tiff_rows, eer_upsampling)
    keep_illumination : leave the smooth illumination in
    overwrite : replace the file
    threads : for decoding
    progress : called as ``progress(movie, frames done, frames)``

    Returns
    -------
    What was written and how precise it is

    Raises
    ------
    InputError
        If the file is there already, or no movie can be used.
    ParameterError
        If the name of the file does not suit, or `movies` are no paths.

    Examples
    --------
    >>> from flexalign import simulate_movie
    >>> folder = getfixture("tmp_path")
    >>> movie = simulate_movie(shape_px=(256, 256), frame_count=4, electrons_per_px=9.0, threads=1)
    >>> paths = movie.save(folder, "m")
    >>> estimate_gain([paths["movie"]], folder / "estimated.mrc").sense
    'multiply'
    """
    out, params = Path(out), given_params(params)
    check_out(out, overwrite=overwrite)
    sums = _Sums(params, threads, progress)
    for movie in paths_of(movies):
        sums.add(movie)
    info, halves = sums.result()
    if out.suffix.lower() == EER_SUFFIX and info.file_format != "eer":
        raise ParameterError(f"{out}: .gain is for EER movies; expected a name in .mrc or .tif")
    flat = flat_field(*halves, keep_illumination=keep_illumination)
    if flat.defects.all():
        raise InputError(f"{info.path}: expected good pixels, found only hot and dead ones")
    counts = float((halves[0] + halves[1]).mean(dtype=np.float64))
    pixel_size_A = info.pixel_size_A or 1.0
    sense = write_gain(
        out, flat.sensitivity, pixel_size_A, for_eer=info.file_format == "eer",
        tiff_rows=params.tiff_rows,
    )  # fmt: skip
    return _summary(out, sense, sums, flat, counts)


def check_out(out: Path, *, overwrite: bool) -> None:
    """Raise unless a reference can be written to `out`."""
    if out.suffix.lower() not in SUFFIXES:
        raise ParameterError(f"{out}: expected a name in {', '.join(SUFFIXES)}")
    refuse_existing(out, overwrite=overwrite)
    if not out.absolute().parent.is_dir():
        raise OutputError(f"{out}: expected an existing folder, found none; make it first")


def _summary(out: Path, sense: str, sums: _Sums, flat: Flat, counts: float) -> GainEstimate:
    """The estimate in numbers."""
    return GainEstimate(
        path=str(out),
        sense=sense,
        movie_count=sums.movie_count,
        frame_count=sums.frame_count,
        left_out=sums.left_out,
        bad_frame_count=sums.bad_frame_count,
        counts_per_px=counts,
        variation=flat.variation,
        noise=flat.noise,
        illumination_range=flat.illumination_range,
        defect_count=int(flat.defects.sum()),
        movies_for={
            f"{precision:g}": _movies_for(flat.noise, precision, sums.movie_count)
            for precision in PRECISIONS
        },
    )


def _movies_for(noise: float, wanted: float, movie_count: int) -> int:
    """Number of movies for a given noise, which falls with their square root."""
    return math.ceil(movie_count * (noise / wanted) ** 2)


class _Sums:
    """Sums of the even and the odd frames, and what was left out of them."""

    def __init__(self, params: AlignParams, threads: int, progress: Progress) -> None:
        self._params, self._threads, self._progress = params, threads, progress
        self._halves: tuple[PixelArray, PixelArray] | None = None
        self._info: MovieInfo | None = None
        self._problem: FlexAlignError | None = None
        self.left_out: dict[str, str] = {}
        self.movie_count = self.frame_count = self.bad_frame_count = 0

    def result(self) -> tuple[MovieInfo, tuple[PixelArray, PixelArray]]:
        """The properties of the movies and both sums; raises if nothing was added."""
        if self._halves is None or self._info is None:
            raise self._problem or InputError("expected movies, found none")
        return self._info, self._halves

    def add(self, movie: Path) -> None:
        """Add one movie, or note why not."""
        try:
            with open_for(movie, self._params) as reader:
                halves, good, bad = self._read(reader)
                problem = self._problem_with(reader.info, halves, good)
                if problem:
                    raise InputError(f"{movie}: {problem}")
        except (InputError, ParameterError) as error:
            self._problem = error
            self.left_out[str(movie)] = str(error).removeprefix(f"{movie}: ")
            return
        if self._halves is None:
            self._halves, self._info = halves, reader.info
        else:
            for whole, added in zip(self._halves, halves, strict=True):
                whole += added
        self.movie_count += 1
        self.frame_count += good
        self.bad_frame_count += bad

    def _read(self, reader: MovieReader) -> tuple[tuple[PixelArray, PixelArray], int, int]:
        """Both sums of one movie, and the numbers of good and bad frames."""
        info = reader.info
        shape = (info.height_px, info.width_px)
        halves = (np.zeros(shape, np.float32), np.zeros(shape, np.float32))
        max_mean, good = 0.0, 0
        for raw in reader.frames(threads=self._threads):
            self._progress(Path(info.path).name, raw.index + 1, info.frame_count)
            if raw.pixels is None:
                continue
            mean = float(raw.pixels.mean(dtype=np.float64))
            if not math.isfinite(mean) or mean <= BLANK_RATIO * max_mean:
                continue
            halves[good % 2][...] += raw.pixels
            good += 1
            max_mean = max(max_mean, mean)
        return halves, good, info.frame_count - good

    def _problem_with(
        self, info: MovieInfo, halves: tuple[PixelArray, PixelArray], good: int
    ) -> str:
        """The reason why a movie cannot be added, "" if it can."""
        first = self._info
        size = f"{info.width_px} x {info.height_px}"
        if first is not None and (info.height_px, info.width_px) != (
            first.height_px, first.width_px,
        ):  # fmt: skip
            return f"expected {first.width_px} x {first.height_px} pixels as before, found {size}"
        if good < 2:
            return f"expected frames with counts, found {good} of {info.frame_count}"
        whole = halves[0] + halves[1]
        if not whole.mean(dtype=np.float64) > 0:
            return "expected raw counts, found frames whose mean was subtracted"
        shaded = shaded_share(whole)
        if shaded > GAIN_SHADED_SHARE:
            return f"{100 * shaded:.0f} % of the frame is dark: a grid bar or the edge of the beam"
        return ""
