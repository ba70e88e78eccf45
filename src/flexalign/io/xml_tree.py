"""Read XML of other programs safely: no entities, no external references."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from flexalign.files import read_text
from flexalign.io.read_errors import reading

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

MAX_XML_BYTES = 32 << 20


def read_xml(path: str | Path, expected: str) -> Element:
    """The root element of an XML file in UTF-8 or UTF-16; entities and DTDs are refused.

    Parameters
    ----------
    expected : what the file should be, for messages

    Raises
    ------
    InputError
        If the file cannot be read or is no such XML.
    """
    from defusedxml.ElementTree import fromstring

    with reading(path, expected):
        root: Element = fromstring(read_text(path, max_bytes=MAX_XML_BYTES), forbid_dtd=True)
        return root
