"""Read gain, dark and defects of the detector, oriented and resized to the movie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from flexalign.errors import InputError
from flexalign.io.defects import bad_pixels_in
from flexalign.io.movies.compressed import compression_of
from flexalign.io.movies.mrc_header import looks_like_mrc
from flexalign.io.movies.reader import TIFF_MAGIC, head_text, read_head
from flexalign.io.reference_images import (
    IGNORE_NON_FINITE,
    read_for,
    read_image,
    reference_image,
)
from flexalign.model import MaskArray, MovieInfo, PixelArray, References
from flexalign.orientation import Orientation
from flexalign.params import AlignParams

# A file, or the image itself (h, w) with row 0 as in MRC files.
Reference = str | Path | npt.NDArray[Any]

# Larger factors and counts are damage, and their squares overflow 32 bits.
_MAX_GAIN, _MAX_DARK = 1e6, 1e9


@IGNORE_NON_FINITE
def load_references(
    movie: MovieInfo,
    *,
    gain: Reference | None = None,
    gain_rotate: int = 0,
    gain_flip: str = "none",
    gain_sense: str = "auto",
    dark: Reference | None = None,
    defects: Reference | None = None,
    tiff_rows: str = "imod",
) -> References:
    """The detector's correction images as `movie` needs them.

    Directions are those of an image shown with row 0 on top, as Xmipp, Scipion and RELION show
    it: turning by 90 degrees counter-clockwise is ``np.rot90(image, 1)``, upside down is
    ``np.flipud``, left to right ``np.fliplr``. The rotation comes first. (Xmipp's protocol flips
    first, whatever its help says: that differs for 90 and 270 degrees with a flip.)

    The rows of TIFF references are reversed as those of TIFF movies are, also for EER movies, and
    so are those of files of DigitalMicrograph, whose first row is the top one as in TIFF. Only a
    ``.gain`` for EER movies is taken as stored, since the rows of EER are not reversed. RELION
    does the same.

    Parameters
    ----------
    movie : the movie they are for
    gain : MRC, TIFF, .gain, .dm3 or .dm4 file, or an array (h, w); exactly twice the size of the
        movie, it is summed 2 x 2 in the sense of counts, exactly half, it is repeated
    gain_rotate, gain_flip : 0, 90, 180 or 270; "none", "upside-down" or "left-right"
    gain_sense : "multiply", "divide" (averaged counts: their mean over them is the gain), or
        "auto": multiply, but divide for an MRC or TIFF file with an EER movie
    dark : file or array (h, w) of an image that is subtracted, oriented as the gain is
    defects : array or file of an image, non-zero = bad, or a text with lines
        ``x y width height``; in the movie's own orientation, the text in pixels of the detector,
        zero-based from the first row of the MRC order
    tiff_rows : as for the movie

    Returns
    -------
    The images (h, w) on the grid of the movie

    Raises
    ------
    InputError
        If a file cannot be read, has no usable pixel, or has another size than the movie.

    Notes
    -----
    Pixels with a gain that is not positive and finite count as defects.

    Examples
    --------
    >>> movie = MovieInfo("stack", "array", 4, 2, 3, "uint8", 1.5, 24)
    >>> references = load_references(movie, gain=np.array([[1, 1, 0], [1, 1, 2]]))
    >>> references.gain
    array([[1., 1., 1.],
           [1., 1., 2.]], dtype=float32)
    >>> references.defects
    array([[False, False,  True],
           [False, False, False]])
    """
    shape = (movie.height_px, movie.width_px)
    notes: list[str] = []
    bad = np.zeros(shape, np.bool_)
    gain_image = dark_image = None
    if gain is not None:
        name = _name(gain, "gain")
        image = _oriented(_read(movie, gain, "gain", tiff_rows), gain_rotate, gain_flip, notes)
        image = _multiplying(name, image, sense_of(movie, gain, gain_sense), notes)
        gain_image = _fit_gain(_Fit(name, "gain reference", image.shape, shape, notes), image)
        bad |= gain_image == 0
        gain_image[bad] = 1
        if bad.any():
            notes.append(f"{np.count_nonzero(bad)} pixels have no usable gain: defects")
    if dark is not None:
        orientation_notes = [] if gain is not None else notes
        image = _read(movie, dark, "dark", tiff_rows)
        image = _oriented(image, gain_rotate, gain_flip, orientation_notes)
        fit = _Fit(_name(dark, "dark"), "dark reference", image.shape, shape, notes)
        dark_image = _fit_dark(fit, image)
        is_wrong = ~(np.abs(dark_image) <= _MAX_DARK)
        bad |= is_wrong
        dark_image[is_wrong] = 0
    if defects is not None:
        bad |= _read_defects(movie, defects, tiff_rows, notes)
    if bad.all():
        raise InputError(f"{movie.path}: expected some good pixels, found only defects")
    return References(gain_image, dark_image, bad, tuple(notes))


def references_for(
    movie: MovieInfo, params: AlignParams, images: Mapping[str, PixelArray] | None = None
) -> References:
    """As `load_references`, of the files that the parameters name.

    Parameters
    ----------
    images : those of "gain", "dark" and "defects" that are arrays instead
    """
    images = images or {}
    return load_references(
        movie,
        gain=images.get("gain", params.gain),
        gain_rotate=params.gain_rotate,
        gain_flip=params.gain_flip,
        gain_sense=params.gain_sense,
        dark=images.get("dark", params.dark),
        defects=images.get("defects", params.defects),
        tiff_rows=params.tiff_rows,
    )


def _read(movie: MovieInfo, reference: Reference, name: str, tiff_rows: str) -> PixelArray:
    """A reference (h, w) as stored, the caller's to write to."""
    if isinstance(reference, str | Path):
        return read_for(movie, Path(reference), tiff_rows)
    return reference_image(reference, name)


def _name(reference: Reference, name: str) -> str:
    """What messages call a reference: its path; an array has the name of the parameter."""
    return str(reference) if isinstance(reference, str | Path) else name


def _oriented(image: PixelArray, rotate: int, flip: str, notes: list[str]) -> PixelArray:
    """The image turned counter-clockwise by `rotate` degrees, then flipped."""
    if rotate:
        notes.append(f"references rotated by {rotate} degrees counter-clockwise")
    if flip != "none":
        notes.append(f"references flipped {flip}")
    return Orientation(rotate, flip).apply(image)


def sense_of(movie: MovieInfo, gain: Reference, sense: str) -> str:
    """Whether the gain multiplies or divides, "auto" decided."""
    if sense != "auto":
        return sense
    is_count_file = isinstance(gain, str | Path) and Path(gain).suffix.lower() != ".gain"
    return "divide" if movie.file_format == "eer" and is_count_file else "multiply"


def _multiplying(name: str, image: PixelArray, sense: str, notes: list[str]) -> PixelArray:
    """The multiplying gain, zero where not positive and finite; `image` is overwritten."""
    maximum = _MAX_GAIN if sense == "multiply" else np.inf
    good = np.isfinite(image) & (image > 0) & (image <= maximum)
    if not good.any():
        raise InputError(
            f"{name}: expected a gain reference, found no pixel above 0 and up to {maximum:g}"
        )
    mean = float(np.mean(image, where=good, dtype=np.float64))
    image[~good] = 0
    if sense == "divide":
        notes.append("the gain reference holds counts: frames are divided by it")
        np.divide(np.float32(mean), image, out=image, where=good)
        # The inverse of a subnormal value is not finite.
        image[~(image <= _MAX_GAIN)] = 0
        return image
    if not 0.1 <= mean <= 10:
        notes.append(
            f"the gain reference multiplies and its mean is {mean:.3g}, where about 1 is expected; "
            "counts would need `gain_sense` divide"
        )
    return image


@dataclass(frozen=True, slots=True)
class _Fit:
    """Resizing of a reference to the movie."""

    name: str
    what: str
    found: tuple[int, ...]
    wanted: tuple[int, int]
    notes: list[str]

    def ratio(self) -> str:
        """One of "same", "twice" and "half"; `InputError` for any other."""
        for name, twice, half in (("same", 1, 1), ("twice", 1, 2), ("half", 2, 1)):
            if [twice * side for side in self.found] == [half * side for side in self.wanted]:
                if name != "same":
                    self.notes.append(f"the {self.what} has {name} the size of the movie: adapted")
                return name
        turned = self.found[::-1]
        would_fit = any(
            (a * turned[0], a * turned[1]) == (b * self.wanted[0], b * self.wanted[1])
            for a, b in ((1, 1), (1, 2), (2, 1))
        )
        hint = "turn it with `gain_rotate` 90 or 270" if would_fit else "is it the right file?"
        raise InputError(
            f"{self.name}: expected a {self.what} of {self.wanted[1]} x {self.wanted[0]} pixels "
            f"as the movie, or twice or half of that, found {self.found[1]} x {self.found[0]}; "
            f"{hint}"
        )


def _quarters(image: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The image (h, w) as (h / 2, w / 2, 4), the pixels of each 2 x 2 block last."""
    h, w = image.shape
    return image.reshape(h // 2, 2, w // 2, 2).swapaxes(1, 2).reshape(h // 2, w // 2, 4)


def _doubled(image: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The image with every pixel repeated 2 x 2."""
    return image.repeat(2, axis=0).repeat(2, axis=1)


def _fit_gain(fit: _Fit, gain: PixelArray) -> npt.NDArray[Any]:
    """The gain on the movie's grid, zero where it is a defect."""
    ratio = fit.ratio()
    if ratio == "same":
        return np.ascontiguousarray(gain)
    if ratio == "half":
        return _doubled(gain)
    # The movie's pixel holds the sum of four counts c / g.
    four = _quarters(gain)
    good = four > 0
    counts = np.divide(1, four, out=np.zeros_like(four), where=good).sum(axis=-1)
    enough = good.sum(axis=-1) >= 2
    return np.asarray(np.divide(4, counts, out=np.zeros_like(counts), where=enough))


def _fit_dark(fit: _Fit, dark: PixelArray) -> npt.NDArray[Any]:
    """The dark on the movie's grid, with its sum over an area preserved."""
    ratio = fit.ratio()
    if ratio == "same":
        return np.ascontiguousarray(dark)
    return np.asarray(_quarters(dark).sum(axis=-1) if ratio == "twice" else _doubled(dark) / 4)


def _fit_defects(fit: _Fit, bad: MaskArray) -> MaskArray:
    """The defects on the movie's grid; of four merged pixels, up to two may be bad."""
    ratio = fit.ratio()
    if ratio == "same":
        return bad
    return _quarters(bad).sum(axis=-1) > 2 if ratio == "twice" else _doubled(bad)


def _read_defects(
    movie: MovieInfo, defects: Reference, tiff_rows: str, notes: list[str]
) -> MaskArray:
    """The bad pixels (h, w) of an image or a text file."""
    shape = (movie.height_px, movie.width_px)
    if not isinstance(defects, str | Path):
        bad = reference_image(defects, "defects") != 0
        return _fit_defects(_Fit("defects", "defect map", bad.shape, shape, notes), bad)
    path = Path(defects)
    head = read_head(path)
    is_image = looks_like_mrc(head) or head.startswith(TIFF_MAGIC) or compression_of(head)
    if is_image or head_text(head) is None:
        image = read_image(path, tiff_rows=tiff_rows)
        bad = image != 0
        return _fit_defects(_Fit(str(path), "defect map", bad.shape, shape, notes), bad)
    return bad_pixels_in(path, shape, movie.eer.upsampling if movie.eer else 1)
