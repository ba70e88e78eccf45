"""The eight orientations in which a reference image can lie relative to its movies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

FLIPS = ("none", "upside-down", "left-right")


@dataclass(frozen=True, slots=True)
class Orientation:
    """A turn, then a flip, of an image that is shown with row 0 on top.

    Attributes
    ----------
    rotate : 0, 90, 180 or 270 degrees counter-clockwise
    flip : one of `FLIPS`
    """

    rotate: int = 0
    flip: str = "none"

    def apply(self, image: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The image (h, w) rotated, then flipped: a view, exact to the pixel.

        Examples
        --------
        >>> Orientation(90, "upside-down").apply(np.array([[1, 2], [3, 4]])).tolist()
        [[1, 3], [2, 4]]
        """
        turned = np.rot90(image, self.rotate // 90)
        if self.flip == "upside-down":
            return np.flipud(turned)
        return np.fliplr(turned) if self.flip == "left-right" else turned

    def shape_px(self, shape_px: tuple[int, int]) -> tuple[int, int]:
        """Shape of an image (h, w) after the transformation."""
        return shape_px if self.rotate % 180 == 0 else (shape_px[1], shape_px[0])

    def canonical(self) -> Orientation:
        """The one of `ORIENTATIONS` that does the same.

        Examples
        --------
        >>> Orientation(270, "upside-down").canonical()
        Orientation(rotate=90, flip='left-right')
        """
        if self.flip == "none" or self.rotate < 180:
            return self
        other = "left-right" if self.flip == "upside-down" else "upside-down"
        return Orientation(self.rotate - 180, other)

    def describe(self) -> str:
        """The orientation in words.

        Examples
        --------
        >>> Orientation(90, "left-right").describe(), Orientation().describe()
        ('rotated by 90 degrees, flipped left-right', 'unrotated')
        """
        words = [f"rotated by {self.rotate} degrees"] if self.rotate else []
        words += [f"flipped {self.flip}"] if self.flip != "none" else []
        return ", ".join(words) or "unrotated"


# Simplest first; every combination of a turn and a flip equals one of these.
ORIENTATIONS = (
    *(Orientation(rotate) for rotate in (0, 90, 180, 270)),
    *(Orientation(rotate, flip) for flip in FLIPS[1:] for rotate in (0, 90)),
)
