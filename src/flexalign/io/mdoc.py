"""Mdoc files: what SerialEM, Tomo5 and PACE write beside the images of a tilt series.

A head of ``name = value`` lines and titles ``[T = ...]``, then a section for each image.

References
----------
SerialEM's help, "Format of Mdoc files", https://bio3d.colorado.edu/SerialEM/hlp/html/about_formats.htm
IMOD's ``header``, for the three conventions of ``TiltAxisAngle`` in files of Tomography 5.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from flexalign.atomic import replacing
from flexalign.errors import InputError
from flexalign.files import MIB_BYTES, read_text

MAX_MDOC_BYTES = 64 * MIB_BYTES
_BRACKETS = re.compile(r"\[\s*(\w+)\s*=\s*(.*?)\s*\]\s*")
_ITEM = re.compile(r"([A-Za-z]\w*)\s*=\s*(.*?)\s*")
_AXIS = re.compile(r"tilt(\s*)axis\s*angle\s*=\s*([-+]?[\d.]+)", re.IGNORECASE)
# Title and RotationAngle are rounded to a tenth of a degree.
_AXIS_TOLERANCE_DEG = 0.11
_DAY_FIRST = re.compile(r"(\d{1,2})-([A-Za-z]{3})[a-z]*-(\d{4}|\d{2})\s+(\d{1,2}):(\d{2}):(\d{2})")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


@dataclass(frozen=True, slots=True)
class MdocSection:
    """The entries of one image.

    Attributes
    ----------
    kind : "ZValue" for images of a series; "FrameSet" and "MontSection" for others
    number : behind it
    items : names and values, as text
    """

    kind: str
    number: int
    items: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Mdoc:
    """The content of an mdoc file.

    Attributes
    ----------
    items : of the head, names and values as text
    titles : the text of each ``[T = ...]``
    sections : in the order of the file
    """

    items: Mapping[str, str] = field(default_factory=dict)
    titles: tuple[str, ...] = ()
    sections: tuple[MdocSection, ...] = ()

    @property
    def tilt_axis_deg(self) -> float | None:
        """Direction of the tilt axis, counter-clockwise from the vertical; None if not known.

        SerialEM writes it into a title, ``Tilt axis angle``, and ``RotationAngle``, 90 degrees
        more, into each section; files without the title have only that.  In the titles of
        Tomography 5 ``TiltAxisAngle``, in one word, has had three meanings; its ``RotationAngle``,
        which is the tilt axis in the first of them, determines which one it is.
        """
        title = next((match for t in self.titles if (match := _AXIS.search(t))), None)
        axis_deg = None if title is None else number_of(title[2])
        rotations = (number_of(section.items.get("RotationAngle")) for section in self.sections)
        rotation = next((number for number in rotations if number is not None), None)
        is_of_tomo5 = any(text.startswith("Tomography") for text in self.titles)
        if title is not None and (axis_deg is None or title[1]):
            return axis_deg
        if rotation is None:
            return None
        if axis_deg is not None:
            return _axis_of_tomo5_deg(axis_deg, rotation)
        return _wrapped_deg(rotation if is_of_tomo5 else rotation - 90)


def _axis_of_tomo5_deg(axis_deg: float, rotation: float) -> float | None:
    """The tilt axis by ``TiltAxisAngle`` and ``RotationAngle``; None if they contradict."""
    for expected, axis in (
        (-(rotation + 90), rotation),
        (rotation - 90, axis_deg),
        (90 - rotation, -axis_deg),
    ):
        if abs(_wrapped_deg(axis_deg - expected)) < _AXIS_TOLERANCE_DEG:
            return _wrapped_deg(axis)
    return None


def _wrapped_deg(angle: float) -> float:
    """The same direction as an angle of at least -180 and less than 180 degrees."""
    return round((angle + 180) % 360 - 180, 6)


def read_mdoc(path: str | Path) -> Mdoc:
    """The head and the sections of an mdoc file; lines of any other form are passed over.

    Raises
    ------
    InputError
        If the file cannot be read, or has no section.

    Examples
    --------
    >>> path = getfixture("tmp_path") / "a.mdoc"
    >>> section = MdocSection("ZValue", 0, {"TiltAngle": "3.01"})
    >>> write_mdoc(path, Mdoc({"PixelSpacing": "1.5"}, ("SerialEM",), (section,)))
    >>> read_mdoc(path).sections[0].items["TiltAngle"]
    '3.01'
    """
    head: dict[str, str] = {}
    titles: list[str] = []
    sections: list[MdocSection] = []
    current = head
    for line in read_text(path, errors="replace", max_bytes=MAX_MDOC_BYTES).split("\n"):
        line = line.strip()
        brackets = _BRACKETS.fullmatch(line)
        if brackets and brackets[1] == "T":
            titles.append(brackets[2])
        elif brackets and brackets[2].isdecimal() and len(brackets[2]) < 10:
            current = {}
            sections.append(MdocSection(brackets[1], int(brackets[2]), current))
        elif item := _ITEM.fullmatch(line):
            current[item[1]] = item[2]
    if not sections:
        raise InputError(
            f"{path}: expected an mdoc file with sections such as [ZValue = 0], found none"
        )
    return Mdoc(head, tuple(titles), tuple(sections))


def write_mdoc(path: str | Path, mdoc: Mdoc) -> None:
    """Write an mdoc file, whole or not at all.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    blocks = [_lines(mdoc.items.items())]
    blocks += [f"[T = {title}]\n" for title in mdoc.titles]
    blocks += [f"[{s.kind} = {s.number}]\n{_lines(s.items.items())}" for s in mdoc.sections]
    with replacing(path) as temporary:
        temporary.write_text("\n".join(blocks) + "\n", encoding="utf-8")


def states_axis(title: str) -> bool:
    """Whether a title says the direction of the tilt axis."""
    return _AXIS.search(title) is not None


def number_of(word: str | None) -> float | None:
    """The first number in a value; None where there is none that is finite.

    Examples
    --------
    >>> number_of("0.25 10"), number_of("None"), number_of(None), number_of("nan")
    (0.25, None, None, None)
    """
    numbers = numbers_of(word)
    return numbers[0] if numbers else None


def numbers_of(word: str | None) -> list[float]:
    """The numbers in a value, as far as it has finite ones."""
    numbers: list[float] = []
    for part in (word or "").split():
        try:
            number = float(part)
        except ValueError:
            break
        if not abs(number) < float("inf"):
            break
        numbers.append(number)
    return numbers


def time_of(word: str | None) -> datetime | None:
    """The time in a value of ``DateTime``; None where it is missing or of no known form.

    Years have two or four digits, months are English, blanks are one or more; ISO 8601 is taken
    too.

    Examples
    --------
    >>> [str(time_of(word)) for word in ("06-Nov-23  18:21:44", "6-Nov-2023 18:21:44")]
    ['2023-11-06 18:21:44', '2023-11-06 18:21:44']
    """
    text = (word or "").strip()
    found = _DAY_FIRST.match(text)
    try:
        if found and found[2].lower() in _MONTHS:
            year = int(found[3]) + (2000 if len(found[3]) == 2 else 0)
            month = _MONTHS.index(found[2].lower()) + 1
            hour, minute, second = map(int, found.groups()[3:6])
            return datetime(year, month, int(found[1]), hour, minute, second)
        return datetime.fromisoformat(text).replace(tzinfo=None)
    except ValueError:
        return None


def base_name(path: str) -> str:
    r"""The name of a file by a path of Windows or of Unix.

    Examples
    --------
    >>> base_name(r"X:\frames\a b.tif"), base_name("/data/c.eer")
    ('a b.tif', 'c.eer')
    """
    return re.split(r"[\\/]", path.strip().strip('"'))[-1]


def _lines(items: Iterable[tuple[str, str]]) -> str:
    return "".join(f"{name} = {value}\n" for name, value in items)
