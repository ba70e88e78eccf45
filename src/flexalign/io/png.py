"""Figures of matplotlib as PNG files, and the style that they share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from flexalign.atomic import replacing

DPI = 120
# PNG compression level, of 9: higher ones are much slower and hardly smaller.
_COMPRESS_LEVEL = 3


def load_drawing() -> None:
    """Import matplotlib, which takes a third of a second."""
    import matplotlib.backends.backend_agg
    import matplotlib.figure  # noqa: F401


def save_png(figure: Any, target: str | Path | BinaryIO) -> None:
    """Write a figure as PNG, atomically."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure.set_dpi(DPI)
    with _opened(target) as file:
        # `savefig` would draw everything twice, first to find the size.
        canvas: Any = FigureCanvasAgg(figure)
        canvas.print_png(file, pil_kwargs={"compress_level": _COMPRESS_LEVEL})


@contextmanager
def _opened(target: str | Path | BinaryIO) -> Iterator[BinaryIO]:
    """A file to write to: `target` itself, or a temporary file renamed at the end."""
    if not isinstance(target, str | Path):
        yield target
        return
    with replacing(target) as temporary, temporary.open("wb") as file:
        yield file
