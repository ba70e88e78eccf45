"""Why a movie failed, in types that a person or a program can act on."""

from __future__ import annotations

from dataclasses import dataclass

from flexalign.errors import (
    DeviceError,
    FlexAlignError,
    InputError,
    OccupiedError,
    OutputError,
    ParameterError,
)

REPORT = "Please report it with what --debug shows, as CONTRIBUTING.md says"

ADVICE = {
    "input": "look at the movie (copy it again if it was cut short), then --retry-failed",
    "output": "make room in the run folder or see to its permissions, then run again",
    "occupied": "move the files away that are not of this run, or choose another folder for it, "
    "then run again",
    "parameter": "give a parameter that fits this movie and run again",
    "device": "see that the device works, or choose --device cpu, then run again",
    "memory": "use a machine or a worker with more memory, then --retry-failed",
    "stalled": "see whether the disk of the movie answers, or give more --timeout; "
    "then --retry-failed",
    "worker-died": "look into the system's log (memory?), then --retry-failed; if it happens "
    "again, report it",
    "defect": "report it, as CONTRIBUTING.md says",
}


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a movie failed.

    Attributes
    ----------
    kind : one of the keys of `ADVICE`
    message : what was expected and what was found, in one line
    exit_code : that goes with it
    """

    kind: str
    message: str
    exit_code: int = 1

    @property
    def advice(self) -> str:
        """What to do about it."""
        return ADVICE[self.kind]

    @property
    def is_of_movie(self) -> bool:
        """Whether the movie is at fault, or may be, and not what surrounds it."""
        return self.kind not in ("output", "occupied", "device")

    @property
    def may_pass(self) -> bool:
        """Whether another try, with little memory and alone, may succeed."""
        return self.kind in ("memory", "stalled", "worker-died")


def explain(error: BaseException) -> Failure:
    """The failure that `error` is.

    Examples
    --------
    >>> explain(InputError("a.mrc: expected a movie")).kind
    'input'
    >>> explain(MemoryError()).exit_code
    4
    """
    message = " ".join(str(error).split())
    if isinstance(error, MemoryError) or "can't start new thread" in message:
        message = f"expected more memory than there is. {message}".rstrip()
        return Failure("memory", message, DeviceError.exit_code)
    if isinstance(error, FlexAlignError):
        kinds = {
            OutputError: "output",
            OccupiedError: "occupied",
            ParameterError: "parameter",
            DeviceError: "device",
            InputError: "input",
        }
        kind = next((word for type_, word in kinds.items() if isinstance(error, type_)), "input")
        return Failure(kind, message, error.exit_code)
    if isinstance(error, OSError):
        return Failure("input", message, InputError.exit_code)
    return Failure("defect", f"a defect in flexalign, {type(error).__name__}: {message}. {REPORT}")
