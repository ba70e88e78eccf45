"""The form: what FlexAlign has in Scipion, under the same names, and what is ours."""

import pyworkflow.protocol.constants as cons
import pyworkflow.protocol.params as params

# Evaluated by Scipion's form, with the values of the protocol as names.
IS_EER = (
    "inputMovies is not None and len(inputMovies) > 0 and "
    'next(iter(inputMovies.getFiles())).endswith(".eer")'
)
IS_EER_SERIES = (
    "inputTiltSeriesM is not None and len(inputTiltSeriesM) > 0 and "
    'inputTiltSeriesM.getFirstItem().getFirstItem().getFileName().endswith(".eer")'
)
HIDDEN_LINES = ("Crop_offsets__px_", "Crop_dimensions__px_")
BIN_THREADS = 4


def define_frames(form, is_eer=IS_EER, eer_dose=0.0):
    """What is summed from which frames; the base class has put the ranges already.

    `eer_dose` is the default dose of a frame that is made of an EER movie.
    """
    form.addParam(
        "nFrames", params.IntParam, default=40, label="Number of EER frames", condition=is_eer,
        validators=[params.GT(0, "Number of EER frames must be a positive integer (> 0).")],
        help="The raw frames of an EER movie are summed to this many frames, which are what is "
             "aligned. More frames follow quick motion better, fewer have more signal each. "
             "Frame ranges above count these frames. The dose per frame of the set is taken as "
             "that of a raw frame, as the set counts raw frames.",
    )  # fmt: skip
    form.addParam(
        "eerDose", params.FloatParam, default=eer_dose, label="Or dose of an EER frame (e/A2)",
        condition=is_eer,
        help="Make frames of about this dose instead of a given number of them, each of equally "
             "many raw frames; 0 = the number above. It needs the dose of the movies in the set.",
    )  # fmt: skip
    # The fields stay, with their default of "no cropping", as in FlexAlign.
    for line in HIDDEN_LINES:
        form._paramsDict["Alignment"]._paramList.remove(line)


def define_local(form):
    """Motion that differs from place to place."""
    group = form.addGroup("Local alignment")
    group.addParam(
        "doLocalAlignment", params.BooleanParam, default=True, label="Compute local alignment?",
        help="Let different places of the frame move differently. It is kept only where the movie "
             "supports it. Works on CPU and GPU.",
    )  # fmt: skip
    group.addParam(
        "autoControlPoints", params.BooleanParam, default=True, label="Auto control points",
        expertLevel=cons.LEVEL_ADVANCED, condition="doLocalAlignment",
        help="Choose the number of control points for each movie, from its size and frames.",
    )  # fmt: skip
    line = group.addLine(
        "Number of control points", expertLevel=cons.LEVEL_ADVANCED,
        condition="not autoControlPoints",
        help="Control points of the spline that describes the local motion, ends included; at "
             "least 3 in each dimension.",
    )  # fmt: skip
    line.addParam("controlPointX", params.IntParam, default=6, label="X")
    line.addParam("controlPointY", params.IntParam, default=6, label="Y")
    line.addParam("controlPointT", params.IntParam, default=5, label="t")
    group.addParam(
        "autoPatches", params.BooleanParam, default=True, label="Auto patches",
        expertLevel=cons.LEVEL_ADVANCED, condition="doLocalAlignment",
        help="Cut the frame into as many patches as are not smaller than asked for below.",
    )  # fmt: skip
    line = group.addLine(
        "Number of patches", expertLevel=cons.LEVEL_ADVANCED, condition="not autoPatches",
        help="Number of patches in which the local motion is measured.",
    )  # fmt: skip
    line.addParam("patchesX", params.IntParam, default=7, label="X")
    line.addParam("patchesY", params.IntParam, default=7, label="Y")
    group.addParam(
        "minLocalRes", params.FloatParam, default=500, label="Min size of the patch (A)",
        expertLevel=cons.LEVEL_ADVANCED,
        help="Smallest side of a patch when their number is chosen automatically, in Angstrom.",
    )  # fmt: skip
    group.addParam(
        "groupNFrames", params.IntParam, default=3, label="Group N frames",
        expertLevel=cons.LEVEL_ADVANCED, condition="doLocalAlignment",
        help="Sum this many consecutive frames, along the global motion, to measure a patch.",
    )  # fmt: skip


def define_estimation(form, is_series=False):
    """How the motion is looked for, and what is made of the frames."""
    form.addParam(
        "maxResForCorrelation", params.FloatParam, default=30, label="Maximum resolution (A)",
        help="Finest detail used when frames are correlated pair by pair, in Angstrom. The "
             "refinement that follows finds its own limit.",
    )  # fmt: skip
    if not is_series:
        form.addParam(
            "doComputePSD", params.BooleanParam, default=True, label="Compute PSD?",
            help="Compute power spectra before and after the alignment, for each movie.",
        )  # fmt: skip
    form.addParam(
        "maxShift", params.IntParam, default=50, label="Maximum shift (A)",
        expertLevel=cons.LEVEL_ADVANCED,
        help="Largest displacement from one frame to the next, in Angstrom.",
    )  # fmt: skip
    form.addParam(
        "doRefine", params.BooleanParam, default=True, label="Refine by likelihood?",
        expertLevel=cons.LEVEL_ADVANCED,
        help="Refine the motion with all the signal there is. Without, the correlation of pairs "
             "of frames has the last word.",
    )  # fmt: skip
    form.addParam(
        "doDoseWeight", params.BooleanParam, default=True, label="Apply dose weighting?",
        help="Make dose-weighted micrographs too, with the dose per frame, the initial dose and "
             "the voltage of the set of movies. Without a dose in the set there are none."
        if not is_series else
             "Make dose-weighted tilt series too, with the dose of each tilt, of all tilts before "
             "it, and the voltage of the set. Without a dose in the set there are none.",
    )  # fmt: skip


def define_series(form):
    """Additional parameters of tilt series."""
    form.addParam(
        "useSharedPrior", params.BooleanParam, default=True, label="Prior from the other tilts?",
        help="Measure all tilts of a series first, and align each with a prior of motion "
             "and signal from the others. Each movie is read two more times. No: each tilt alone.",
    )  # fmt: skip
    form.addParam(
        "saveTilts", params.BooleanParam, default=False, label="Keep files of single tilts?",
        expertLevel=cons.LEVEL_ADVANCED,
        help="Keep the image of each tilt, its motion and its own report in the folder of its "
             "series, in *tilts*.",
    )  # fmt: skip


def define_references(form):
    """Gain, dark and defects of the detector."""
    form.addSection(label="Gain orientation")
    form.addParam(
        "gainRot", params.EnumParam, default=0, label="Rotate gain reference:",
        choices=["no rotation", "90 degrees", "180 degrees", "270 degrees"],
        display=params.EnumParam.DISPLAY_COMBO,
        help="Rotate the gain reference counter-clockwise, before any flip. The wizard shows what "
             "fits.",
    )  # fmt: skip
    form.addParam(
        "gainFlip", params.EnumParam, default=0, label="Flip gain reference:",
        choices=["no flip", "upside down", "left right"],
        display=params.EnumParam.DISPLAY_COMBO,
        help="Flip the gain reference, after the rotation. The rows of TIFF files run the other "
             "way than those of MRC files; this is put right automatically.",
    )  # fmt: skip
    form.addParam(
        "gainSense", params.EnumParam, default=0, label="Gain reference is used to",
        choices=["decide by its format", "multiply", "divide"],
        display=params.EnumParam.DISPLAY_COMBO, expertLevel=cons.LEVEL_ADVANCED,
        help="Whether frames are multiplied by the gain reference or divided by it. By format: "
             "they are multiplied, except that an MRC or TIFF for EER movies divides.",
    )  # fmt: skip
    form.addParam(
        "gainCheck", params.EnumParam, default=0, label="If the gain reference does not fit",
        choices=["let movies fail, with what would fit", "take what fits", "do not check"],
        display=params.EnumParam.DISPLAY_COMBO, expertLevel=cons.LEVEL_ADVANCED,
        help="The first movies show whether the gain reference lies on them as given. Movies that "
             "are too weak to tell are aligned in any case.",
    )  # fmt: skip
    form.addParam(
        "doseCheck", params.BooleanParam, default=False,
        label="Check pixel size and dose?", expertLevel=cons.LEVEL_ADVANCED,
        help="A movie fails, before it is aligned, if the pixel size or the dose of the import "
             "cannot be right: a pixel below 0.12 or above 9 A, more than 300 e/A2 in the movie "
             "unless the counts confirm it, more than four times as many EER events as "
             "electrons.",
    )  # fmt: skip
    form.addParam(
        "defectsFile", params.FileParam, default="", label="Defects",
        expertLevel=cons.LEVEL_ADVANCED, allowsNull=True,
        help="Bad pixels: an image (MRC, TIFF; not zero = bad) or a text with lines "
             "'x y width height'. Hot and dead pixels are also found in each movie.",
    )  # fmt: skip


def define_running(form):
    """Threads and GPUs."""
    form.addParallelSection(
        threads=1, mpi=1, binThreads=BIN_THREADS,
        binThreadsHelp="Threads of the program for one movie. With T Scipion threads, T - 1 "
                       "movies are worked on at a time (one, when T is 1), each with so many.",
    )  # fmt: skip
    _define_gpu(form, "A movie is worked on by one GPU; for n GPUs at a time, give n + 1 Scipion "
                "threads.")  # fmt: skip


def define_series_running(form):
    """Threads and GPUs; the base class has made the section already."""
    form.lastSection = form.getParallelSection(updateSection=False)
    form.getParam("numberOfThreads").setDefault(1)
    form.addParam(
        params.BIN_THREADS_PARAM, params.IntParam, default=BIN_THREADS, label="Threads",
        help="Threads of the program for one tilt series, whose tilts share them. With T Scipion "
             "threads, T - 1 series are worked on at a time (one, when T is 1).",
    )  # fmt: skip
    _define_gpu(form, "The GPUs of a step share the tilts of its series.")


def _define_gpu(form, sharing):
    form.addHidden(
        params.GPU_LIST, params.StringParam, default="0", expertLevel=cons.LEVEL_ADVANCED,
        help="Numbers of the GPUs to use, separated by blanks or commas. " + sharing,
    )  # fmt: skip
    form.addHidden(
        params.USE_GPU, params.BooleanParam, default=True,
        help="Yes: compute on a GPU; where there is none that flexalign can use, that is an error. "
             "No: compute on the CPU, which gives the same results and waits for no GPU.",
    )  # fmt: skip
