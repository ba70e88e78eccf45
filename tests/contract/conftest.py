"""Small movies of every kind that can be read, made by other programs or byte by byte."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mrcfile.dtypes
import numpy as np
import pytest
import tifffile
import zstandard

from flexalign.io.movies.eer_writer import write_eer

FRAMES, HEIGHT, WIDTH = 5, 12, 17
MRC_MODES = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}
COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "bz2": bz2.compress,
    "gz": gzip.compress,
    "xz": lzma.compress,
    "zst": zstandard.ZstdCompressor().compress,
}


@dataclass(frozen=True)
class Case:
    """A movie on disk and what must be read from it."""

    path: Path
    expected: np.ndarray
    file_format: str
    options: dict[str, Any] = field(default_factory=dict)


def numbers(dtype: str, frame_count: int = FRAMES) -> np.ndarray:
    """Frames without any symmetry, with values from all over the range of `dtype`."""
    rng = np.random.default_rng(7)
    if np.dtype(dtype).kind == "f":
        return rng.normal(0, 100, (frame_count, HEIGHT, WIDTH)).astype(dtype)
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, (frame_count, HEIGHT, WIDTH), dtype, endpoint=True)


def mrc_bytes(
    data: bytes, size: tuple[int, int, int], mode: int, order: str = "<", extended: bytes = b""
) -> bytes:
    """An MRC file around `data`; `size` is (frames, height, width)."""
    header = np.zeros(1, mrcfile.dtypes.HEADER_DTYPE.newbyteorder(order))
    header["nz"], header["ny"], header["nx"] = size
    header["mz"], header["my"], header["mx"] = size
    header["mode"], header["nsymbt"], header["map"] = mode, len(extended), b"MAP "
    header["machst"] = [0x44, 0x44, 0, 0] if order == "<" else [0x11, 0x11, 0, 0]
    header["cella"]["x"], header["cella"]["y"] = 0.75 * size[2], 0.75 * size[1]
    return header.tobytes() + extended + data


def four_bit_bytes(frames: np.ndarray) -> bytes:
    """Two pixels per byte, the first in the low half, rows padded to whole bytes."""
    padded = np.zeros((*frames.shape[:2], frames.shape[2] + frames.shape[2] % 2), np.uint8)
    padded[..., : frames.shape[2]] = frames
    return (padded[..., 0::2] | padded[..., 1::2] << 4).tobytes()


def mrc_case(folder: Path, mode: int, order: str, suffix: str, frame_count: int = FRAMES) -> Case:
    frames = numbers(MRC_MODES[mode], frame_count)
    stored = frames.astype(frames.dtype.newbyteorder(order)).tobytes()
    content = mrc_bytes(stored, frames.shape, mode, order, extended=b"FEI1" * 8)
    path = folder / f"movie{suffix}"
    path.write_bytes(content)
    return Case(path, frames, "mrc")


def four_bit_case(folder: Path, frame_count: int = FRAMES) -> Case:
    frames = numbers("u1", frame_count) & 15
    path = folder / "movie.mrc"
    path.write_bytes(mrc_bytes(four_bit_bytes(frames), frames.shape, 101))
    return Case(path, frames, "mrc")


def compressed_case(folder: Path, compression: str, frame_count: int = FRAMES) -> Case:
    plain = mrc_case(folder, 1, "<", ".mrc", frame_count)
    path = folder / f"movie.mrc.{compression}"
    path.write_bytes(COMPRESSORS[compression](plain.path.read_bytes()))
    return Case(path, plain.expected, f"{compression} mrc")


def tiff_case(
    folder: Path,
    dtype: str = "uint8",
    rows: str = "imod",
    bigtiff: bool = False,
    byteorder: str = "<",
    frame_count: int = FRAMES,
    **how: Any,
) -> Case:
    frames = numbers(dtype, frame_count)
    path = folder / "movie.tif"
    with tifffile.TiffWriter(path, bigtiff=bigtiff, byteorder=byteorder) as file:
        for frame in frames:
            file.write(frame, contiguous=False, metadata=None, photometric="minisblack", **how)
    expected = frames[:, ::-1] if rows == "imod" else frames
    return Case(path, expected, "tiff", {"tiff_rows": rows})


def eer_case(
    folder: Path, codec: int, upsampling: int = 1, per_frame: int = 3, frame_count: int = FRAMES
) -> Case:
    rng = np.random.default_rng(8)
    raw_frames, expected = (
        [],
        np.zeros((frame_count, HEIGHT * upsampling, WIDTH * upsampling), "u1"),
    )
    for raw in range(frame_count * per_frame):
        pixels = rng.choice(HEIGHT * WIDTH, rng.integers(0, 60), replace=False)
        pixel_y, pixel_x = np.divmod(pixels, WIDTH)
        place = np.stack([pixel_y, pixel_x], 1) * 4 + rng.integers(0, 4, (pixels.size, 2))
        raw_frames.append(place)
        y, x = (place * upsampling // 4).T
        np.add.at(expected[raw // per_frame], (y, x), 1)
    path = folder / "movie.eer"
    write_eer(path, raw_frames, height_px=HEIGHT, width_px=WIDTH, codec=codec)
    options = {"eer_fractions": frame_count, "eer_upsampling": upsampling}
    return Case(path, expected, "eer", options)


MAKERS: dict[str, Callable[..., Case]] = {
    **{
        f"mrc-{mode}{order}": lambda folder, mode=mode, order=order, **more: mrc_case(
            folder, mode, order, ".mrcs", **more
        )
        for mode in MRC_MODES
        for order in "<>"
    },
    "st": lambda folder, **more: mrc_case(folder, 1, "<", ".st", **more),
    "mrc-101": four_bit_case,
    **{
        f"mrc-{name}": lambda folder, name=name, **more: compressed_case(folder, name, **more)
        for name in COMPRESSORS
    },
    **{
        f"tiff-{dtype}": lambda folder, dtype=dtype, **more: tiff_case(folder, dtype, **more)
        for dtype in ("int8", "uint16", "int16", "uint32", "int32", "float32")
    },
    **{
        f"tiff-{name}-strips": lambda folder, name=name, **more: tiff_case(
            folder, compression=name, rowsperstrip=5, **more
        )
        for name in (None, "lzw", "zlib", "zstd")
    },
    **{
        f"tiff-{name}-tiles": lambda folder, name=name, **more: tiff_case(
            folder, "uint16", compression=name, tile=(16, 16), **more
        )
        for name in (None, "lzw", "zlib")
    },
    "tiff-file-order": lambda folder, **more: tiff_case(folder, rows="file", **more),
    "tiff-predictor": lambda folder, **more: tiff_case(
        folder, "uint16", compression="lzw", predictor=2, **more
    ),
    "tiff-big-endian": lambda folder, **more: tiff_case(folder, "uint16", byteorder=">", **more),
    "bigtiff": lambda folder, **more: tiff_case(folder, bigtiff=True, compression="zlib", **more),
    **{
        f"eer-{codec}": lambda folder, codec=codec, **more: eer_case(folder, codec, **more)
        for codec in (65000, 65001, 65002)
    },
    "eer-upsampled": lambda folder, **more: eer_case(folder, 65001, upsampling=2, **more),
}


@pytest.fixture(params=MAKERS)
def maker(request: pytest.FixtureRequest) -> Callable[..., Case]:
    """The function that makes one kind of movie in a folder."""
    return MAKERS[request.param]


@pytest.fixture
def case(maker: Callable[..., Case], tmp_path: Path) -> Case:
    """One kind of movie."""
    return maker(tmp_path)
