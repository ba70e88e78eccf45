"""Pictures that the engine has drawn, in windows of Scipion."""

import matplotlib.image
from pyworkflow.gui.plotter import Plotter


def show_picture(path, title, size):
    """A window of `size` (inches) that a picture fills."""
    plotter = Plotter(windowTitle=title, figsize=size)
    plotter.tightLayoutOn = False
    axes = plotter.getFigure().add_axes([0, 0, 1, 1])
    axes.imshow(
        matplotlib.image.imread(path), cmap="gray"
    )  # the map is for pictures without colour
    axes.set_axis_off()
    return plotter
