"""Checks on the first movies of a run, before any is aligned: pixel size, dose and gain."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from flexalign.batch.events import GainChecked
from flexalign.batch.gain_gate import GainGate, gain_gate
from flexalign.errors import FlexAlignError, ParameterError
from flexalign.io.movies.open_movie import open_for
from flexalign.params import AlignParams, quoted
from flexalign.plan import make_plan
from flexalign.quality.dose_check import (
    DOSE_MOVIES,
    DoseFinding,
    counted_dose_e_A2,
    dose_finding,
    pixel_size_finding,
)


class FirstMovies:
    """Admits movies whose pixel size, dose and gain can be right.

    Parameters
    ----------
    params : of the run
    params_of : parameters of a movie, given those of the run
    gain : check of the gain reference; None = it is not checked
    of_tilts : whether the movies are tilts, of which only the pixel size is checked: their doses
        are from the microscope, and thick specimens let little through
    check_beside : raises if what is beside a movie contradicts; None = nothing is compared
    """

    def __init__(
        self,
        params: AlignParams,
        params_of: Callable[[Path, AlignParams], AlignParams],
        gain: GainGate | None,
        *,
        of_tilts: bool = False,
        check_beside: Callable[[Path], None] | None = None,
    ) -> None:
        self._check_beside = check_beside
        self._params, self._params_of, self._gain = params, params_of, gain
        self._left = DOSE_MOVIES if params.dose_check == "on" else 0
        self._of_tilts, self._doubtful = of_tilts, 0

    def admit(self, movies: Sequence[Path]) -> AlignParams:
        """The parameters for these movies and all until the next call.

        Raises
        ------
        ParameterError
            If the pixel size or the dose cannot be right.
        InputError
            If the gain certainly does not fit and the parameters do not say what to do then.
        """
        looked = movies[: self._left]
        self._left -= len(looked)
        for movie in looked:
            if self._check_beside is not None:
                self._check_beside(movie)
            self._check_dose(movie)
        return self._params if self._gain is None else self._gain.admit(movies)

    def _check_dose(self, movie: Path) -> None:
        """Raise `ParameterError` if pixel size or dose of a movie cannot be right."""
        try:
            params = self._params_of(movie, self._params)
            finding = _finding(movie, params, of_tilts=self._of_tilts)
        except FlexAlignError:
            return  # the alignment of the movie will report it
        if finding is None:
            return
        self._doubtful += 1
        if finding.is_certain or self._doubtful == DOSE_MOVIES:
            raise ParameterError(
                f"{quoted(finding.option)}: {finding.text}; "
                "`dose_check` off continues without this check"
            )


def _finding(movie: Path, params: AlignParams, *, of_tilts: bool) -> DoseFinding | None:
    """What is wrong with pixel size or dose of one movie, of which one frame is read."""
    with open_for(movie, params) as reader:
        plan = make_plan(reader.info, params)
        finding = pixel_size_finding(plan)
        if finding is not None or of_tilts or plan.dose_per_frame_e_A2 is None:
            return finding
        is_countable = params.dark is None
        counted_e_A2 = counted_dose_e_A2(reader, plan) if is_countable else float("nan")
    return dose_finding(plan, counted_e_A2)


def first_movies(
    params: AlignParams,
    folder: Path,
    observe: Callable[[GainChecked], None],
    params_of: Callable[[Path, AlignParams], AlignParams] | None = None,
    *,
    of_tilts: bool = False,
    check_beside: Callable[[Path], None] | None = None,
) -> FirstMovies:
    """The checks that `params` ask for.

    Parameters
    ----------
    folder : of the results; made if the result of the gain check is written
    observe : called with the result of the gain check
    params_of : parameters of a movie, given those of the run; default: the same
    of_tilts, check_beside : see `FirstMovies`
    """
    gate = gain_gate(params, folder, observe)
    return FirstMovies(
        params, params_of or (lambda movie, of_run: of_run), gate, of_tilts=of_tilts,
        check_beside=check_beside,
    )  # fmt: skip
