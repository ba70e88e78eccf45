"""Messages with options of the command line, or with parameters of Python.

Errors, warnings, flags and advice name parameters, as do records.  The command line, the report and
the pages of the documentation show the options in their place.
"""

from __future__ import annotations

import re

from flexalign.parameter import option_name, quoted
from flexalign.params import parameters

# Arguments of functions that are options of the command line, but no parameters.
_OTHER_OPTIONS = {
    "overwrite": "--overwrite",
    "retry_failed": "--retry-failed",
    "shape_px": "--size",
    # Of simulations.
    "frame_count": "--frames",
    "electrons_per_px": "--electrons",
    "motion": "--motion",
    "global_motion_px": "--global-motion",
    "local_motion_px": "--local-motion",
    "specimen": "--specimen",
    "objects": "--object",
    "faults": "--fault",
    "contrast": "--contrast",
    "ice_thickness_A": "--ice",
    "tilt_deg": "--tilt",
    "gain_error": "--gain-error",
    "seed": "--seed",
    "detector_seed": "--detector-seed",
    "tilt_count": "--tilts",
    "tilt_step_deg": "--tilt-step",
    "dose_per_tilt_e_A2": "--dose-per-tilt",
    "tilt_axis_deg": "--tilt-axis",
    "fiducials": "--fiducials",
}


def _options() -> dict[str, str]:
    """The option of each parameter and argument, by its name."""
    return {name: option_name(name) for name in parameters()} | _OTHER_OPTIONS


def with_options(message: str) -> str:
    """A message as the command line has it: options in place of parameters.

    Examples
    --------
    >>> with_options("`pixel_size_A`: expected at least 0.05 A, found 0")
    '--pixel-size: expected at least 0.05 A, found 0'
    """
    options = _options()
    return re.sub(r"`(\w+)`", lambda found: options.get(found[1], found[0]), message)


def with_parameters(message: str) -> str:
    """As messages in Python: the inverse of `with_options`.

    Examples
    --------
    >>> with_parameters("give --pixel-size")
    'give `pixel_size_A`'
    """
    names = {option: quoted(name) for name, option in _options().items()}
    return re.sub(r"--[\w-]+", lambda found: names.get(found[0], found[0]), message)
