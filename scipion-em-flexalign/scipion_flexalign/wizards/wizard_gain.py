"""The wand beside the orientation of the gain: eight pictures, of which one looks flat."""

import tkinter as tk

from PIL import Image as PillowImage
from PIL import ImageTk
from pyworkflow.gui import dialog
from pyworkflow.wizard import Wizard

from .. import engine, protocols
from ..constants import EER_SUFFIX
from .gain_pictures import (
    ORIENTATIONS,
    corrected,
    mean_without_gain,
    oriented,
    read_gain,
    spread,
    thumbnail,
)

SIDE = 200
TITLE = "Orientation of the gain reference"
NAMES = ("no rotation", "90 degrees", "180 degrees", "270 degrees")


class FlexAlignGainWizard(Wizard):
    """Sets rotation and flip of the gain to what is chosen by eye."""

    _targets = [(getattr(protocols, name), ["gainRot", "gainFlip"]) for name in protocols.__all__]

    def show(self, form, *params):
        protocol = form.protocol
        movies = protocol._getInputMovies()
        if movies is None or not movies.getGain():
            dialog.showWarning(TITLE, "Choose movies with a gain reference first.", form.root)
            return
        movie = protocol._getFirstMovie()
        name = movie.getFileName()
        try:
            mean = mean_without_gain(
                name, movie.getSamplingRate(), protocol.nFrames.get(), movie.getNumberOfFrames()
            )
            gain = read_gain(movies.getGain(), name)
        except (engine.EngineError, OSError, ValueError) as error:
            dialog.showError(TITLE, str(error), form.root)
            return
        divides = protocol.gainSense.get() == 2 or (
            protocol.gainSense.get() == 0
            and name.lower().endswith(EER_SUFFIX)
            and not movies.getGain().lower().endswith(".gain")
        )
        chosen = GainDialog(
            form.root, mean, gain, divides, (protocol.gainRot.get(), protocol.gainFlip.get())
        )
        if chosen.resultYes():
            rotation, flip = chosen.orientation
            form.setVar("gainRot", rotation)
            form.setVar("gainFlip", flip)


class GainDialog(dialog.Dialog):
    """Eight pictures of the corrected mean; a click chooses one."""

    def __init__(self, parent, mean, gain, divides, orientation):
        self.mean, self.gain, self.divides = mean, gain, divides
        self.orientation = orientation if orientation in ORIENTATIONS else ORIENTATIONS[0]
        self.pictures, self.frames = [], {}
        dialog.Dialog.__init__(self, parent, TITLE)

    def body(self, bodyFrame):
        bodyFrame.config(bg="white")
        words = (
            "The mean of the first movie with the gain in each orientation. Where the gain "
            "fits, its structure is gone and the spread is smallest. Click that one."
        )
        tk.Label(bodyFrame, text=words, bg="white").grid(row=0, column=0, columnspan=4, pady=6)
        for orientation in ORIENTATIONS:
            self._addPicture(bodyFrame, orientation)
        self._mark()

    def _addPicture(self, bodyFrame, orientation):
        rotation, flip = orientation
        frame = tk.Frame(bodyFrame, highlightthickness=4, bg="white")
        frame.grid(row=1 + flip, column=rotation, padx=4, pady=4)
        image = corrected(self.mean, oriented(self.gain, rotation, flip), self.divides)
        name = NAMES[rotation] + (", upside down" if flip else "")
        if image is None:
            widget = tk.Label(frame, text="does not fit", width=22, height=10, bg="light grey")
        else:
            picture = ImageTk.PhotoImage(PillowImage.fromarray(thumbnail(image, SIDE)), master=self)
            self.pictures.append(picture)  # Tk does not keep them alive
            widget = tk.Label(frame, image=picture)
            name += ": %.2f %%" % (100 * spread(image))
            widget.bind("<Button-1>", lambda event: self._choose(orientation))
        widget.pack()
        tk.Label(frame, text=name, bg="white").pack()
        self.frames[orientation] = frame

    def _choose(self, orientation):
        self.orientation = orientation
        self._mark()

    def _mark(self):
        for orientation, frame in self.frames.items():
            color = "#b5121b" if orientation == self.orientation else "white"
            frame.config(highlightbackground=color, highlightcolor=color)
