"""The options of commands on tilt series."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flexalign.errors import ParameterError
from flexalign.files import check_folder
from flexalign.params import option_name

if TYPE_CHECKING:
    from flexalign.tilts.understanding import SeriesChoices

PANEL = "Tilt series"
# What each tilt has of its own, or what makes no sense for the images of a stack.
NOT_FOR_SERIES = (
    "dose_per_frame_e_A2", "eer_total_dose_e_A2", "eer_dose_per_frame_e_A2", "save_movie",
    "save_unaligned",
)  # fmt: skip
# Denoising needs both halves, so they are there unless they are not wanted.
DEFAULTS = {"odd_even": True, "dose_weight": False, "psd": False}

Movies = Annotated[
    Path | None,
    typer.Option(
        "--movies",
        help="Folder of the movies, including subfolders. Default: that of each mdoc file.",
        metavar="DIR", show_default=False, rich_help_panel=PANEL,
    ),
]  # fmt: skip
NamePattern = Annotated[
    str | None,
    typer.Option(
        help="Pattern of the names of movies without mdoc files, for example "
        "{series}_{order}_{angle}* in quotes.",
        metavar="PATTERN", show_default=False, rich_help_panel=PANEL,
    ),
]  # fmt: skip
TiltDose = Annotated[
    float | None,
    typer.Option(
        help="Dose of each tilt. Default: from the mdoc (ExposureDose, else "
        "FrameDosesAndNumber, else DoseRate and ExposureTime).",
        metavar="e/A2", show_default=False, rich_help_panel=PANEL,
    ),
]  # fmt: skip
TiltAxis = Annotated[
    float | None,
    typer.Option(
        help="Direction of the tilt axis, counter-clockwise from the vertical, for the headers. "
        "Default: from the mdoc (title, RotationAngle).",
        metavar="degrees", show_default=False, rich_help_panel=PANEL,
    ),
]  # fmt: skip
EerDose = Annotated[
    float | None,
    typer.Option(
        "--eer-dose-per-frame",
        help="Make EER frames of about this dose, with equally many raw frames within a tilt. "
        "Default: 0.3, unless --eer-fractions or --eer-groups is given.",
        metavar="e/A2", show_default=False, rich_help_panel="EER movies",
    ),
]  # fmt: skip
SharedPrior = Annotated[
    bool,
    typer.Option(
        "--shared-prior/--no-shared-prior",
        help="Measure all tilts of a series first, and align each with a prior of "
        "motion and signal from the others. Each movie is read two more times.",
        rich_help_panel=PANEL,
    ),
]
SaveTilts = Annotated[
    bool,
    typer.Option(
        "--save-tilts",
        help="Keep the micrograph of each tilt, with its motion and its own report, in the folder "
        "tilts.",
        rich_help_panel=PANEL,
    ),
]


def refuse_movie_options(given: Collection[str], advice: str = "") -> None:
    """Raise `ParameterError` if a parameter is given that is not for tilt series.

    Parameters
    ----------
    given : names of parameters
    advice : where their doses come from
    """
    for name in NOT_FOR_SERIES:
        if name in given:
            raise ParameterError(
                f"{option_name(name)}: expected no such option for tilt series"
                f"{advice and f'; {advice}'}"
            )


@dataclass(frozen=True, slots=True)
class SeriesOptions:
    """What the options for tilt series say; `takes_parameters_without` gives the others."""

    movies: Path | None
    tilt_dose: float | None
    tilt_axis: float | None
    eer_dose: float | None
    save_tilts: bool
    shared_prior: bool

    def choices(self, given: set[str], out: Path) -> SeriesChoices:
        """What decides how series are understood.

        Parameters
        ----------
        given : parameters that were typed or stand in the settings
        out : folder of the results, excluded from the search for movies

        Raises
        ------
        ParameterError
            For a number outside its limits.
        InputError
            If there is no folder of that name.
        """
        from flexalign.tilts.understanding import EER_DOSE_E_A2, SeriesChoices

        for name, value in (("tilt-dose", self.tilt_dose), ("eer-dose-per-frame", self.eer_dose)):
            if value is not None and not 0 < value <= 1000:
                raise ParameterError(
                    f"--{name}: expected more than 0, at most 1000 e/A2, found {value:g}"
                )
        if self.tilt_axis is not None and not abs(self.tilt_axis) <= 360:
            raise ParameterError(
                f"--tilt-axis: expected -360 to 360 degrees, found {self.tilt_axis:g}"
            )
        if self.movies is not None:
            check_folder(self.movies, "of movies")
        has_other = bool(given & {"eer_fractions", "eer_groups"})
        eer_dose = self.eer_dose if has_other else self.eer_dose or EER_DOSE_E_A2
        return SeriesChoices(
            movies=self.movies,
            tilt_dose_e_A2=self.tilt_dose,
            tilt_axis_deg=self.tilt_axis,
            eer_dose_e_A2=eer_dose,
            given=frozenset(given),
            others=(out,),
        )
