"""The grids in Warp's XML: values at nodes, and natural cubic splines between them.

The nodes of an axis are spaced evenly from its margin to one minus its margin; beyond them the
first and last polynomials extrapolate.

References
----------
https://github.com/warpem/warp, WarpLib/CubicGrid.cs; the splines are those of einspline.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from flexalign.io.motion_formats.numbers_in_files import shifts, whole_number
from flexalign.model import FloatArray

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

MAX_NODES_ALONG_AN_AXIS = 100_000


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """One grid.

    Attributes
    ----------
    values : (z, y, x) at the nodes; z is time
    margins : (z, y, x) before the first and behind the last node, as fractions of the axis
    """

    values: FloatArray
    margins: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @property
    def is_uniform(self) -> bool:
        """Whether it is constant over the field."""
        return self.values.shape[1:] == (1, 1)

    def on_lattice(self, z: FloatArray, y: FloatArray, x: FloatArray) -> FloatArray:
        """The values (z, y, x) on a lattice of places in [0, 1]; axes of one node keep length 1."""
        from scipy.interpolate import CubicSpline  # takes a tenth of a second to load

        values = self.values
        for axis, (places, margin) in enumerate(zip((z, y, x), self.margins, strict=True)):
            count = values.shape[axis]
            if count > 1:
                nodes = np.linspace(margin, 1 - margin, count)
                values = CubicSpline(nodes, values, axis=axis, bc_type="natural")(places)
        return np.asarray(values)


def grids_of(root: Element, name: str) -> list[Grid]:
    """All grids of this name that are direct children of `root`.

    Raises
    ------
    ValueError
        If one has not one value at each of its nodes.
    """
    return [_grid(element) for element in root.findall(name)]


def add_grid(root: Element, name: str, values: FloatArray) -> None:
    """Add a grid (z, y, x) without margins to `root`."""
    from xml.etree.ElementTree import SubElement

    depth, height, width = values.shape
    sizes = {"Width": str(width), "Height": str(height), "Depth": str(depth)}
    margins = {f"Margin{axis}": "0" for axis in "XYZ"}
    grid = SubElement(root, name, {**sizes, **margins})
    for (z, y, x), value in np.ndenumerate(values + 0.0):
        place = {"X": str(x), "Y": str(y), "Z": str(z)}
        SubElement(grid, "Node", {**place, "Value": f"{value:.9g}"})


def _grid(element: Element) -> Grid:
    """The grid in one element."""
    depth, height, width = (
        whole_number(element.get(side, "1"), side, 1, MAX_NODES_ALONG_AN_AXIS)
        for side in ("Depth", "Height", "Width")
    )
    nodes = element.findall("Node")
    if len(nodes) != depth * height * width:
        raise ValueError(
            f"expected {width} x {height} x {depth} nodes of {element.tag}, found {len(nodes)}"
        )
    values = np.full((depth, height, width), np.nan)
    for node in nodes:
        place = tuple(
            whole_number(node.get(axis, ""), f"{axis} of a node of {element.tag}", 0, count - 1)
            for axis, count in zip("ZYX", values.shape, strict=True)
        )
        values[place] = float(node.get("Value", ""))
    z, y, x = (float(element.get(f"Margin{axis}", "0")) for axis in "ZYX")
    margins = (z, y, x)
    if not all(0 <= margin < 0.5 for margin in margins):
        raise ValueError(f"expected margins of {element.tag} from 0 to 0.5, found {margins}")
    # A duplicate node means that another one has no value.
    return Grid(shifts(values, f"a value at each node of {element.tag}"), margins)
