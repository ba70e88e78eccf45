"""Text for the readers of formats: a regular file, size-bounded, UTF-8 or UTF-16 (`files`)."""

import codecs

from flexalign.files import check_regular_file as check_regular_file
from flexalign.files import read_text as read_text


def head_text(head: bytes) -> str:
    """The beginning of a file as text, in UTF-8 or, with a byte-order mark, in UTF-16.

    Examples
    --------
    >>> head_text("<Movie".encode("utf-16"))
    '<Movie'
    """
    is_utf16 = head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    text = head.decode("utf-16" if is_utf16 else "utf-8-sig", errors="replace")
    return text.replace("\r\n", "\n").replace("\r", "\n")
