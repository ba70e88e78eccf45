"""The errors a user can meet, each with its exit code.

A message says what was expected, what was found and what to do.
"""

from __future__ import annotations


class FlexAlignError(Exception):
    """Any failure that flexalign explains; the base of all its errors."""

    exit_code = 1


class ParameterError(FlexAlignError):
    """A parameter is out of its limits, or two parameters contradict each other."""

    exit_code = 2


class InputError(FlexAlignError):
    """A file is missing, broken, or does not fit the others."""

    exit_code = 3


# Exit code of a program that was stopped by Ctrl-C.
INTERRUPTED = 130


class OutputError(InputError):
    """Results cannot be written: disk full, no permission, no folder."""


class OccupiedError(InputError):
    """A file that is not ours has the name of a result."""


class DeviceError(FlexAlignError):
    """The requested device cannot be used."""

    exit_code = 4


class FailedGpuError(DeviceError):
    """A GPU that does not compute, or not any more; its process cannot use it again."""
