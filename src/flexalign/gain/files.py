"""Write gain references as other programs expect them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile

from flexalign.atomic import replacing
from flexalign.io.micrographs import write_mrc
from flexalign.model import PixelArray

EER_SUFFIX = ".gain"
SUFFIXES = (".mrc", ".tif", ".tiff", EER_SUFFIX)


def write_gain(
    path: Path,
    sensitivity: PixelArray,
    pixel_size_A: float,
    *,
    for_eer: bool = False,
    tiff_rows: str = "imod",
) -> str:
    """Write a reference, zero in bad pixels; "multiply" or "divide", as it is to be used.

    It multiplies, with mean one. An MRC or TIFF for EER movies divides, and a ``.gain``, a TIFF
    with its rows as the events have them, multiplies: RELION and `load_references` take them so.
    Otherwise the rows of a TIFF are turned over, as those of movies in TIFF are.

    Parameters
    ----------
    sensitivity : (h, w), mean one, zero in bad pixels; rows as MRC stores them
    tiff_rows : "imod", or "file" to keep the order of rows in a TIFF

    Raises
    ------
    OutputError
        If the file cannot be written; nothing is left behind.
    """
    divides = for_eer and path.suffix.lower() != EER_SUFFIX
    image = sensitivity if divides else _inverse(sensitivity)
    if path.suffix.lower() == ".mrc":
        words = "divides" if divides else "multiplies"
        write_mrc(path, image, pixel_size_A, labels=[f"gain reference that {words}; 0 = defect"])
    else:
        is_as_stored = path.suffix.lower() == EER_SUFFIX or tiff_rows == "file"
        stored = image if is_as_stored else image[::-1]
        with replacing(path) as temporary:
            tifffile.imwrite(
                temporary,
                np.ascontiguousarray(stored),
                photometric="minisblack",
                compression="zlib",
                metadata=None,
            )
    return "divide" if divides else "multiply"


def _inverse(sensitivity: PixelArray) -> PixelArray:
    """The gain (h, w) that multiplies, mean one over good pixels, zero in bad ones."""
    good = sensitivity > 0
    gain = np.divide(1, sensitivity, out=np.zeros_like(sensitivity), where=good)
    gain[good] /= np.float32(np.mean(gain, where=good, dtype=np.float64))
    return gain
