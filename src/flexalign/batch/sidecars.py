"""The parameters in the files that data-collection programs write beside a movie."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from flexalign.errors import FlexAlignError, ParameterError
from flexalign.io.inspect.sidecars import read_sidecar
from flexalign.io.movies.open_movie import open_for
from flexalign.model import MovieInfo
from flexalign.parameter import check_limits
from flexalign.params import AlignParams, parameters, quoted
from flexalign.quality.dose_check import MAX_MOVIE_DOSE_E_A2, MAX_PIXEL_A, MIN_PIXEL_A

# Values that differ by less do not contradict: microscopes give nominal pixel sizes, which a
# calibration corrects by some percent.  They may be those of super-resolution movies or of the
# images, one twice the other.
TOLERANCE = 0.1
SAME_PIXEL_RATIOS = (0.5, 1.0, 2.0)
# The dose that the microscope's software measures depends on its calibration, and on what is in the
# beam; within this factor it does not contradict.
DOSE_FACTOR = 2.0
DOSES = (
    "dose_per_frame_e_A2", "eer_total_dose_e_A2", "eer_dose_per_frame_e_A2", "eer_groups",
)  # fmt: skip
# Name in messages, and limits; values outside are of no movie: the file is wrong, or has another
# unit.
_LIMITS = {
    "pixel_size_A": (
        "pixel size",
        replace(parameters()["pixel_size_A"], minimum=MIN_PIXEL_A, maximum=MAX_PIXEL_A),
    ),
    "voltage_kV": ("voltage", parameters()["voltage_kV"]),
    "exposure_dose_e_A2": (
        "exposure dose",
        replace(parameters()["eer_total_dose_e_A2"], minimum=0.01, maximum=MAX_MOVIE_DOSE_E_A2),
    ),
}
_SHOWN = {
    "pixel_size_A": "pixel size {:.4g} A",
    "voltage_kV": "voltage {:g} kV",
    "dose_per_frame_e_A2": "dose {:.4g} e/A2 per frame",
    "eer_total_dose_e_A2": "dose {:.4g} e/A2 of the movie",
}


class SidecarParameters:
    """Parameters of movies: their own, and further ones from the files beside them.

    Called with the path of a movie it gives the values that differ from those of the run. Pixel
    size, voltage and dose are taken from the file if nothing else says them: no option, settings
    file, list, or header.

    Parameters
    ----------
    params : of the run
    given : names of the parameters that were given for all movies
    own : values of single movies, by their resolved path, which take precedence
    report : called with a sentence when values are used, are impossible or contradict those given,
        once for the same values
    """

    def __init__(
        self,
        params: AlignParams,
        given: Collection[str],
        own: Callable[[Path], Mapping[str, Any]],
        report: Callable[[str], None],
    ) -> None:
        self._params, self._given, self._own, self._report = params, set(given), own, report
        self._reported: set[str] = set()

    def __call__(self, movie: Path) -> dict[str, Any]:
        """The values of one movie, given its resolved path."""
        own = dict(self._own(movie))
        found = self._possible(movie)
        if found is None:
            return own
        path, facts = found
        if self._params.dose_check == "on":
            self._report_contradictions(movie, path, facts, own)
        values = self._wanted(movie, facts, self._given | own.keys())
        text = ", ".join(_SHOWN[name].format(value) for name, value in values.items())
        if text:
            self._report_once(
                text, f"{text}: from {path.name}; each movie: from the file beside it"
            )
        return {**values, **own}

    def without_files(self, movie: Path) -> Mapping[str, Any]:
        """The values of one movie that are not from a file beside it."""
        return self._own(movie)

    def _possible(self, movie: Path) -> tuple[Path, dict[str, Any]] | None:
        """As `read_sidecar`, without values that no movie has, which are reported."""
        found = read_sidecar(movie)
        if found is None:
            return None
        path, facts = found
        for name, (label, limits) in _LIMITS.items():
            value = facts.get(name)
            if not value:
                continue
            try:
                check_limits(name, value, limits, label)
            except ParameterError as error:
                del facts[name]
                self._report_once(f"{error}", f"{path.name}: not used: {error}")
        return path, facts

    def _report_once(self, key: str, text: str) -> None:
        """Report a sentence, unless one of the same key was."""
        if key not in self._reported:
            self._reported.add(key)
            self._report(text)

    def _wanted(
        self, movie: Path, facts: Mapping[str, Any], given: Collection[str]
    ) -> dict[str, float]:
        """The values of a file that nothing else says."""
        values: dict[str, float] = {}
        if facts.get("voltage_kV") and "voltage_kV" not in given:
            values["voltage_kV"] = facts["voltage_kV"]
        try:
            with open_for(movie, self._params) as reader:
                info = reader.info
        except FlexAlignError:
            return {}  # its alignment will report it
        if facts.get("pixel_size_A") and not (info.pixel_size_A or "pixel_size_A" in given):
            values["pixel_size_A"] = facts["pixel_size_A"]
        if facts.get("exposure_dose_e_A2") and not set(DOSES) & set(given):
            values |= _dose(info, facts)
        return values

    def check(self, movie: Path) -> None:
        """Compare what was given with the file beside one of the first movies.

        A contradiction of a later movie is only reported: it does not end a session.

        Raises
        ------
        ParameterError
            If pixel size, voltage or dose contradict.
        """
        found = self._possible(movie)
        if found is None:
            return
        path, facts = found
        for name, given, value in self._contradictions(movie, facts):
            unit = parameters()[name].unit
            raise ParameterError(
                f"{quoted(name)}: expected {value:.4g} {unit} as {path} says, found "
                f"{given:.4g} {unit}: give the correct value; `dose_check` off continues "
                "without this check"
            )

    def _report_contradictions(
        self, movie: Path, path: Path, facts: Mapping[str, Any], own: Collection[str]
    ) -> None:
        """Report values of a file that contradict those given, which are used.

        `own` are the names of the parameters that the movie has of its own.
        """
        for name, given, value in self._contradictions(movie, facts):
            if name in own:
                continue
            unit = parameters()[name].unit
            self._report_once(
                f"{name} {value:.4g}",
                f"warning: {quoted(name)}: {given:.4g} {unit} is used, although {path.name} says "
                f"{value:.4g} {unit}",
            )

    def _contradictions(
        self, movie: Path, facts: Mapping[str, Any]
    ) -> Iterator[tuple[str, float, float]]:
        """Name, given value and value in the file of each parameter in which they contradict."""
        for name, value in {**facts, **self._dose(movie, facts)}.items():
            given = getattr(self._params, name, None)
            if name not in self._given or not isinstance(given, int | float) or not value:
                continue
            if _contradicts(name, given / value):
                yield name, given, value

    def _dose(self, movie: Path, facts: Mapping[str, Any]) -> dict[str, float]:
        """The dose in a file; nothing if there is none, or the movie cannot be read."""
        if not facts.get("exposure_dose_e_A2"):
            return {}
        try:
            with open_for(movie, self._params) as reader:
                return _dose(reader.info, facts)
        except FlexAlignError:
            return {}  # its alignment will report it


def _contradicts(name: str, ratio: float) -> bool:
    """Whether a value that was given, divided by that of a file, cannot be of the same movie."""
    if name in DOSES:
        return not 1 / DOSE_FACTOR <= ratio <= DOSE_FACTOR
    same = SAME_PIXEL_RATIOS if name == "pixel_size_A" else (1.0,)
    return not any(abs(ratio / one - 1) <= TOLERANCE for one in same)


def _dose(info: MovieInfo, facts: Mapping[str, Any]) -> dict[str, float]:
    """The dose of a frame, or of an EER movie; nothing if the frames are not all there."""
    total_e_A2 = facts["exposure_dose_e_A2"]
    if info.eer is not None:
        return {"eer_total_dose_e_A2": total_e_A2}
    if facts.get("frames") != info.frame_count:
        return {}
    return {"dose_per_frame_e_A2": total_e_A2 / info.frame_count}
