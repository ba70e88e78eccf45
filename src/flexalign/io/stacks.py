"""Stacks of a tilt series: MRC files as IMOD reads them, written one image after the other.

References
----------
IMOD, "The MRC2014 header format as used by IMOD", with the extended header of SerialEM,
https://bio3d.colorado.edu/imod/doc/mrc_format.txt
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import numpy.typing as npt

from flexalign.atomic import replacing
from flexalign.errors import InputError
from flexalign.io.micrographs import MRC_MODES, new_header

# Of SerialEM's extended header: two bytes for each image, that hold the angle in hundredths of a
# degree; the bit flag says so.
_BYTES_PER_IMAGE, _ANGLE_FLAG = 2, 1
_NINT_AT, _NREAL_AT = 128, 130


def write_stack(
    path: str | Path,
    images: Iterable[npt.NDArray[Any]],
    angles_deg: Sequence[float],
    pixel_size_A: tuple[float, float],
    labels: Iterable[str] = (),
) -> None:
    """Write images as a stack with their tilt angles; one image is in memory at a time.

    The angles are in an extended header of SerialEM's kind, from which IMOD's ``extracttilts``
    takes them.

    Parameters
    ----------
    images : (h, w) float32 or float16, all of one kind and size, as many as angles
    angles_deg : of the stage
    pixel_size_A : (y, x)
    labels : further lines for the header

    Raises
    ------
    OutputError
        If it cannot be written; nothing is left behind.
    """
    extended = np.round(100 * np.asarray(angles_deg)).astype("<i2").tobytes()
    with replacing(path) as temporary, temporary.open("wb") as file:
        statistics = _Statistics()
        first: npt.NDArray[Any] | None = None
        for image in images:
            if first is None:
                first = image
                header = _header(image, len(angles_deg), pixel_size_A, labels)
                file.write(_as_bytes(header))
                file.write(extended)
            if image.shape != first.shape or image.dtype != first.dtype:
                raise ValueError(f"expected images of {first.shape}, found one of {image.shape}")
            file.write(np.ascontiguousarray(image).data)
            statistics.add(image)
        if statistics.images != len(angles_deg):
            raise ValueError(f"expected {len(angles_deg)} images, found {statistics.images}")
        header.dmin, header.dmax = statistics.smallest, statistics.largest
        header.dmean, header.rms = statistics.mean, statistics.deviation
        file.seek(0)
        file.write(_as_bytes(header))


def read_image(path: str | Path) -> npt.NDArray[Any]:
    """The one image (h, w) in an MRC file, in its own kind of numbers.

    Raises
    ------
    InputError
        If the file cannot be read, or holds something else.
    """
    try:
        with mrcfile.open(path) as file:
            image = np.asarray(file.data)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: expected an image in MRC: {error}") from error
    if image.ndim != 2 or image.dtype.itemsize not in MRC_MODES:
        raise InputError(f"{path}: expected one image of floats, found {image.shape}")
    return image


def _header(
    image: npt.NDArray[Any], count: int, pixel_size_A: tuple[float, float], labels: Iterable[str]
) -> Any:
    """The header of a stack of `count` such images, without statistics."""
    header = new_header((count, *image.shape), image.dtype.itemsize, pixel_size_A, True, labels)
    header.nsymbt = _BYTES_PER_IMAGE * count
    header.exttyp = b"SERI"
    return header


def _as_bytes(header: Any) -> bytes:
    """The header with what says how the angles are stored, for which `mrcfile` has no names."""
    found = bytearray(header.tobytes())
    found[_NINT_AT : _NINT_AT + 2] = _BYTES_PER_IMAGE.to_bytes(2, "little")
    found[_NREAL_AT : _NREAL_AT + 2] = _ANGLE_FLAG.to_bytes(2, "little")
    return bytes(found)


class _Statistics:
    """Smallest, largest, mean and standard deviation of all images so far."""

    def __init__(self) -> None:
        self.images = self._pixels = 0
        self._sum = self._squares = 0.0
        self.smallest, self.largest = np.inf, -np.inf

    def add(self, image: npt.NDArray[Any]) -> None:
        """Take in an image, some rows at a time to save memory."""
        self.images += 1
        self._pixels += image.size
        for rows in np.array_split(image, max(1, image.shape[0] // 64)):
            values = rows.astype(np.float64).ravel()
            self._sum += float(values.sum())
            self._squares += float(values @ values)
            self.smallest = min(self.smallest, float(values.min()))
            self.largest = max(self.largest, float(values.max()))

    @property
    def mean(self) -> float:
        """Of all pixels."""
        return self._sum / self._pixels

    @property
    def deviation(self) -> float:
        """Of all pixels from the mean."""
        return float(np.sqrt(max(self._squares / self._pixels - self.mean**2, 0.0)))
