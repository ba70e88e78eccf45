"""What all pictures and pages have in common: which way is up, and what colours mean.

Pictures show an image as it is displayed: row 0 at the top, x to the right and y downward.  Motion
is drawn in the same directions, in the plots of one movie, of a comparison and in the report.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

DOWNWARD = "downward, as displayed"


@dataclass(frozen=True, slots=True)
class Shade:
    """A colour on a light and on a dark ground."""

    light: str
    dark: str


# Of Okabe and Ito's set for colour blindness, with enough contrast on their ground.  What has a
# colour also has a form of its own: dashes, triangles, words.
COLORS = {
    "main": Shade("#0072b2", "#56b4e9"),  # after correction, and what is the only one
    "other": Shade("#a64d85", "#e39cc8"),  # before correction, and the second of two
    "flag": Shade("#b04300", "#f5935a"),
}
AFTER_COLOR, BEFORE_COLOR = COLORS["main"].light, COLORS["other"].light
# For several curves of one kind, in this order, on a light ground: also of that set.
SERIES_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
# From the first to the last frame: viridis.
FRAME_COLORS = (
    "#440154", "#472d7b", "#3b528b", "#2c728e", "#21918c", "#28ae80", "#5ec962", "#addc30",
    "#fde725",
)  # fmt: skip


def style_variables() -> str:
    """The colours as variables of a style sheet, for both themes.

    Examples
    --------
    >>> style_variables().split("}")[0]
    ':root {--main: #0072b2; --other: #a64d85; --flag: #b04300;'
    """
    themes = {":root": "light", ":root.dark": "dark"}
    return "\n".join(
        f"{selector} {{"
        + " ".join(f"--{name}: {getattr(shade, theme)};" for name, shade in COLORS.items())
        + "}"
        for selector, theme in themes.items()
    )


def frame_colormap() -> Any:
    """`FRAME_COLORS` for matplotlib."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("frames", FRAME_COLORS)


def draw_downward(axes: Any) -> None:
    """Let y of matplotlib's axes increase downward."""
    if not axes.yaxis_inverted():
        axes.invert_yaxis()
