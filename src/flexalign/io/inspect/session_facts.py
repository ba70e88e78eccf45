"""Describe other files of a session: of SerialEM, EPU, TVIPS, tilt series.

References
----------
SerialEM's help, "Autodoc files"; RELION 5, "Tomography"; RosettaSciIO's reader of TVIPS files.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flexalign.files import read_text
from flexalign.io.inspect.facts import FileFacts, Lines
from flexalign.io.mdoc import time_of
from flexalign.io.movies.reader import head_text
from flexalign.io.star import Blocks

# EPU's XML files are identified by their beginning; entities are not expanded.
_MAX_BYTES = 16 << 20
_MDOC_SECTION = re.compile(r"^\[(?:ZValue|FrameSet|MontSection)\s*=\s*\d+\]", re.MULTILINE)
_MDOC_VALUE = re.compile(r"^(\w+)\s*=[ \t]*(\S[^\n]*)$", re.MULTILINE)
# An entry of the dictionary CustomData, in electrons per square metre.
_EPU_DOSE = re.compile(r"<(?:\w+:)?Key>Dose</(?:\w+:)?Key>\s*<(?:\w+:)?Value[^>]*>([^<]*)<")
_EPU = re.compile(r"<(?:\w+:)?MicroscopeImage[\s>]")
_ANGLE_SUFFIXES = (".rawtlt", ".tlt", "_tlt.txt")
_ARETOMO = "# AreTomo Alignment"
_TVIPS_HEADER, _TVIPS_VERSIONS, _TVIPS_BITS = 256, (1, 2), (8, 16)
_SERIES_COLUMN, _TILT_COLUMN = "rlnTomoTiltSeriesStarFile", "rlnTomoNominalStageTiltAngle"


def inspect_session_file(path: Path, head: bytes) -> FileFacts | None:
    """Describe a session file that is neither movie nor alignment; None for other files.

    Parameters
    ----------
    head : the first bytes of the file
    """
    text = head_text(head)
    if text is None:
        return _inspect_tvips(path, head)
    kinds: tuple[tuple[bool, Callable[[Path], FileFacts | None]], ...] = (
        (_MDOC_SECTION.search(text) is not None or path.suffix == ".mdoc", _inspect_mdoc),
        (_EPU.search(text) is not None, _inspect_epu),
        (text.startswith(_ARETOMO), _inspect_aretomo),
        (path.name.lower().endswith(_ANGLE_SUFFIXES), _inspect_angles),
    )
    found = (inspect(path) for is_it, inspect in kinds if is_it)
    return next((facts for facts in found if facts is not None), None)


def inspect_tilt_series(path: Path, blocks: Blocks) -> FileFacts | None:
    """A table of RELION 5 with many tilt series, or with the images of one; None for any other."""
    tables = list(blocks.values())
    names = [name for table in tables for name in table.get(_SERIES_COLUMN, [])]
    if names:
        return _facts(path, "a list of tilt series of RELION", {"tilt_series": len(names)})
    words = [word for table in tables for word in table.get(_TILT_COLUMN, [])]
    angles = [angle for angle in map(_number, words) if angle is not None]
    if not angles:
        return None
    return _facts(path, "the images of a tilt series, of RELION", _tilts(angles))


def _inspect_mdoc(path: Path) -> FileFacts | None:
    """SerialEM's metadata of a movie, a map or a tilt series."""
    text = read_text(path, errors="replace", max_bytes=_MAX_BYTES)
    values: dict[str, Any] = {"sections": len(_MDOC_SECTION.findall(text))}
    if not values["sections"]:
        return None
    values_by_key: dict[str, list[str]] = {}
    for name, word in _MDOC_VALUE.findall(text):
        values_by_key.setdefault(name, []).append(word.strip())

    def first(name: str) -> float | None:
        return _number(values_by_key[name][0].split()[0]) if name in values_by_key else None

    values["pixel_size_A"] = first("PixelSpacing")
    values["voltage_kV"] = first("Voltage")
    values["exposure_dose_e_A2"] = first("ExposureDose") or None  # 0 where it was not measured
    values["frames"] = first("NumSubFrames")
    values["gain"] = values_by_key.get("GainReference", [None])[0]
    values["acquired"] = _acquired(values_by_key.get("DateTime", [None])[0])
    angles = [
        angle for angle in map(_number, values_by_key.get("TiltAngle", [])) if angle is not None
    ]
    if len(angles) > 1:
        values |= _tilts(angles)
    return _facts(path, "metadata of SerialEM", values)


def _inspect_epu(path: Path) -> FileFacts:
    """EPU's metadata of one image."""
    text = read_text(path, errors="replace", max_bytes=_MAX_BYTES)

    def word(*names: str) -> str | None:
        """The word in the innermost element, without an XML parser that may expand entities."""
        inside = r"[^<]*".join(rf"<(?:\w+:)?{name}(?:\s[^>]*)?>" for name in names)
        found = re.search(rf"{inside}\s*([^<\s]+)\s*<", text)
        return found.group(1) if found else None

    def value(*names: str) -> float | None:
        """The number in the innermost element."""
        return _number(word(*names) or "")

    pixel_m, voltage_V = value("pixelSize", "x", "numericValue"), value("AccelerationVoltage")
    dose = _EPU_DOSE.search(text)
    dose_e_m2 = None if dose is None else _number(dose.group(1))
    values = {
        "pixel_size_A": None if pixel_m is None else float(f"{pixel_m * 1e10:.6g}"),
        "voltage_kV": None if voltage_V is None else voltage_V / 1000,
        "exposure_dose_e_A2": float(f"{dose_e_m2 * 1e-20:.6g}") if dose_e_m2 else None,
        "frames": value("NumberOffractions"),
        "acquired": _acquired(word("acquisitionDateTime")),
    }
    return _facts(path, "metadata of EPU for one image", values)


def _acquired(word: str | None) -> str | None:
    """Time of acquisition by the microscope's clock, in ISO 8601 without time zone."""
    time = time_of(word)
    return None if time is None else time.isoformat(timespec="seconds")


def _inspect_aretomo(path: Path) -> FileFacts:
    """AreTomo's alignment of a tilt series."""
    return _facts(path, "an alignment of a tilt series, of AreTomo", {})


def _inspect_angles(path: Path) -> FileFacts | None:
    """Tilt angles, one per line, with AreTomo's further columns; None for other text."""
    rows = [line.split() for line in read_text(path, errors="replace").splitlines()]
    rows = [row for row in rows if row and not row[0].startswith("#")]
    angles = [_number(row[0]) for row in rows]
    tilts = [angle for angle in angles if angle is not None and abs(angle) <= 90]
    if not tilts or len(tilts) < len(rows) or max(map(len, rows)) > 4:
        return None
    return _facts(path, "tilt angles of a tilt series", _tilts(tilts))


def _inspect_tvips(path: Path, head: bytes) -> FileFacts | None:
    """A stream of images of a TVIPS camera."""
    if path.suffix.lower() != ".tvips" or len(head) < _TVIPS_HEADER:
        return None
    size, version, width, height, bits = struct.unpack_from("<5I", head)
    is_one = size == _TVIPS_HEADER and version in _TVIPS_VERSIONS and bits in _TVIPS_BITS
    if not is_one or not width or not height:
        return None
    (frame_header_bytes,) = struct.unpack_from("<I", head, 48)
    frame_bytes = frame_header_bytes + width * height * bits // 8
    values = {
        "size_px": f"{width} x {height}",
        "bits": bits,
        "images": (path.stat().st_size - _TVIPS_HEADER) // frame_bytes,
    }
    return _facts(path, "a stream of images of a TVIPS camera, which is not read", values)


def _tilts(angles: list[float]) -> dict[str, Any]:
    """Numbers about tilt angles."""
    return {
        "images": len(angles),
        "smallest_tilt_deg": min(angles),
        "largest_tilt_deg": max(angles),
    }


def _number(word: str) -> float | None:
    """The word as a finite number, else None."""
    try:
        value = float(word)
    except ValueError:
        return None
    return value if abs(value) < float("inf") else None


_UNITS = {"_A": " A", "_kV": " kV", "_e_A2": " e/A2", "_deg": " degrees", "_px": " px"}


def _facts(path: Path, what: str, values: dict[str, Any]) -> FileFacts:
    """The facts, with a line for each known value."""
    lines: Lines = [("file", str(path)), ("what", what)]
    for name, value in values.items():
        if value is not None:
            suffix = next((s for s in sorted(_UNITS, key=len) if name.endswith(s)), "")
            word = f"{value:g}" if isinstance(value, float) else str(value)
            lines.append(
                (name.removesuffix(suffix).replace("_", " "), word + _UNITS.get(suffix, ""))
            )
    return FileFacts(str(path), "other", {"what": what, **values}, tuple(lines))
