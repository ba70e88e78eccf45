"""DM4 references, read from files made here tag by tag."""

from __future__ import annotations

import struct
import sys

import numpy as np
import pytest

from flexalign.errors import InputError
from flexalign.io.reference_images import image_size_px, read_image
from flexalign.io.references import load_references
from flexalign.model import MovieInfo

IMAGE = np.arange(1, 49, dtype=np.float32).reshape(6, 8)
# Kinds of numbers in tags, and in images.
INT32, UINT16, FLOAT32, ARRAY = 3, 4, 6, 20
REAL4, RGB = 2, 23


def _entry(kind: int, name: str, content: bytes) -> bytes:
    """One entry of a group: a tag (21) or a group (20)."""
    label = name.encode()
    return struct.pack(">BH", kind, len(label)) + label + struct.pack(">Q", len(content)) + content


def _tag(name: str, info: tuple[int, ...], data: bytes) -> bytes:
    """A tag with the numbers that say what its data are."""
    head = b"%%%%" + struct.pack(">Q", len(info)) + struct.pack(f">{len(info)}Q", *info)
    return _entry(21, name, head + data)


def _group(name: str, *entries: bytes) -> bytes:
    return _entry(20, name, _entries(*entries))


def _entries(*entries: bytes) -> bytes:
    return struct.pack(">BBQ", 0, 0, len(entries)) + b"".join(entries)


def _integer(name: str, value: int) -> bytes:
    return _tag(name, (INT32,), struct.pack("<i", value))


def _axis() -> bytes:
    """The calibration of one axis of an image."""
    origin, scale = (
        _tag(name, (FLOAT32,), struct.pack("<f", value))
        for name, value in (("Origin", 0.0), ("Scale", 0.1))
    )
    return _group("", origin, scale, _tag("Units", (ARRAY, UINT16, 2), "nm".encode("utf-16-le")))


def _image(pixels: np.ndarray, kind: int, number: int) -> bytes:
    """The entry of one image in the list of images."""
    height, width = pixels.shape
    return _group(
        "",
        _group(
            "ImageData",
            _group("Calibrations", _group("Dimension", _axis(), _axis())),
            _tag("Data", (ARRAY, number, pixels.size), pixels.tobytes()),
            _integer("DataType", kind),
            _group("Dimensions", _integer("", width), _integer("", height)),
            _integer("PixelDepth", 4),
        ),
    )


def write_dm4(path, pixels):
    """Write one image as a DM4 file, after a thumbnail as DigitalMicrograph has it.

    The layout follows C. Boothroyd, "dmformat", http://www.er-c.org/cbb/info/dmformat/
    """
    thumbnail = _image(np.full((2, 3), 0x00FF00, "<i4"), RGB, INT32)
    image = _image(np.asarray(pixels, "<f4"), REAL4, FLOAT32)
    root = _entries(_group("ImageList", thumbnail, image))
    path.write_bytes(struct.pack(">IQI", 4, len(root), 1) + root + bytes(8))
    return path


def test_a_dm4_is_read_with_its_rows_turned_over_like_a_tiff(tmp_path):
    path = write_dm4(tmp_path / "gain.dm4", IMAGE)

    np.testing.assert_array_equal(read_image(path), IMAGE[::-1])
    np.testing.assert_array_equal(read_image(path, tiff_rows="file"), IMAGE)


def test_the_size_of_a_dm4_is_that_of_its_image(tmp_path):
    assert image_size_px(write_dm4(tmp_path / "gain.dm4", IMAGE)) == IMAGE.shape


def test_a_file_that_cannot_be_read_has_no_size(tmp_path):
    path = write_dm4(tmp_path / "gain.dm4", IMAGE)
    path.write_bytes(path.read_bytes()[:150])

    assert image_size_px(path) is None
    assert image_size_px(tmp_path / "none.mrc") is None


def test_a_dm4_is_a_gain_reference(tmp_path):
    path = write_dm4(tmp_path / "gain.dm4", IMAGE)
    movie = MovieInfo("movie", "tiff", 2, 6, 8, "uint8", None, 1)

    np.testing.assert_array_equal(load_references(movie, gain=path).gain, IMAGE[::-1])


def test_without_the_reader_the_extra_is_named(tmp_path, monkeypatch):
    path = write_dm4(tmp_path / "gain.dm4", IMAGE)
    monkeypatch.setitem(sys.modules, "ncempy.io", None)

    with pytest.raises(InputError, match=r"pip install 'flexalign\[dm4\]'.*dm2mrc gain.dm4"):
        read_image(path)


@pytest.mark.parametrize("size", [40, 150, 300])
def test_a_truncated_dm4_is_refused(tmp_path, size):
    path = write_dm4(tmp_path / "gain.dm4", IMAGE)
    path.write_bytes(path.read_bytes()[:size])

    with pytest.raises(InputError, match=r"gain.dm4.*transfer it again"):
        read_image(path)
