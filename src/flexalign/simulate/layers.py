"""Layers that the beam passes, each with its own motion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flexalign.arrays import fourier
from flexalign.model import PixelArray
from flexalign.simulate.micrograph import micrograph_contrast
from flexalign.simulate.motions import TrueMotion, make_motion, make_other_motion, still_motion
from flexalign.simulate.objects import DRAWN, draw_object
from flexalign.simulate.settings import SimulationSettings
from flexalign.simulate.specimen import frequency_per_A, specimen_spectrum
from flexalign.simulated_choices import SPECIMENS

_MOTIONS = {"specimen": make_motion, "itself": make_other_motion, "detector": still_motion}


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """One layer in the beam.

    Attributes
    ----------
    spectrum : half plane (h, w // 2 + 1) of its relative intensity change, on the canvas
    moves_with : "specimen", "itself" or "detector"
    is_damaged : whether radiation damage reduces its detail
    """

    spectrum: fourier.SpectrumArray
    moves_with: str
    is_damaged: bool


def make_motions(settings: SimulationSettings) -> dict[str, TrueMotion]:
    """The motions of the layers, by what they move with; the specimen's comes first."""
    moving_objects = ["specimen", *(DRAWN[name][1] for name in settings.objects)]
    return {moving_object: _MOTIONS[moving_object](settings) for moving_object in moving_objects}


def make_layers(
    settings: SimulationSettings, canvas_px: tuple[int, int], threads: int = 1
) -> list[Layer]:
    """The specimen and other objects in the field; all periodic on the canvas."""
    layers = [specimen_layer(settings, canvas_px, threads)]
    for name in settings.objects:
        image = draw_object(name, settings, canvas_px)
        layers.append(Layer(fourier.rfft2(image, threads), DRAWN[name][1], is_damaged=False))
    return layers


def specimen_layer(
    settings: SimulationSettings,
    canvas_px: tuple[int, int],
    threads: int = 1,
    atoms_per_px: PixelArray | None = None,
) -> Layer:
    """The layer with the true motion.  Stain is not damaged; protein and ice are.

    Parameters
    ----------
    atoms_per_px : (h, w) projected density of atoms; None = as the settings say
    """
    if settings.specimen in SPECIMENS:
        spectrum = specimen_spectrum(settings, canvas_px, threads, atoms_per_px)
    else:
        image = micrograph_contrast(settings.specimen, canvas_px, threads)
        spectrum = fourier.rfft2(image, threads)
        spectrum[0, 0] = 0
    if settings.finest_signal_A > 0:
        frequency = frequency_per_A(canvas_px, settings.pixel_size_A)
        spectrum *= np.exp(-((settings.finest_signal_A * frequency) ** 8))
    return Layer(spectrum, "specimen", is_damaged=settings.specimen != "negative-stain")
