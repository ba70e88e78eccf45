"""The engine seen from outside: how its command line is spelled, and what its files say.

Nothing of Scipion is needed here, nor of the engine.
"""

import json
import os
import shlex

SUFFIXES = {
    "micrograph": "_aligned_mic.mrc",
    "shifts": "_shifts.xmd",
    "motion": "_motion.json",
    "plot": "_plot_cart.png",
    "spectra": "_psd.png",
    "amplitudes": "_aligned_corrected.psd",
    "record": "_record.json",
}
COMPRESSIONS = (".bz2", ".gz", ".zst", ".xz", ".tbz")
MOVIE_EXTENSIONS = (
    ".mrc", ".mrcs", ".st", ".map", ".rec", ".ali", ".tif", ".tiff", ".eer",
    ".dm3", ".dm4", ".stk", ".hdf", ".h5", ".txt", ".em",
)  # fmt: skip


# Of the engine, where the device that was asked for cannot be used.
DEVICE_EXIT_CODE = 4
# Of the engine, where some tilts or series are lost and the others are done.
LOSSES_EXIT_CODE = 1
FAILED_SERIES = "failed.tsv"


class EngineError(Exception):
    """The engine could not do what was asked for; the message is its own.

    ``exit_code`` is the engine's, None where it did not get as far.
    """

    def __init__(self, message, exit_code=None):
        Exception.__init__(self, message)
        self.exit_code = exit_code


class DeviceError(EngineError):
    """The GPU that was asked for cannot be used, for any movie."""


def quoted(words):
    """Words as a shell takes them apart again, whatever is in them.

    >>> quoted(["report", "my folder; rm -r"])
    "report 'my folder; rm -r'"
    """
    return " ".join(shlex.quote(word) for word in words)


def movie_root(path):
    """The name of a movie without its folder and its known extensions, as the engine forms it.

    >>> movie_root("raw/x.mrc.bz2"), movie_root("a.0012.tif")
    ('x', 'a.0012')
    """
    name = os.path.basename(path)
    for extensions in (COMPRESSIONS, MOVIE_EXTENSIONS):
        stem, extension = os.path.splitext(name)
        if extension.lower() in extensions:
            name = stem
    return name


def align_words(movie, folder, options):
    """The words after the program's name that align one movie into a folder.

    `options` are those of `option_words`.

    >>> align_words("m.tif", "out", {"local": False})
    ['align', 'm.tif', '--out', 'out', '--overwrite', '--no-report', '--no-local']
    """
    # The viewer makes the report of all movies when a person wants it.
    words = ["align", movie, "--out", folder, "--overwrite", "--no-report"]
    return words + option_words(options)


def series_words(mdoc, folder, options):
    """The words after the program's name that align one tilt series into a folder of its own.

    Where an earlier start was stopped, it goes on; tilts that failed are tried again.

    >>> series_words("a.mdoc", "out", {"jobs": 2})[3:]
    ['out', '--retry-failed', '--no-report', '--jobs', '2']
    """
    words = ["tilt-series", mdoc, "--out", folder, "--retry-failed", "--no-report"]
    return words + option_words(options)


def option_words(options):
    """The words of options that go from names without dashes to values.

    A bool becomes ``--name`` or ``--no-name``, None and "" are left out, a sequence becomes
    several words.

    >>> option_words({"local": False, "patches": (7, 6), "gain": None})
    ['--no-local', '--patches', '7', '6']
    """
    words = []
    for name, value in options.items():
        if value is None or value == "":
            continue
        if isinstance(value, bool):
            words.append("--%s%s" % ("" if value else "no-", name))
            continue
        values = value if isinstance(value, (tuple, list)) else (value,)
        words += ["--" + name] + [_number(item) for item in values]
    return words


def _number(value):
    """A value as the command line takes it, floats without noise.

    >>> _number(0.83), _number(3.0), _number("x")
    ('0.83', '3', 'x')
    """
    return "%.10g" % value if isinstance(value, float) else str(value)


def last_error(log):
    """The last line of error in what the engine wrote to its standard error stream.

    >>> last_error("compiling\\nerror: no such file\\n")
    'no such file'
    """
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error: ")]
    if errors:
        return errors[-1][len("error: ") :]
    return lines[-1] if lines else "flexalign ended without a message"


class MovieResult:
    """What the engine left behind for one movie, read from its record and its motion.

    Frames are zero-based in the file, ranges half open, shifts to apply in pixels of the movie.
    """

    def __init__(self, folder, root):
        self.folder = folder
        self.root = root
        with open(self.path("record")) as file:
            self.record = json.load(file)

    @staticmethod
    def exists(folder, root):
        """Whether the movie is done: the record is written last."""
        return os.path.exists(os.path.join(folder, root + SUFFIXES["record"]))

    def path(self, kind):
        """The path of an output, which need not exist."""
        return os.path.join(self.folder, self.root + SUFFIXES[kind])

    def has(self, kind):
        """Whether there is an output of this kind."""
        return os.path.exists(self.path(kind))

    @property
    def align_range(self):
        """First and stop of the aligned frames."""
        return self._range("align")

    @property
    def sum_range(self):
        """First and stop of the summed frames."""
        return self._range("sum")

    def _range(self, name):
        found = self.record["decisions"][name]
        return found["first"], found["stop"]

    @property
    def binning(self):
        """Exact ratio of the pixel sizes of the micrograph and the movie."""
        decisions = self.record["decisions"]
        return decisions["output_pixel_size_A"] / decisions["pixel_size_A"]

    @property
    def quality(self):
        """The numbers by which the movie is judged."""
        return self.record["quality"]

    @property
    def warnings(self):
        """What did not go as expected, one sentence each."""
        return self.record["warnings"]

    @property
    def version(self):
        """Of the engine."""
        return self.record["version"]

    def shifts_px(self):
        """Shifts to apply in x and in y, one for each aligned frame."""
        with open(self.path("motion")) as file:
            displacement = json.load(file)["trajectory"]["displacement_px"]
        first, stop = self.align_range
        frames = displacement[first:stop]
        return [0.0 - x for _, x in frames], [0.0 - y for y, _ in frames]


class SeriesResult:
    """What the engine left behind for one tilt series, read from its record.

    Tilts are told apart by the numbers that they have in the mdoc file that was handed over.
    """

    def __init__(self, folder, name):
        self.folder = folder
        with open(os.path.join(folder, name + SUFFIXES["record"])) as file:
            self.record = json.load(file)
        self._tilts = {tilt["number"]: tilt for tilt in self.record["series"]["tilts"]}
        places = {order: place for place, order in enumerate(self.record["sections"])}
        self._places = {
            number: places[tilt["order"]]
            for number, tilt in self._tilts.items()
            if tilt["order"] in places
        }

    def stack(self, kind):
        """The path of a stack ("stack", "dose_weighted", "even", "odd"), None where it is missing.

        Its images are in the order of ascending angle.
        """
        name = self.record["outputs"].get(kind)
        return os.path.join(self.folder, name) if name else None

    @property
    def strip(self):
        """The path of the picture of all images."""
        return os.path.join(self.folder, self.record["outputs"]["strip"])

    @property
    def pixel_size(self):
        """Of the images of the stacks, in Angstrom."""
        return self.record["pixel_size_A"]

    @property
    def version(self):
        """Of the engine."""
        return self.record["version"]

    def place(self, number):
        """The place of a tilt in the stacks, from 0; None where it is left out."""
        return self._places.get(number)

    def reason(self, number):
        """Why a tilt is left out; "" where it is not."""
        return self._tilts[number]["why"] if number in self._tilts else "it is not in the record"

    def quality(self, number):
        """The numbers by which the alignment of a tilt is judged, None where it is left out."""
        if number not in self._places:
            return None
        return self.record["movies"][self._tilts[number]["movie"]]["quality"]


def series_failure(folder):
    """Why the series of a folder failed in the last run there; "" where it did not.

    The engine keeps a table of failed series, which has no row where all went well.
    """
    try:
        with open(os.path.join(folder, FAILED_SERIES)) as table:
            rows = [line.rstrip("\n").split("\t") for line in table]
    except OSError:
        return ""
    return rows[1][2] if len(rows) > 1 and len(rows[1]) > 2 else ""
