"""Describe a single image or a list of bad pixels: detector references, micrographs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from flexalign.io.defects import read_rectangles
from flexalign.io.digital_micrograph import is_digital_micrograph, read_dm_data
from flexalign.io.inspect.facts import FileFacts, Lines
from flexalign.io.movies import mrc, tiff
from flexalign.io.movies.reader import TIFF_MAGIC, read_head
from flexalign.io.reference_images import IGNORE_NON_FINITE, read_image
from flexalign.model import PixelArray


@IGNORE_NON_FINITE
def inspect_image(path: Path) -> FileFacts:
    """A gain or dark reference, a map of defects, a micrograph: statistics of its pixels."""
    image = read_image(path)
    values = {**_file_values(path), **_statistics(image)}
    size_A = values["pixel_size_A"]
    lines: Lines = [
        ("image", str(path)),
        ("format", "{file_format}, {pixel_dtype}, {size_bytes:,} bytes".format(**values)),
        ("size", "{width_px} x {height_px} px".format(**values)),
        ("pixel size", "unknown" if size_A is None else f"{size_A:.4g} A"),
        ("values", "{minimum:.5g} to {maximum:.5g}, mean {mean:.5g}, standard deviation "
         "{standard_deviation:.3g}".format(**values)),
        ("pixels", "{zeros} zero, {negative} below zero, {not_finite} not finite".format(**values)),
    ]  # fmt: skip
    # On any detector most pixels are good.
    is_map = values["nonzero"] < image.size / 2
    lines.append(
        ("as defects", f"{values['nonzero']} bad pixels (not zero)")
        if is_map
        else ("as a gain", _as_gain(image))
    )
    return FileFacts(str(path), "image", values, tuple(lines))


def inspect_digital_micrograph(path: Path) -> FileFacts:
    """An image of DigitalMicrograph; of a stack, only the size."""
    data = read_dm_data(path)
    if data.ndim == 2 or (data.ndim == 3 and len(data) == 1):
        return inspect_image(path)
    size_px = " x ".join(str(length) for length in reversed(data.shape))
    what = "a stack of DigitalMicrograph, which is not read: dm2mrc of IMOD makes an MRC of it"
    values = {"what": what, "size_px": size_px, "pixel_dtype": data.dtype.name}
    lines = (("file", str(path)), ("what", what), ("size", f"{size_px} px, {data.dtype.name}"))
    return FileFacts(str(path), "other", values, lines)


def _file_values(path: Path) -> dict[str, Any]:
    """Values from the header."""
    values: dict[str, Any] = {"size_bytes": path.stat().st_size}
    head = read_head(path)
    if is_digital_micrograph(head):
        dtype = read_dm_data(path).dtype.name
        name = f"dm{head[3]}"
        return {**values, "file_format": name, "pixel_dtype": dtype, "pixel_size_A": None}
    if head.startswith(TIFF_MAGIC):
        page = tiff.first_page(path)
        kind = f"tiff ({page.compression})" if page.compression != "none" else "tiff"
        return {
            **values,
            "file_format": kind,
            "pixel_dtype": page.pixel_dtype,
            "pages": page.page_count,
            "pixel_size_A": page.pixel_size_A,
        }
    file_format, header = mrc.header_of(path)
    return {
        **values,
        "file_format": file_format,
        "pixel_dtype": header.pixel_dtype,
        "pixel_size_A": header.pixel_size_A,
    }


def _statistics(image: PixelArray) -> dict[str, Any]:
    """Statistics of the pixels of an image."""
    good = np.isfinite(image)
    finite = image[good].astype(np.float64)
    height, width = image.shape
    none = float("nan")
    return {
        "height_px": height,
        "width_px": width,
        "minimum": float(finite.min()) if finite.size else none,
        "maximum": float(finite.max()) if finite.size else none,
        "mean": float(finite.mean()) if finite.size else none,
        "standard_deviation": float(finite.std()) if finite.size else none,
        "zeros": int(np.count_nonzero(image == 0)),
        "nonzero": int(np.count_nonzero(image)),
        "negative": int(np.count_nonzero(finite < 0)),
        "not_finite": int(image.size - finite.size),
    }


def _as_gain(image: PixelArray) -> str:
    """Interpretation of the image as a gain reference."""
    usable = np.isfinite(image) & (image > 0)
    if not usable.any():
        return "no usable pixel"
    mean = float(image[usable].mean(dtype=np.float64))
    sense = "" if 0.1 <= mean <= 10 else "; counts, to be given with `gain_sense` divide"
    bad = image.size - np.count_nonzero(usable)
    return f"mean {mean:.4g} of usable pixels, {bad} that are not usable{sense}"


def inspect_defects(path: Path) -> FileFacts:
    """A text with rectangles of bad pixels."""
    rectangles = read_rectangles(path)
    _, x, y, width, height = np.array(rectangles).T
    values = {
        "rectangles": len(rectangles),
        "bad_pixels": int((width * height).sum()),
        "smallest_width_px": int((x + width).max()),
        "smallest_height_px": int((y + height).max()),
    }
    lines = (
        ("defects", str(path)),
        ("bad", "{rectangles} rectangles of {bad_pixels} pixels".format(**values)),
        ("fits", "detectors of {smallest_width_px} x {smallest_height_px} pixels and more".format(
            **values)),
    )  # fmt: skip
    return FileFacts(str(path), "defects", values, lines)
