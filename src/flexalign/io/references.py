"""Read gain, dark and defects of the detector, oriented and resized to the movie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from flexalign.errors import InputError
from flexalign.io import digital_micrograph
from flexalign.io.defects import bad_pixels_in
from flexalign.io.movies import mrc, tiff
from flexalign.io.movies.compressed import compression_of
from flexalign.io.movies.mrc_header import looks_like_mrc
from flexalign.io.movies.reader import TIFF_MAGIC, head_text, read_head
from flexalign.model import MaskArray, MovieInfo, PixelArray, References
from flexalign.orientation import Orientation
from flexalign.params import AlignParams

# Larger factors and counts are damage, and their squares overflow 32 bits.
_MAX_GAIN, _MAX_DARK = 1e6, 1e9


# Non-finite pixels are handled below; numpy need not warn.
IGNORE_NON_FINITE = np.errstate(over="ignore", invalid="ignore", divide="ignore")


@IGNORE_NON_FINITE
def load_references(
    movie: MovieInfo,
    *,
    gain: str | Path | None = None,
    gain_rotate: int = 0,
    gain_flip: str = "none",
    gain_sense: str = "auto",
    dark: str | Path | None = None,
    defects: str | Path | None = None,
    tiff_rows: str = "imod",
) -> References:
    """The detector's correction images as `movie` needs them.

    Directions are those of an image shown with row 0 on top, as Xmipp, Scipion and RELION show
    it: turning by 90 degrees counter-clockwise is ``np.rot90(image, 1)``, upside down is
    ``np.flipud``, left to right ``np.fliplr``. The rotation comes first. (Xmipp's protocol flips
    first, whatever its help says: that differs for 90 and 270 degrees with a flip.)

    TIFF references have their rows turned over like TIFF movies, so does a TIFF for EER movies,
    and so do the files of DigitalMicrograph, whose first row is the top one as in TIFF;
    only a ``.gain`` for EER movies is taken as stored, for EER rows are not turned over. RELION
    does the same.

    Parameters
    ----------
    movie : the movie they are for
    gain : MRC, TIFF, .gain, .dm3 or .dm4 file; exactly twice the size of the movie, it is summed
        2 x 2 in the sense of counts, exactly half, it is repeated
    gain_rotate, gain_flip : 0, 90, 180 or 270; "none", "upside-down" or "left-right"
    gain_sense : "multiply", "divide" (averaged counts: their mean over them is the gain), or
        "auto": multiply, but divide for an MRC or TIFF with an EER movie
    dark : image that is subtracted, oriented as the gain is
    defects : image, non-zero = bad, or a text with lines ``x y width height``; in the movie's own
        orientation, the text in pixels of the detector, zero-based from the first row of the MRC
        order
    tiff_rows : as for the movie

    Notes
    -----
    Pixels with a gain that is not positive and finite count as defects.

    Raises
    ------
    InputError
        If a file cannot be read, has no usable pixel, or has another size than the movie.
    """
    shape = (movie.height_px, movie.width_px)
    notes: list[str] = []
    bad = np.zeros(shape, np.bool_)
    gain_image = dark_image = None
    if gain is not None:
        path = Path(gain)
        image = _oriented(read_for(movie, path, tiff_rows), gain_rotate, gain_flip, notes)
        image = _multiplying(path, image, sense_of(movie, path, gain_sense), notes)
        gain_image = _fit_gain(_Fit(path, "gain reference", image.shape, shape, notes), image)
        bad |= gain_image == 0
        gain_image[bad] = 1
        if bad.any():
            notes.append(f"{np.count_nonzero(bad)} pixels have no usable gain: defects")
    if dark is not None:
        path = Path(dark)
        orientation_notes = [] if gain is not None else notes
        image = _oriented(
            read_for(movie, path, tiff_rows), gain_rotate, gain_flip, orientation_notes
        )
        dark_image = _fit_dark(_Fit(path, "dark reference", image.shape, shape, notes), image)
        is_wrong = ~(np.abs(dark_image) <= _MAX_DARK)
        bad |= is_wrong
        dark_image[is_wrong] = 0
    if defects is not None:
        bad |= _read_defects(movie, Path(defects), tiff_rows, notes)
    if bad.all():
        raise InputError(f"{movie.path}: expected some good pixels, found only defects")
    return References(gain_image, dark_image, bad, tuple(notes))


def references_for(movie: MovieInfo, params: AlignParams) -> References:
    """As `load_references`, of the files that the parameters name."""
    return load_references(
        movie,
        gain=params.gain,
        gain_rotate=params.gain_rotate,
        gain_flip=params.gain_flip,
        gain_sense=params.gain_sense,
        dark=params.dark,
        defects=params.defects,
        tiff_rows=params.tiff_rows,
    )


@IGNORE_NON_FINITE
def read_image(path: str | Path, *, tiff_rows: str = "imod") -> PixelArray:
    """The single image (h, w) in an MRC, TIFF, .gain, .dm3 or .dm4 file, rows in MRC order.

    Of a ``.gain`` with several pages it is the first.  The array is the caller's, to write to.

    Raises
    ------
    InputError
        If the file is none of these, is broken, or holds several images.
    """
    path = Path(path)
    head = read_head(path)
    if head.startswith(TIFF_MAGIC):
        return _read_tiff(path, tiff_rows)
    if digital_micrograph.is_digital_micrograph(head):
        image = digital_micrograph.read_dm_image(path)
        return np.flipud(image) if tiff_rows == "imod" else image
    if not mrc.is_mrc(path, head):
        raise InputError(f"{path}: expected an image in MRC, TIFF or DM4, found an unknown format")
    return mrc.read_image(path).astype(np.float32, copy=False)


def image_size_px(path: str | Path) -> tuple[int, int] | None:
    """(height, width) of a reference image as stored; None if it cannot be read.

    Reading the image reports the error.
    """
    path = Path(path)
    try:
        head = read_head(path)
        if head.startswith(TIFF_MAGIC):
            return next(iter(tiff.whole_pages(path)), None)
        if digital_micrograph.is_digital_micrograph(head):
            return digital_micrograph.dm_size_px(path)
        header = mrc.read_header(path)
    except InputError:
        return None
    return header.height_px, header.width_px


def _read_tiff(path: Path, tiff_rows: str) -> PixelArray:
    """The single image of a TIFF file."""
    file, pages = tiff.open_tiff(path)
    with file, tiff.broken_tiff(path):
        images = tiff.image_pages(path, pages[:1] if path.suffix.lower() == ".gain" else pages)
        if (count := tiff.image_count(path, images)) != 1:
            raise InputError(f"{path}: expected a single image, found {count}")
        try:
            return tiff.read_page(images[0], tiff_rows).astype(np.float32, copy=False)
        except Exception as error:  # each codec has exceptions of its own
            raise InputError(
                f"{path}: the image cannot be decoded ({error}); transfer it again"
            ) from error


def read_for(movie: MovieInfo, path: Path, tiff_rows: str) -> PixelArray:
    """A reference image, its rows in the order of the movie's."""
    is_as_stored = movie.file_format == "eer" and path.suffix.lower() == ".gain"
    return read_image(path, tiff_rows="file" if is_as_stored else tiff_rows)


def _oriented(image: PixelArray, rotate: int, flip: str, notes: list[str]) -> PixelArray:
    """The image turned counter-clockwise by `rotate` degrees, then flipped."""
    if rotate:
        notes.append(f"references rotated by {rotate} degrees counter-clockwise")
    if flip != "none":
        notes.append(f"references flipped {flip}")
    return Orientation(rotate, flip).apply(image)


def sense_of(movie: MovieInfo, path: Path, sense: str) -> str:
    """Whether the gain multiplies or divides, "auto" decided."""
    if sense != "auto":
        return sense
    return "divide" if movie.file_format == "eer" and path.suffix.lower() != ".gain" else "multiply"


def _multiplying(path: Path, image: PixelArray, sense: str, notes: list[str]) -> PixelArray:
    """The multiplying gain, zero where not positive and finite; `image` is overwritten."""
    maximum = _MAX_GAIN if sense == "multiply" else np.inf
    good = np.isfinite(image) & (image > 0) & (image <= maximum)
    if not good.any():
        raise InputError(
            f"{path}: expected a gain reference, found no pixel above 0 and up to {maximum:g}"
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
            "counts would need --gain-sense divide"
        )
    return image


@dataclass(frozen=True, slots=True)
class _Fit:
    """Resizing of a reference to the movie."""

    path: Path
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
        hint = "turn it with --gain-rotate 90 or 270" if would_fit else "is it the right file?"
        raise InputError(
            f"{self.path}: expected a {self.what} of {self.wanted[1]} x {self.wanted[0]} pixels "
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


def _read_defects(movie: MovieInfo, path: Path, tiff_rows: str, notes: list[str]) -> MaskArray:
    """The bad pixels (h, w) of an image or a text file."""
    shape = (movie.height_px, movie.width_px)
    head = read_head(path)
    is_image = looks_like_mrc(head) or head.startswith(TIFF_MAGIC) or compression_of(head)
    if is_image or head_text(head) is None:
        image = read_image(path, tiff_rows=tiff_rows)
        bad = image != 0
        return _fit_defects(_Fit(path, "defect map", bad.shape, shape, notes), bad)
    return bad_pixels_in(path, shape, movie.eer.upsampling if movie.eer else 1)
