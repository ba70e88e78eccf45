"""The table of all parameters of an alignment: name, unit, default, limits and help.

The command line, the saved settings, the reference page, the JSON schema and the checks all come
from the fields of `AlignParams`.  ``None`` means automatic; the plan records the choice.  Frames
are counted from 1, and 0 means the last one.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import re
import typing
from dataclasses import dataclass
from typing import Any, Self

from flexalign.errors import ParameterError
from flexalign.machine import core_count
from flexalign.parameter import WRITTEN_FORMATS as WRITTEN_FORMATS
from flexalign.parameter import Parameter as Parameter
from flexalign.parameter import check_limits, coerced, parameter, shortened
from flexalign.parameter import formats_in as formats_in
from flexalign.parameter import option_name as option_name
from flexalign.parameter import quoted as quoted

MICROSCOPE = "Microscope and dose"
REFERENCES = "Detector references"
EER = "EER movies"
RANGES = "Frames"
ESTIMATION = "Global alignment"
LOCAL = "Local alignment"
OUTPUT = "Outputs"
RUNNING = "Running"

# Parameters that name a file which is read beside the movie.
REFERENCE_FILES = ("gain", "dark", "defects", "eer_groups")
# No movie has more frames.
MAX_FRAMES = 1_000_000


@dataclass(frozen=True, slots=True)
class AlignParams:
    """All parameters of an alignment; every field has its help in `parameters()`.

    Raises
    ------
    ParameterError
        When made with a value outside its limits, or values that contradict each other.

    Examples
    --------
    >>> AlignParams(pixel_size_A=0.83, binning=2).binning
    2.0
    """

    pixel_size_A: float | None = parameter(
        None,
            "Pixel size of the movie as stored (EER: of the detector's own grid). Needed if the "
            "header does not have it.",
        MICROSCOPE, unit="A", minimum=0.05, maximum=1000,
    )  # fmt: skip
    voltage_kV: float = parameter(
        300.0, "Acceleration voltage, for the radiation damage.",
        MICROSCOPE, unit="kV", minimum=60, maximum=1000,
    )  # fmt: skip
    dose_per_frame_e_A2: float | tuple[float, ...] | None = parameter(
        None,
            "Dose per frame (EER: per fraction); needed for the dose-weighted micrograph. If "
            "frames differ, a comma-separated list, or a file: one number per line, or "
            "MotionCor's three columns (frames, how many are summed, dose of each).",
        MICROSCOPE, unit="e/A2", minimum=1e-4, maximum=1000,
    )  # fmt: skip
    pre_exposure_e_A2: float = parameter(
        0.0, "Dose before the first frame.",
        MICROSCOPE, unit="e/A2", minimum=0, maximum=10_000,
    )  # fmt: skip
    dose_check: str = parameter(
        "on",
            "What to do if the first movies show that the pixel size or the dose cannot be right: "
            "'on' stops before anything is aligned, 'off' does not check. These cannot be right: a "
            "pixel size below 0.12 or above 9 A, more than 300 e/A2 in a movie unless the counts "
            "confirm it, counts of less than 1/30 of the dose in each of the first three movies, "
            "and more than four times as many EER events as electrons.",
        MICROSCOPE, choices=("on", "off"),
    )  # fmt: skip

    gain: str | None = parameter(
        None, "Gain reference (MRC, TIFF, .gain, DM4).", REFERENCES, metavar="FILE"
    )
    gain_rotate: int = parameter(
        0, "Rotate the gain reference counter-clockwise by this angle, before any flip.",
        REFERENCES, unit="degrees", choices=("0", "90", "180", "270"), scipion="gainRot",
    )  # fmt: skip
    gain_flip: str = parameter(
        "none", "Flip the gain reference, after the rotation.",
        REFERENCES, choices=("none", "upside-down", "left-right"), scipion="gainFlip",
    )  # fmt: skip
    gain_sense: str = parameter(
        "auto", "Whether the gain multiplies the frames or divides them. Auto: it multiplies, "
        "except that an MRC or TIFF for EER movies divides.",
        REFERENCES, choices=("auto", "multiply", "divide"),
    )  # fmt: skip
    gain_check: str = parameter(
        "on",
            "What to do if the first movies show that the gain reference has another orientation "
            "or does not fit at all: 'on' stops before anything is aligned and prints the "
            "orientation, 'auto' continues with the orientation found, 'off' does not check. "
            "Movies with too few counts for a verdict do not stop the run.",
        REFERENCES, choices=("on", "off", "auto"),
    )  # fmt: skip
    dark: str | None = parameter(
        None, "Dark reference, subtracted before the gain; oriented as the gain is.",
        REFERENCES, metavar="FILE",
    )  # fmt: skip
    defects: str | None = parameter(
        None, "Bad pixels: an image (MRC, TIFF; non-zero = bad) or a text file with lines "
        "'x y width height'.",
        REFERENCES, metavar="FILE",
    )  # fmt: skip
    hot_pixels: bool = parameter(
        True, "Find hot and dead pixels in the movie itself and replace them.", REFERENCES
    )
    tiff_rows: str = parameter(
        "imod", "Order of the rows of TIFF movies and references: 'imod' puts the last row of the "
        "file first, as IMOD, RELION and MotionCor do; 'file' keeps the file's order.",
        REFERENCES, choices=("imod", "file"),
    )  # fmt: skip

    eer_fractions: int = parameter(
        40, "Number of frames (fractions) of an EER movie.",
        EER, minimum=1, maximum=100_000, scipion="nFrames",
    )  # fmt: skip
    eer_dose_per_frame_e_A2: float | None = parameter(
        None, "Make EER frames of about this dose instead of a given number; needs the total dose "
        "in --eer-total-dose.",
        EER, unit="e/A2", minimum=1e-4, maximum=1000,
    )  # fmt: skip
    eer_total_dose_e_A2: float | None = parameter(
        None, "Dose of the whole EER movie.", EER, unit="e/A2", minimum=1e-3, maximum=10_000
    )
    eer_groups: str | None = parameter(
        None, "Text file with three columns: raw frames, raw frames per frame, dose per raw frame "
        "in e/A2, as MotionCor's -FmIntFile. It gives the number of raw frames in each EER frame, "
        "instead of a number of frames.",
        EER, metavar="FILE",
    )  # fmt: skip
    eer_upsampling: int = parameter(
        1, "Render EER events on the detector's grid (1) or on one twice as fine (2).",
        EER, choices=("1", "2"),
    )  # fmt: skip

    align_first: int = parameter(
        1, "First frame to estimate the motion from.",
        RANGES, minimum=1, maximum=MAX_FRAMES, scipion="alignFrame0",
    )  # fmt: skip
    align_last: int = parameter(
        0, "Last frame to estimate the motion from; 0 = last of the movie.",
        RANGES, minimum=0, maximum=MAX_FRAMES, scipion="alignFrameN",
    )  # fmt: skip
    sum_first: int | None = parameter(
        None, "First frame to sum; default: as for the alignment.",
        RANGES, minimum=1, maximum=MAX_FRAMES, scipion=("useAlignToSum", "sumFrame0"),
    )  # fmt: skip
    sum_last: int | None = parameter(
        None, "Last frame to sum; 0 = last of the movie; default: as for the alignment.",
        RANGES, minimum=0, maximum=MAX_FRAMES, scipion=("useAlignToSum", "sumFrameN"),
    )  # fmt: skip

    max_resolution_A: float = parameter(
        30.0,
            "Resolution limit of the correlation of pairs of frames, at which the filter is one "
            "half. The refinement determines its own limit.",
        ESTIMATION, unit="A", minimum=0.1, maximum=1000, scipion="maxResForCorrelation",
    )  # fmt: skip
    max_shift_A: float = parameter(
        50.0,
            "Maximum displacement between consecutive frames; frames n apart may differ by n "
            "times that.",
        ESTIMATION, unit="A", minimum=0.01, maximum=100_000, scipion="maxShift",
    )  # fmt: skip
    reference_frame: str = parameter(
        "auto", "Frame whose displacement is zero: 'first', 'middle', a number counted from 1, or "
        "'auto' for the one nearest to all others.",
        ESTIMATION, metavar="FRAME",
    )  # fmt: skip
    refine: bool = parameter(
        True,
            "Refine the motion by likelihood at all resolutions with signal; otherwise the motion "
            "from pair correlations is final.",
        ESTIMATION,
    )  # fmt: skip

    local: bool = parameter(
        True, "Estimate local motion, which differs over the field.", LOCAL,
        scipion="doLocalAlignment",
    )  # fmt: skip
    control_points: tuple[int, int, int] | None = parameter(
        None, "Number of control points of the motion field in x, y and time; at least 3 each.",
        LOCAL, minimum=3, maximum=100, metavar="X Y T",
        scipion=("autoControlPoints", "controlPointX", "controlPointY", "controlPointT"),
    )  # fmt: skip
    patches: tuple[int, int] | None = parameter(
        None, "Number of patches in x and y.",
        LOCAL, minimum=1, maximum=1000, metavar="X Y",
        scipion=("autoPatches", "patchesX", "patchesY"),
    )  # fmt: skip
    min_patch_A: float = parameter(
        500.0, "Minimum side of a patch, when their number is chosen automatically.",
        LOCAL, unit="A", minimum=1, maximum=100_000, scipion="minLocalRes",
    )  # fmt: skip
    group_frames: int = parameter(
        3, "Sum this many consecutive frames, along the global trajectory, to measure a patch.",
        LOCAL, minimum=1, maximum=1000, scipion="groupNFrames",
    )  # fmt: skip

    binning: float = parameter(
        1.0, "Bin the outputs by this factor (any number from 1 on, by Fourier cropping).",
        OUTPUT, minimum=1, maximum=100, scipion="binFactor",
    )  # fmt: skip
    dose_weight: bool = parameter(
        True, "Also make the dose-weighted micrograph, if the dose per frame is known.", OUTPUT
    )
    odd_even: bool = parameter(
        False, "Also write the sums of the odd and of the even frames.", OUTPUT
    )
    save_movie: bool = parameter(
        False, "Write the aligned movie too.", OUTPUT, scipion="doSaveMovie"
    )
    save_unaligned: bool = parameter(False, "Also write the unaligned micrograph.", OUTPUT)
    psd: bool = parameter(
        True, "Compute power spectra before and after alignment.", OUTPUT, scipion="doComputePSD"
    )
    float16: bool = parameter(
        False, "Write images as 16-bit floats (MRC mode 12), half the size.", OUTPUT
    )

    write: str = parameter(
        "",
            "Also write the alignment for other programs: a comma-separated list of relion, "
            "motioncor and warp. For RELION the reference frame is the first one.",
        OUTPUT, metavar="FORMATS",
    )  # fmt: skip

    device: str = parameter(
        "auto", "Where to compute: 'cpu', 'cuda' (the first GPU), 'cuda:1' (GPU number 1, counted "
        "from 0), 'cuda:0-3' or 'cuda:0,2' (these GPUs share the movies of a run), or 'auto': the "
        "first usable GPU where it is expected to be faster, else the CPU.",
        RUNNING, metavar="DEVICE",
    )  # fmt: skip
    threads: int | None = parameter(
        None, "Number of threads; default: all that the process may use.",
        RUNNING, minimum=1, maximum=4096,
    )  # fmt: skip
    max_memory_GB: float | None = parameter(
        None, "Maximum memory: to stay below it, frames are summed before their motion is "
        "estimated; a movie that still needs more is refused before it is read. Default: no limit.",
        RUNNING, unit="GB", minimum=0.1, maximum=1_000_000,
    )  # fmt: skip

    def __post_init__(self) -> None:
        hints = _type_hints()
        for item in dataclasses.fields(self):
            value = coerced(item.name, hints[item.name], getattr(self, item.name))
            object.__setattr__(self, item.name, value)
            check_limits(item.name, value, item.metadata["parameter"])
        named = self.reference_frame in ("auto", "first", "middle")
        if not named and not re.fullmatch(r"0*[1-9][0-9]{0,6}", self.reference_frame):
            raise ParameterError(
                f"{quoted('reference_frame')}: expected auto, first, middle or a frame "
                f"number from 1 on, found '{shortened(self.reference_frame)}'"
            )
        if not re.fullmatch(r"auto|cpu|cuda(:[0-9]{1,4}([-, ]+[0-9]{1,4})*)?", self.device):
            raise ParameterError(
                f"{quoted('device')}: expected auto, cpu, cuda or such as cuda:1 or cuda:0-3, "
                f"found '{shortened(self.device)}'"
            )
        if self.eer_dose_per_frame_e_A2 is not None and self.eer_total_dose_e_A2 is None:
            raise ParameterError(
                f"{quoted('eer_dose_per_frame_e_A2')} needs the dose of the whole movie: "
                f"give {quoted('eer_total_dose_e_A2')} too"
            )
        if self.eer_groups is not None and self.eer_dose_per_frame_e_A2 is not None:
            raise ParameterError(
                f"{quoted('eer_groups')} and {quoted('eer_dose_per_frame_e_A2')} both "
                f"determine the number of raw frames per frame: give one of them"
            )
        self._check_relion()

    @property
    def formats(self) -> tuple[str, ...]:
        """Requested formats of other programs."""
        return formats_in(self.write, quoted("write"))

    def _check_relion(self) -> None:
        """Raise `ParameterError` if RELION is among the requested formats and cannot be."""
        if "relion" not in self.formats:
            return
        if self.reference_frame == "auto":
            object.__setattr__(self, "reference_frame", "first")
        if self.reference_frame != "first":
            raise ParameterError(
                f"{quoted('reference_frame')}: RELION counts motion from the first frame; "
                f"expected 'first', found '{self.reference_frame}'"
            )
        if self.tiff_rows != "imod":
            raise ParameterError(
                f"{quoted('tiff_rows')}: RELION reverses the rows of TIFF movies; "
                f"expected 'imod', found '{self.tiff_rows}'"
            )

    @property
    def thread_count(self) -> int:
        """Number of threads: as requested, else as many as the process may use."""
        return self.threads or core_count()

    def to_dict(self) -> dict[str, Any]:
        """All parameters with the defaults filled in, as JSON can hold them."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in ((f.name, getattr(self, f.name)) for f in dataclasses.fields(self))
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Parameters from names and values; others keep their defaults.

        Raises
        ------
        ParameterError
            For an unknown name, a value of the wrong type or outside its limits.
        """
        known = {f.name: f for f in dataclasses.fields(cls)}
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise ParameterError(
                f"unknown parameter {shortened(', '.join(unknown))}; "
                f"expected some of {', '.join(known)}"
            )
        return cls(**values)

    def hash(self) -> str:
        """Hexadecimal digest of all parameters that change the result; which GPU does not."""
        values = self.to_dict()
        values["device"] = self.device.partition(":")[0]
        for name in ("threads", "gain_check", "dose_check"):
            del values[name]
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def given_params(params: AlignParams | None) -> AlignParams:
    """The parameters of a call; the defaults where there are none.

    Raises
    ------
    ParameterError
        If they are of another type.
    """
    if params is None:
        return AlignParams()
    if not isinstance(params, AlignParams):
        raise ParameterError(f"`params`: expected AlignParams, found {type(params).__name__}")
    return params


@functools.cache
def _type_hints() -> dict[str, Any]:
    """The type of each parameter, by name."""
    return typing.get_type_hints(AlignParams)


def parameters() -> dict[str, Parameter]:
    """The metadata of each parameter, by name, in the order of the form."""
    return {f.name: f.metadata["parameter"] for f in dataclasses.fields(AlignParams)}
