"""Check a gain reference against movies, reading no more of them than necessary."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from flexalign.errors import FlexAlignError, InputError, ParameterError
from flexalign.files import paths_of
from flexalign.gain import matching as pixels
from flexalign.gain.limits import GAIN_SIDE_PX, GAIN_SURE_SD
from flexalign.gain.matching import Match
from flexalign.gain.verdict import MIN_VARIATION, SIGNS, GainCheck, Placement, Trial, decided
from flexalign.io.movies.open_movie import open_for
from flexalign.io.reference_images import read_for
from flexalign.io.references import sense_of
from flexalign.model import MovieInfo, PixelArray
from flexalign.orientation import ORIENTATIONS, Orientation
from flexalign.params import AlignParams
from flexalign.progress import Progress, silent

# Size of the movie over that of the reference, and its name in the result.
SIZES = {1.0: "same", 2.0: "half", 0.5: "twice"}


def check_gain(
    movies: str | Path | Iterable[str | Path], params: AlignParams, *, threads: int = 1
) -> GainCheck:
    """Check whether the gain of `params` fits movies as given, in another placement, or not at all.

    Whole movies are read, one after the other, until the verdict is certain.

    Parameters
    ----------
    movies : paths, or one path; those that cannot be read are skipped
    params : gain, its orientation and sense, and how movies are read
    threads : for decoding and transforms

    Returns
    -------
    The verdict, with the placement that fits and its score

    Raises
    ------
    InputError
        If the gain or none of the movies can be read.
    ParameterError
        If `params` name no gain, or `movies` are no paths.

    Examples
    --------
    >>> from flexalign import simulate_movie
    >>> movie = simulate_movie(shape_px=(256, 256), frame_count=4, electrons_per_px=9.0, threads=1)
    >>> paths = movie.save(getfixture("tmp_path"), "m")
    >>> check_gain(paths["movie"], AlignParams(gain=str(paths["gain"]))).verdict
    'fits'
    """
    checker = GainChecker(params, max_px=GAIN_SIDE_PX, threads=threads)
    found = checker.take(paths_of(movies))
    if found is None:
        raise checker.problem or InputError("expected movies to check the gain with, found none")
    return found


class GainChecker:
    """Compares a reference with the mean of movies, movie by movie.

    Parameters
    ----------
    params : gain, its orientation and sense, and how movies are read; the dark is not used
    max_px : maximum side of the centre of the frames that is compared; None = whole frames
    goal_sd : stop reading a movie once its counts suffice for this score; None = read all of it
    threads : number of threads for decoding and transforms

    Attributes
    ----------
    problem : the error of the last movie that could not be read, None if there was none

    Raises
    ------
    ParameterError
        If `params` name no gain.
    """

    def __init__(
        self,
        params: AlignParams,
        *,
        max_px: int | None = None,
        goal_sd: float | None = None,
        threads: int = 1,
    ) -> None:
        if params.gain is None:
            raise ParameterError("`gain`: expected the gain reference to check, found none")
        self._params, self._path = params, Path(params.gain)
        self._max_px, self._goal_sd, self._threads = max_px, goal_sd, threads
        self.problem: FlexAlignError | None = None
        self._patterns: list[tuple[Orientation, str, PixelArray]] = []
        self._movie: MovieInfo | None = None
        self._sum: PixelArray | None = None
        self._bin = 1
        self._variation = 0.0
        self._movies: list[str] = []
        self._frame_count, self._movie_count = 0, 0.0

    def take(self, movies: Iterable[Path], progress: Progress = silent) -> GainCheck | None:
        """Read movies until the verdict is certain; return the check.

        None when no movie could be read. A movie that cannot be read is skipped; its alignment will
        report the error.

        Raises
        ------
        InputError
            If the reference cannot be read.
        """
        found = None
        for movie in movies:
            for is_enough in self._read(movie, progress):
                if is_enough and self._goal_sd is not None:
                    found = self.result()
                    if found.verdict != "unsure":
                        return found
                    self._goal_sd *= 2
            if self._movie is not None:
                found = self.result()
                if found.verdict != "unsure" or not self._can_change():
                    return found
        return found

    def _can_change(self) -> bool:
        """Whether more movies could change the verdict."""
        return bool(self._patterns) and self._variation >= MIN_VARIATION

    def _read(self, movie: Path, progress: Progress) -> Iterator[bool]:
        """Add the frames of one movie; yield after each whether there are enough counts."""
        try:
            reader = open_for(movie, replace(self._params, eer_upsampling=1))
        except (InputError, ParameterError) as error:
            self.problem = error
            return
        with reader:
            info = reader.info
            if self._movie is None:
                self._movie = info
                self._make_patterns(info)
            is_like = info.height_px == self._movie.height_px
            if not (is_like and info.width_px == self._movie.width_px and self._can_change()):
                return
            self._movies.append(str(movie))
            frames = reader.frames(threads=self._threads)
            while True:
                try:
                    raw = next(frames)
                except StopIteration:
                    return
                except InputError as error:
                    self.problem = error
                    return
                progress("read", raw.index + 1, info.frame_count)
                self._movie_count += 1 / info.frame_count
                if raw.pixels is not None:
                    self._add(raw.pixels)
                yield self._goal_sd is not None and self._predicted_sd() >= self._goal_sd

    def _make_patterns(self, info: MovieInfo) -> None:
        """The reference's pattern in every orientation in which its size fits the movie."""
        image = read_for(info, self._path, self._params.tiff_rows)
        upsampling = self._params.eer_upsampling if info.eer else 1
        patterns: dict[tuple[int, int], PixelArray] = {}
        for orientation in ORIENTATIONS:
            height, width = orientation.shape_px((image.shape[0], image.shape[1]))
            ratio = info.height_px / height
            size = SIZES.get(upsampling * ratio)
            if ratio not in SIZES or size is None or info.width_px != ratio * width:
                continue
            self._bin = 2 if ratio == 2 else 1
            if ratio == 0.5:
                height, width = height // 2, width // 2
            middle = orientation.shape_px(pixels.central_shape_px((height, width), self._max_px))
            if middle not in patterns:
                coarse = pixels.binned_reference(image) if ratio == 0.5 else image
                patterns[middle] = pixels.reference_pattern(pixels.central(coarse, middle))
            # Views: eight copies of a large reference would take too much memory.
            self._patterns.append((orientation, size, orientation.apply(patterns[middle])))
        if self._patterns:
            self._variation = float(np.std(self._patterns[0][2]))

    def _add(self, frame: npt.NDArray[Any]) -> None:
        """Add one frame, on the grid of the patterns, unless it is blank or broken."""
        lowest, highest = float(frame.min()), float(frame.max())
        if not math.isfinite(lowest + highest) or lowest == highest:
            return
        coarse = pixels.summed_2x2(frame) if self._bin == 2 else frame
        shape = pixels.central_shape_px((coarse.shape[0], coarse.shape[1]), self._max_px)
        middle = pixels.central(coarse, shape)
        if self._sum is None:
            self._sum = np.zeros(middle.shape, np.float32)
        self._sum += middle
        self._frame_count += 1

    def _counts_per_px(self) -> float:
        """Mean counts of a pixel of the grid of the patterns."""
        return 0.0 if self._sum is None else float(self._sum.mean(dtype=np.float64))

    def _predicted_sd(self) -> float:
        """Expected score of the counts so far, for pure Poisson noise."""
        if self._sum is None:
            return 0.0
        return self._variation * math.sqrt(max(0.0, self._sum.size * self._counts_per_px()))

    def result(self) -> GainCheck:
        """The verdict from the frames so far."""
        check = GainCheck(
            gain=str(self._path),
            movies=tuple(self._movies),
            frame_count=self._frame_count,
            counts_per_px=self._counts_per_px() / self._bin**2,
            variation=self._variation,
            given=self._given(),
            verdict="unsure",
        )
        if not self._patterns:
            reason = "its size, or twice or half of it, does not fit the movies in any orientation"
            return replace(check, verdict="none", reason=reason)
        if not self._can_change():
            return replace(check, reason="all its pixels are equal except defects")
        if self._sum is None:
            return replace(check, reason="no frame could be used")
        excess = pixels.relative_excess(self._sum)
        scene = pixels.make_scene(excess, self._threads)

        def unweighted() -> list[Match]:
            plain = pixels.make_scene(excess, self._threads, is_weighted=False)
            return [pixels.match(plain, p, self._threads) for _, _, p in self._patterns]

        trials = [
            Trial(*of_pattern, pixels.match(scene, of_pattern[2], self._threads))
            for of_pattern in self._patterns
        ]
        if not all(trial.match.noise_sd > 0 for trial in trials):
            reason = "the frames have no counts to compare: was their mean subtracted?"
            return replace(check, reason=reason)
        return decided(check, trials, scene, unweighted, self._movie_count)

    def _given(self) -> Placement:
        """The placement given by the parameters."""
        params = self._params
        orientation = Orientation(params.gain_rotate, params.gain_flip).canonical()
        sense = params.gain_sense
        if self._movie is not None:
            sense = sense_of(self._movie, self._path, sense)
        return Placement(orientation.rotate, orientation.flip, sense)

    def draw(self, path: Path, found: GainCheck) -> bool:
        """Plot the scores, and the movies beside the reference; False if there is nothing to plot.

        Raises
        ------
        OutputError
            If the picture cannot be written.
        """
        from flexalign.gain.plot import draw_gain_check  # loads matplotlib

        if self._sum is None or not found.candidates:
            return False
        best = found.candidates[0].placement
        scores = {
            Orientation(c.placement.rotate, c.placement.flip): c.score
            for c in found.candidates
            if c.placement.sense == "multiply"
        }
        patterns = {orientation: pattern for orientation, _, pattern in self._patterns}
        pattern = np.float32(SIGNS[best.sense]) * patterns[Orientation(best.rotate, best.flip)]
        draw_gain_check(
            path,
            [orientation.describe() for orientation in patterns],
            [scores[orientation] for orientation in patterns],
            GAIN_SURE_SD,
            title=found.describe(),
            best=best.describe(),
            pictures=(pixels.relative_excess(self._sum), pattern),
        )
        return True
