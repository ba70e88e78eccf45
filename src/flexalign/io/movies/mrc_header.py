"""Headers of MRC files: sizes and data types.

References
----------
Cheng et al., J. Struct. Biol. 192 (2015) 146 (MRC2014), and IMOD's description of its additions
(signed bytes, modes 6, 12 and 101), https://bio3d.colorado.edu/imod/doc/mrc_format.txt
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import mrcfile.dtypes
import numpy as np
import numpy.typing as npt

from flexalign.errors import InputError
from flexalign.io.movies.reader import trusted_pixel_size_A

HEADER_BYTES = 1024
MAX_SIDE = 1 << 20
# FEI's extended headers have 768 bytes per image, most others less.
MAX_EXTENDED_BYTES = 64 << 20
DTYPES = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2", 101: "u1"}
BYTES, FOUR_BIT = 0, 101

# IMOD's stamp; bit flags follow it.
IMOD_STAMP = 1146047817
IMOD_STAMP_OFFSET = 152
IMOD_SIGNED_BYTES = 1
IMOD_PACKED_IN_BYTES = 16
UNSTAMPED = "bytes without IMOD's stamp are interpreted as signed, as in MRC2014"


@dataclass(frozen=True, slots=True)
class MrcHeader:
    """The fields of an MRC header needed to read its planes.

    Attributes
    ----------
    dtype : of the numbers in the file
    is_packed : two 4-bit values in each byte, the first in its low half
    is_shifted : unsigned bytes are stored less 128, as signed ones
    """

    height_px: int
    width_px: int
    plane_count: int
    dtype: np.dtype[Any]
    is_packed: bool
    is_shifted: bool
    data_offset_bytes: int
    pixel_size_A: float | None
    notes: tuple[str, ...]

    @property
    def pixel_dtype(self) -> str:
        """The dtype of decoded pixels."""
        return str(self.dtype.newbyteorder("=").name)

    @property
    def row_bytes(self) -> int:
        """Bytes of one row; rows of 4-bit values are padded to whole bytes."""
        if self.is_packed:
            return (self.width_px + 1) // 2
        return self.width_px * self.dtype.itemsize

    @property
    def plane_bytes(self) -> int:
        """Bytes of one plane."""
        return self.height_px * self.row_bytes

    @property
    def size_bytes(self) -> int:
        """Bytes that the whole file must have."""
        return self.data_offset_bytes + self.plane_count * self.plane_bytes

    def pixels(self, plane: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
        """The pixels (h, w) in the bytes of one plane, in the byte order of this machine."""
        if self.is_packed:
            packed = plane.reshape(self.height_px, self.row_bytes)
            both = np.empty((self.height_px, 2 * self.row_bytes), np.uint8)
            both[:, 0::2] = packed & 15
            both[:, 1::2] = packed >> 4
            return both[:, : self.width_px]
        if self.is_shifted:
            plane = plane ^ np.uint8(128)
        values = plane.view(self.dtype).reshape(self.height_px, self.width_px)
        return values.astype(self.dtype.newbyteorder("="), copy=False)


def looks_like_mrc(head: bytes) -> bool:
    """Whether a file that starts with `head` has MRC's stamp and plausible sizes."""
    return head[208:212] in (b"MAP ", b"MAP\0") and _byte_order(head) is not None


def _byte_order(head: bytes) -> str | None:
    """The byte order, "<" or ">", in which the header is valid; None if in neither."""
    # The machine stamp decides if both are valid; older files have none.
    for order in "><" if head[212:213] == b"\x11" else "<>":
        sizes_and_mode = np.frombuffer(head, f"{order}i4", count=4) if len(head) >= 16 else [0] * 4
        sensible = all(0 < size <= MAX_SIDE for size in sizes_and_mode[:3])
        if sensible and int(sizes_and_mode[3]) in DTYPES:
            return order
    return None


def parse_header(path: Path, head: bytes) -> MrcHeader:
    """The header in the first 1024 bytes of the file.

    Raises
    ------
    InputError
        If it is too short, or its sizes or mode make no sense.
    """
    if len(head) < HEADER_BYTES:
        raise InputError(
            f"{path}: expected an MRC header of {HEADER_BYTES} bytes, found {len(head)} bytes; "
            "the file is truncated"
        )
    order = _byte_order(head)
    if order is None:
        found = np.frombuffer(head, "<i4", count=4).tolist()
        raise InputError(
            f"{path}: expected an MRC header with positive sizes and one of the modes "
            f"{sorted(DTYPES)}, found size {found[:3]} and mode {found[3]}"
        )
    fields = np.frombuffer(head, mrcfile.dtypes.HEADER_DTYPE.newbyteorder(order), count=1)[0]
    mode, extended_bytes = int(fields["mode"]), int(fields["nsymbt"])
    if extended_bytes < 0:
        raise InputError(
            f"{path}: expected an extended header of 0 or more bytes, found {extended_bytes}"
        )
    if extended_bytes > MAX_EXTENDED_BYTES:
        raise InputError(
            f"{path}: expected an extended header of at most {MAX_EXTENDED_BYTES} bytes, found "
            f"{extended_bytes}; the header is damaged, transfer the file again"
        )
    kind = _kind_of_bytes(path, fields, head, order)
    pixel_size_A, notes = _pixel_size_A(fields)
    return MrcHeader(
        height_px=int(fields["ny"]),
        width_px=int(fields["nx"]) * (2 if kind.is_half_width else 1),
        plane_count=int(fields["nz"]),
        dtype=np.dtype(order + (kind.dtype or DTYPES[mode])),
        is_packed=mode == FOUR_BIT or kind.is_half_width,
        is_shifted=kind.is_shifted,
        data_offset_bytes=HEADER_BYTES + extended_bytes,
        pixel_size_A=pixel_size_A,
        notes=notes + kind.notes,
    )


class _Bytes(NamedTuple):
    """The type of the bytes of mode 0; "" for other modes."""

    dtype: str = ""
    is_shifted: bool = False
    is_half_width: bool = False
    notes: tuple[str, ...] = ()


def _kind_of_bytes(path: Path, fields: Any, head: bytes, order: str) -> _Bytes:
    """Signed, unsigned or packed bytes: signed in MRC2014, otherwise by IMOD's flags.

    IMOD uses 0 to 255 throughout: bytes that it marks as signed were stored minus 128.
    """
    if int(fields["mode"]) != BYTES:
        return _Bytes()
    stamp, flags = np.frombuffer(head, f"{order}i4", count=2, offset=IMOD_STAMP_OFFSET).tolist()
    if stamp != IMOD_STAMP:
        # SerialEM's camera plugin marks packed data in its only label.
        if int(fields["nlabl"]) == 1 and b"4 bits packed" in bytes(fields["label"][0]):
            return _Bytes("u1", is_half_width=True, notes=("two 4-bit values in each byte",))
        return _Bytes("i1", notes=(UNSTAMPED,))
    is_signed = bool(flags & IMOD_SIGNED_BYTES)
    if flags & IMOD_PACKED_IN_BYTES:
        if is_signed:
            raise InputError(
                f"{path}: expected two 4-bit values in each unsigned byte, found bytes marked as "
                "signed, which cannot be; the header is damaged"
            )
        return _Bytes("u1", is_half_width=True, notes=("two 4-bit values in each byte",))
    return _Bytes("u1", is_shifted=is_signed)


def _pixel_size_A(fields: Any) -> tuple[float | None, tuple[str, ...]]:
    """The header's pixel size if it can be trusted, and a note if it cannot."""
    cell_A, cells = fields["cella"], (int(fields["mx"]), int(fields["my"]))
    if min(cells) <= 0:
        return None, ("the header has no pixel size",)
    x_A, y_A = float(cell_A["x"]) / cells[0], float(cell_A["y"]) / cells[1]
    size_A = trusted_pixel_size_A(x_A, y_A)
    if size_A is None:
        return None, (
            f"the pixel size in the header ({x_A:g} x {y_A:g} A) is implausible and ignored",
        )
    return size_A, ()
