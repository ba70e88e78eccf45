"""Parameters kept in a file: TOML written by hand, or the record of an earlier run.

Names are those of the command line, with ``-`` or ``_``, or those of `AlignParams`.
"""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Any

from flexalign.errors import InputError, ParameterError
from flexalign.files import MIB_BYTES, read_json, read_text
from flexalign.params import option_name, parameters


def load_settings(path: str | Path) -> dict[str, Any]:
    """Parameters by field name from the file `path`; values are not checked yet.

    Parameters
    ----------
    path : a TOML file, or a ``_record.json`` (ending in .json) whose parameters are taken

    Raises
    ------
    InputError
        If the file cannot be read, is not TOML or JSON, or is no record.
    ParameterError
        For a name that is no parameter, or one that is given twice in two spellings.
    """
    path = Path(path)
    plain: Any = read_json(path) if path.suffix == ".json" else _read_toml(path)
    if path.suffix == ".json":
        plain = plain.get("parameters")
        if not isinstance(plain, dict):
            raise InputError(f"{path}: expected the record of a run, found no 'parameters' in it")
        plain = {key: value for key, value in plain.items() if key != "hash"}
    values: dict[str, Any] = {}
    for key, value in plain.items():
        name = field_name(key, path)
        if name in values:
            raise ParameterError(f"{path}: '{key}' is given twice, in two spellings; keep one")
        values[name] = value
    return values


def _read_toml(path: Path) -> dict[str, Any]:
    """The contents of a TOML file."""
    text = read_text(path, max_bytes=MIB_BYTES)
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: expected settings in TOML: {error}") from error


def field_name(key: str, source: str | Path) -> str:
    """The field of `AlignParams` that `key`, found in `source`, stands for.

    Examples
    --------
    >>> field_name("dose-per-frame", "my.toml")
    'dose_per_frame_e_A2'

    Raises
    ------
    ParameterError
        If there is no such parameter.
    """
    names = {}
    for name in parameters():
        names[name] = name
        names[option_name(name).removeprefix("--").replace("-", "_")] = name
    spelled = key.replace("-", "_")
    if spelled in names:
        return names[spelled]
    near = difflib.get_close_matches(spelled, names, n=1)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    raise ParameterError(f"{source}: there is no parameter '{key}'{hint}")
