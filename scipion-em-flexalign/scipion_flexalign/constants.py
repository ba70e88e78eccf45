"""Names that several modules share."""

VERSION = "0.1.0"

FLEXALIGN_HOME = "FLEXALIGN_HOME"
FLEXALIGN_ACTIVATION_CMD = "FLEXALIGN_ACTIVATION_CMD"
FLEXALIGN_PACKAGE = "FLEXALIGN_PACKAGE"
PROGRAM = "flexalign"

# Choices of the form, in their order there.
GAIN_ANGLES = (0, 90, 180, 270)
GAIN_FLIPS = ("none", "upside-down", "left-right")
GAIN_SENSES = ("auto", "multiply", "divide")
GAIN_CHECKS = ("on", "auto", "off")

MIN_CONTROL_POINTS = 3
EER_SUFFIX = ".eer"
