"""Classification of failures, with advice for each kind."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import dataclass

from flexalign.errors import (
    DeviceError,
    FailedGpuError,
    FlexAlignError,
    InputError,
    OccupiedError,
    OutputError,
    ParameterError,
)
from flexalign.files import displayed
from flexalign.option_messages import with_options

REPORT = "Please report it with what --debug shows, as CONTRIBUTING.md says"

ADVICE = {
    "input": "check the movie (copy it again if it is truncated), then use `retry_failed`",
    "output": "free space in the run folder or correct its permissions, then run again",
    "occupied": "move the files that are not of this run, or choose another folder, then run again",
    "parameter": "give a parameter that fits this movie and run again",
    "system": "solve the problem that the system reports (permissions, disk, network), then run "
    "again",
    "device": "check the device, or choose `device` cpu, then run again",
    "gpu": "see what nvidia-smi and the system log say of the GPU, or choose another "
    "`device`, then run again",
    "memory": "use a machine or a worker with more memory, then `retry_failed`",
    "stalled": "check the disk of the movie, or increase --timeout; then use `retry_failed`",
    "worker-died": "check the system log (out of memory?), then use `retry_failed`; report it "
    "if it recurs",
    "defect": "report it, as CONTRIBUTING.md says",
}

# System errors of a full or unwritable disk, wherever they occur.
_OF_OUTPUT = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG))
# System errors of the machine, disks and networks, not of the content of a file.
_OF_SYSTEM = frozenset(
    (
        errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN,
        errno.EBUSY, errno.EINTR, errno.EIO, errno.ENODEV, errno.ENXIO, errno.ENOLCK,
        errno.ESTALE, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETDOWN,
        errno.ENETUNREACH, errno.ENOTCONN, errno.ECONNRESET, errno.ECONNREFUSED,
        errno.ESHUTDOWN, *([errno.EREMOTEIO] if hasattr(errno, "EREMOTEIO") else []),
    )
)  # fmt: skip


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
        """Advice to the user, which names parameters as in Python."""
        return ADVICE[self.kind]

    @property
    def is_of_movie(self) -> bool:
        """Whether the movie is, or may be, the cause, and not its environment."""
        return self.kind not in ("output", "occupied", "system", "device", "gpu")

    @property
    def may_pass(self) -> bool:
        """Whether a second try, alone and with little memory, may succeed."""
        return self.kind in ("memory", "stalled", "worker-died", "system")


def explain(error: BaseException) -> Failure:
    """Classify `error`; the message has the options of the command line.

    System errors are recognised by their number anywhere in the chain of exceptions: a full disk or
    too many open files are not the movie's fault.

    Examples
    --------
    >>> explain(InputError("a.mrc: expected a movie")).kind
    'input'
    >>> explain(OSError(errno.ENOSPC, "No space left on device")).kind
    'output'
    >>> explain(MemoryError()).exit_code
    4
    """
    message = displayed(" ".join(with_options(str(error)).split()))
    if isinstance(error, MemoryError) or "can't start new thread" in message:
        message = f"expected more memory than there is. {message}".rstrip()
        return Failure("memory", message, DeviceError.exit_code)
    exit_code = error.exit_code if isinstance(error, FlexAlignError) else InputError.exit_code
    if not isinstance(error, OutputError):
        numbers_in_message = set(_numbers(error))
        for kind, numbers in (("output", _OF_OUTPUT), ("system", _OF_SYSTEM)):
            if numbers_in_message & numbers:
                return Failure(kind, message, exit_code)
    if isinstance(error, FlexAlignError):
        kinds = {
            OutputError: "output",
            OccupiedError: "occupied",
            ParameterError: "parameter",
            FailedGpuError: "gpu",
            DeviceError: "device",
            InputError: "input",
        }
        kind = next((word for type_, word in kinds.items() if isinstance(error, type_)), "input")
        return Failure(kind, message, exit_code)
    if isinstance(error, OSError):
        return Failure("input", message, exit_code)
    return Failure("defect", f"a defect in flexalign, {type(error).__name__}: {message}. {REPORT}")


def _numbers(error: BaseException) -> Iterator[int]:
    """The errno values in the chain of exceptions of `error`."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno is not None:
            yield cause.errno
        cause = cause.__cause__
