"""Check of the gain reference on the first movies of a run, before any is aligned."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from flexalign.batch.events import GainChecked
from flexalign.errors import FlexAlignError, InputError
from flexalign.files import read_json
from flexalign.gain.limits import GAIN_RUN_GOAL_SD, GAIN_RUN_MOVIES, GAIN_RUN_SIDE_PX
from flexalign.gain.verdict import MIN_VARIATION, GainCheck
from flexalign.io.record import file_state
from flexalign.io.results import make_folder
from flexalign.io.writing.ledger import refuse_foreign, replacing_listed
from flexalign.params import AlignParams
from flexalign.plain import write_json

CHECK_NAME = "gain_check.json"
PICTURE_NAME = "gain_check.png"
OVERRIDE_ADVICE = "`gain_check` off continues without this check"


def gain_gate(
    params: AlignParams, folder: Path, observe: Callable[[GainChecked], None]
) -> GainGate | None:
    """The gain check of a run, None if it is off or there is no gain.

    With a dark reference nothing is checked, since the raw frames contain a second pattern.
    """
    if params.gain is None or params.gain_check == "off" or params.dark is not None:
        return None
    return GainGate(params, folder, observe)


class GainGate:
    """Admits movies with parameters under which the gain fits, as far as known.

    The result is written to ``gain_check.json`` in the folder, with ``gain_check.png`` on a
    mismatch. A reference that fits is not checked again when the run is resumed, unless it or its
    orientation has changed.

    Parameters
    ----------
    params : of the run, with a gain
    folder : of the results; made if it is missing
    observe : called with the result

    Raises
    ------
    OccupiedError
        If a foreign file has the name of an output.
    """

    def __init__(
        self, params: AlignParams, folder: Path, observe: Callable[[GainChecked], None]
    ) -> None:
        refuse_foreign(folder, (CHECK_NAME, PICTURE_NAME))
        self._requested = self._params = params
        self._folder, self._observe = folder, observe
        from flexalign.gain.check import GainChecker  # loads the compiled loops

        threads = params.thread_count
        self._checker = GainChecker(
            params, max_px=GAIN_RUN_SIDE_PX, goal_sd=GAIN_RUN_GOAL_SD, threads=threads
        )
        self._left, self._has_started = GAIN_RUN_MOVIES, False

    def admit(self, movies: Sequence[Path]) -> AlignParams:
        """The parameters for these movies and all until the next call.

        Raises
        ------
        InputError
            If the gain certainly does not fit and the parameters do not say what to do then.
        """
        if movies and not self._has_started:
            self._has_started = True
            self._use(self._known())
        if self._left <= 0 or not movies:
            return self._params
        checked = movies[: self._left]
        self._left -= len(checked)
        try:
            found = self._checker.take(checked)
        except FlexAlignError:
            # Each movie will report it; a run with other movies can go on.
            self._left = 0
            return self._params
        if found is None:
            return self._params
        if not found.candidates and (found.verdict == "none" or found.variation < MIN_VARIATION):
            # Of another size, which each movie will report, or without a pattern to compare.
            self._left = 0
            return self._params
        make_folder(self._folder)
        with replacing_listed(self._folder / CHECK_NAME) as temporary:
            write_json(temporary, {"key": self._key(), **found.to_dict()})
        if found.is_mismatch:
            with replacing_listed(self._folder / PICTURE_NAME) as temporary:
                self._checker.draw(temporary, found)
        stops = found.is_mismatch and not self._is_taken(found)
        self._observe(GainChecked(found, self._messages(found), stops))
        if stops:
            raise InputError(f"{self._params.gain}: {found.describe()}. {self._remedy(found)}")
        self._use(found)
        return self._params

    def _use(self, found: GainCheck | None) -> None:
        """Apply the result; stop checking if it is certain."""
        if found is None or found.verdict == "unsure":
            return
        self._left = 0
        options = found.options()
        if options:
            self._params = AlignParams.from_dict({**self._params.to_dict(), **options})

    def _is_taken(self, found: GainCheck) -> bool:
        """Whether the run continues with a placement other than the given one."""
        return found.verdict == "other" and self._params.gain_check == "auto"

    def _messages(self, found: GainCheck) -> str:
        """The messages for observers."""
        if self._is_taken(found):
            return f"{found.describe()}: continuing as with {found.advice()}"
        return found.describe()

    def _remedy(self, found: GainCheck) -> str:
        """Advice for a gain that does not fit."""
        advice = found.advice()
        if not advice:
            return OVERRIDE_ADVICE[0].upper() + OVERRIDE_ADVICE[1:]
        return f"Give {advice}, or `gain_check` auto; {OVERRIDE_ADVICE}"

    def _known(self) -> GainCheck | None:
        """The result of an earlier start of the run, if it is still valid."""
        path = self._folder / CHECK_NAME
        try:
            plain = read_json(path)
            if plain.pop("key", None) != self._key():
                return None
            found = GainCheck.from_dict(plain)
        except InputError:
            return None
        return found if found.verdict == "fits" or self._is_taken(found) else None

    def _key(self) -> str:
        """Identity of a reference and its placement."""
        names = ("gain", "gain_rotate", "gain_flip", "gain_sense", "tiff_rows", "eer_upsampling")
        try:
            state = file_state(self._requested.gain or "")
        except OSError:
            return ""
        facts = [state, *(getattr(self._requested, name) for name in names)]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
