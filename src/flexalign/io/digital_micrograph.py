"""Images of Gatan's DigitalMicrograph (DM3, DM4), read by ncempy where it is installed."""

from __future__ import annotations

import contextlib
import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from flexalign.errors import InputError
from flexalign.model import PixelArray

# Version 3 or 4, a length, and the mark of little-endian tag values, the only ones read below.
_HEADS = {3: ">III", 4: ">IQI"}


def is_digital_micrograph(head: bytes) -> bool:
    """Whether a file that begins with `head` (16 bytes or more) is a DM3 or DM4 file.

    Examples
    --------
    >>> is_digital_micrograph(bytes([0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]))
    True
    """
    if len(head) < 16:
        return False
    layout = _HEADS.get(int.from_bytes(head[:4], "big"))
    return layout is not None and struct.unpack_from(layout, head)[2] in (0, 1)


def dm_size_px(path: Path) -> tuple[int, int] | None:
    """(height, width) of the image in a DM3 or DM4 file, from its tags alone.

    None where they cannot be read; reading the image reports the error.
    """
    with contextlib.suppress(Exception):  # no ncempy, or a broken tree of tags
        from ncempy.io import dm

        # It counts tags in 8 bits, of which nothing depends.
        with np.errstate(all="ignore"), dm.fileDM(path, on_memory=False) as file:
            number = 1 if file.thumbnail else 0
            return int(file.ySize[number]), int(file.xSize[number])
    return None


def read_dm_image(path: Path) -> PixelArray:
    """The image (h, w) in a DM3 or DM4 file, in the order of the file; its thumbnail is skipped.

    Raises
    ------
    InputError
        If ncempy is not installed, or the file is broken or holds no single image.
    """
    image = read_dm_data(path)
    if image.ndim == 3 and len(image) == 1:
        image = image[0]
    if image.ndim != 2 or np.iscomplexobj(image):
        raise InputError(f"{path}: expected a single real image, found {image.shape}")
    return np.array(image, np.float32)


def read_dm_data(path: Path) -> npt.NDArray[Any]:
    """The data in a DM3 or DM4 file without its thumbnail, in the file's dtype.

    Raises
    ------
    InputError
        If ncempy is not installed, or the file is broken.
    """
    try:
        from ncempy.io import dm
    except ImportError as error:
        raise InputError(
            f"{path}: files of DigitalMicrograph need the package ncempy: "
            "pip install 'flexalign[dm4]', or make an MRC of it with IMOD: "
            f"dm2mrc {path.name} {path.stem}.mrc"
        ) from error
    try:
        # It counts tags in 8 bits, of which nothing depends.
        with np.errstate(all="ignore"), dm.fileDM(path, on_memory=True) as file:
            image = np.asarray(file.getDataset(0)["data"])
    except Exception as error:  # a damaged tree of tags raises errors of any type
        raise InputError(
            f"{path}: expected an image of DigitalMicrograph, found one that cannot be read "
            f"({error}); transfer it again"
        ) from error
    return image
