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


class EngineError(Exception):
    """The engine could not align a movie; the message is its own."""


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

    `options` go from names without dashes to values: a bool becomes ``--name`` or ``--no-name``,
    None and "" are left out, a sequence becomes several words.

    >>> align_words("m.tif", "out", {"local": False, "patches": (7, 6), "gain": None})[4:]
    ['--overwrite', '--no-report', '--no-local', '--patches', '7', '6']
    """
    # The viewer makes the report of all movies when a person wants it.
    words = ["align", movie, "--out", folder, "--overwrite", "--no-report"]
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
