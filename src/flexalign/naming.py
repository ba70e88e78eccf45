"""Names of output files: a root, which is that of the movie, and an end for each kind.

No numerical library is loaded, so that commands can check names before anything runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from flexalign.params import AlignParams

RECORD_SUFFIX = "_record.json"
# Extensions that `movie_root` removes: first one of these, then one of those.
COMPRESSIONS = (".bz2", ".gz", ".zst", ".xz", ".tbz")
MOVIE_EXTENSIONS = (
    ".mrc", ".mrcs", ".st", ".map", ".rec", ".ali", ".tif", ".tiff", ".eer",
    ".dm3", ".dm4", ".stk", ".hdf", ".h5", ".txt",
)  # fmt: skip
# End of the file name of each kind, in the order of writing.
SUFFIXES = {
    "micrograph": "_aligned_mic.mrc",
    "dose_weighted": "_aligned_mic_DW.mrc",
    "even": "_aligned_mic_EVN.mrc",
    "odd": "_aligned_mic_ODD.mrc",
    "unaligned": "_unaligned_mic.mrc",
    "movie": "_aligned_movie.mrcs",
    "shifts": "_shifts.xmd",
    "motion": "_motion.json",
    "plot": "_plot_cart.png",
    "spectra": "_psd.png",
    "amplitudes": "_aligned_corrected.psd",
    "thumbnail": "_thumb.png",
    "spectra_thumbnail": "_psd_thumb.png",
    "relion": "_motion.star",
    "motioncor": "_motioncor.log",
    "motioncor_full": "-Full.log",
    "motioncor_patches": "-Patch-Patch.log",
    "motioncor_aln": ".aln",
    "warp": ".xml",
    "power_spectrum": "_PS.mrc",
    "record": RECORD_SUFFIX,
}
# Kinds of files of each format of another program.
FORMAT_KINDS = {
    "relion": ("relion",),
    "motioncor": ("motioncor", "motioncor_full", "motioncor_patches", "motioncor_aln"),
    "warp": ("warp",),
}
# Kinds that depend on parameters; the others are always written.
_IS_WRITTEN: dict[str, Callable[[AlignParams], bool]] = {
    "dose_weighted": lambda params: params.dose_weight,
    "even": lambda params: params.odd_even,
    "odd": lambda params: params.odd_even,
    "unaligned": lambda params: params.save_unaligned,
    "movie": lambda params: params.save_movie,
    **dict.fromkeys(("spectra", "amplitudes", "spectra_thumbnail"), lambda params: params.psd),
    **dict.fromkeys(FORMAT_KINDS["relion"], lambda params: "relion" in params.formats),
    **dict.fromkeys(FORMAT_KINDS["motioncor"], lambda params: "motioncor" in params.formats),
    **dict.fromkeys(FORMAT_KINDS["warp"], lambda params: "warp" in params.formats),
    "power_spectrum": lambda params: "relion" in params.formats,
}


def movie_root(path: str | Path) -> str:
    """The name of a movie without its folder and its known extensions.

    Examples
    --------
    >>> movie_root("raw/x.mrc.bz2"), movie_root("a.b_c.tif")
    ('x', 'a.b_c')
    """
    name = Path(path).name
    for extensions in (COMPRESSIONS, MOVIE_EXTENSIONS):
        stem, extension = Path(name).stem, Path(name).suffix
        if extension.lower() in extensions:
            name = stem
    return name


def output_names(
    root: str, params: AlignParams, suffixes: Mapping[str, str] = SUFFIXES
) -> list[str]:
    """Names of all files that a movie may give; some depend on the movie."""
    return [
        root + suffix
        for kind, suffix in suffixes.items()
        if kind not in _IS_WRITTEN or _IS_WRITTEN[kind](params)
    ]


def relion_suffixes(*, dose_weighted: bool) -> dict[str, str]:
    """Ends of file names in a RELION job folder.

    Parameters
    ----------
    dose_weighted : there is a dose-weighted micrograph, which then has the plain name
    """
    return {
        **SUFFIXES,
        "micrograph": "_noDW.mrc" if dose_weighted else ".mrc",
        "dose_weighted": ".mrc" if dose_weighted else "_DW.mrc",
        "even": "_EVN.mrc",
        "odd": "_ODD.mrc",
        "relion": ".star",
    }


def relion_root(movie_name: str) -> str:
    """RELION's name for the outputs of a movie in the job folder.

    A second movie of the same name gets a number appended.

    Examples
    --------
    >>> relion_root("Movies/day.1/x.y.tiff")
    'Movies/day_1/x_y'
    """
    return str(Path(movie_name).with_suffix("")).replace(".", "_").lstrip("/")


@dataclass(frozen=True, slots=True)
class TiltFiles:
    """Which files the tilts of a series and the series itself have.

    Attributes
    ----------
    suffixes : ends of the names of a tilt's files, by kind
    root : what the names of a movie begin with; None = as in a run over movies
    has_stacks : the images of a series are put together, with tables for programs that read stacks
    """

    suffixes: Mapping[str, str] = field(default_factory=lambda: SUFFIXES)
    root: Callable[[Path], str] | None = None
    has_stacks: bool = True
