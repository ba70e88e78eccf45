"""Names of what can be simulated: motions, specimens, objects, faults and file formats."""

from __future__ import annotations

MOTIONS = ("bumps", "polynomial", "measured", "fast-start", "jump", "none")
SPECIMENS = ("protein", "negative-stain", "crystal", "filaments")
OBJECTS = (
    "gold-foil", "gold-beads", "ice-crystals", "carbon", "still-carbon", "contaminant", "shadow",
    "beam-edge",
)  # fmt: skip
FAULTS = ("stuck-blocks", "bad-lines", "dead-quadrant", "duplicate-frame")
FORMATS = ("mrc", "tiff", "eer")
