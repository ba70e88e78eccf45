"""Names of outputs: the root that a movie gives them, and what follows it.

No numerical library is loaded, so that commands can look at names before anything runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from flexalign.params import AlignParams

RECORD_SUFFIX = "_record.json"
# What the root of a name leaves out at the end of a movie's: first one of these, then one of those.
COMPRESSIONS = (".bz2", ".gz", ".zst", ".xz", ".tbz")
MOVIE_EXTENSIONS = (
    ".mrc", ".mrcs", ".st", ".map", ".rec", ".ali", ".tif", ".tiff", ".eer",
    ".dm3", ".dm4", ".stk", ".hdf", ".h5", ".txt",
)  # fmt: skip
# What follows the root in the name of each kind of output, in the order in which records list them.
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
# Kinds of files that each format of another program has.
FORMAT_KINDS = {
    "relion": ("relion",),
    "motioncor": ("motioncor", "motioncor_full", "motioncor_patches", "motioncor_aln"),
    "warp": ("warp",),
}
# Whether a file of that kind may come of some parameters; of the other kinds there always is one.
_MAY_COME: dict[str, Callable[[AlignParams], bool]] = {
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
    """Names of all files that may come of a movie; some depend on the movie."""
    return [
        root + suffix
        for kind, suffix in suffixes.items()
        if kind not in _MAY_COME or _MAY_COME[kind](params)
    ]


def relion_suffixes(*, dose_weighted: bool) -> dict[str, str]:
    """What follows the root of a name in a job folder of RELION.

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
