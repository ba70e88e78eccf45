"""Programs of motion correction that are run on real movies, each with its own command."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import peers

import flexalign

RELION = peers.RELION
_MOTIONCOR = ("MotionCor3", "MotionCor2", "motioncor3", "motioncor2")
_MOTIONCOR_INPUT = {".tif": "-InTiff", ".tiff": "-InTiff", ".eer": "-InEer"}


@dataclass(frozen=True, slots=True)
class Session:
    """What is known about the movies, as a user gives it.

    Attributes
    ----------
    pixel_size_A, voltage_kV : of all movies
    dose_e_A2 : per frame; None = unknown: no program weights by dose
    gain : gain reference; None = the movies need none
    threads : of each program
    options : more words for programs, by `Program.family`
    """

    pixel_size_A: float
    voltage_kV: float
    dose_e_A2: float | None
    gain: Path | None
    threads: int
    options: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Program:
    """A program with the options of one of its modes.

    Attributes
    ----------
    name : in tables, and of its folder
    family : "flexalign", "relion" or "motioncor"
    command : its words for a movie; the program runs in an empty folder of its own
    alignment : pattern of the file with its motion, in that folder
    """

    name: str
    family: str
    command: Callable[[Path, Session], list[str]]
    alignment: str


def found_programs() -> list[Program]:
    """The programs of this Python and of the PATH."""
    found = [
        Program("flexalign", "flexalign", _flexalign(), "*_record.json"),
        Program("flexalign global", "flexalign", _flexalign("--no-local"), "*_record.json"),
    ]
    if shutil.which(RELION):
        # A table of all movies, which is no alignment, is one folder above.
        place = f"{peers.OUT}/*/*.star"
        found += [
            Program("RELION 5x5", "relion", _relion(5), place),
            Program("RELION global", "relion", _relion(1), place),
        ]
    executable = next(filter(shutil.which, _MOTIONCOR), None)
    if executable:
        version = "MotionCor3" if executable.endswith("3") else "MotionCor2"
        alignment = "*.aln" if version == "MotionCor3" else "*-Patch-Patch.log"
        found.append(
            Program(f"{version} 5x5", "motioncor", _motioncor(executable, version), alignment)
        )
    return found


def movie_options(session: Session) -> list[str]:
    """Options of flexalign that describe the movies, for `align` and for `score`."""
    words = ["--pixel-size", f"{session.pixel_size_A:g}", "--voltage", f"{session.voltage_kV:g}"]
    words += ["--threads", str(session.threads)]
    if session.dose_e_A2 is not None:
        words += ["--dose-per-frame", f"{session.dose_e_A2:g}"]
    if session.gain is not None:
        words += ["--gain", str(session.gain)]
    return [*words, *session.options.get("flexalign", [])]


def _flexalign(*more: str) -> Callable[[Path, Session], list[str]]:
    def command(movie: Path, session: Session) -> list[str]:
        words = [sys.executable, "-m", flexalign.__name__, "align", str(movie)]
        return [*words, *movie_options(session), *more, "--out", "."]

    return command


def _relion(patches: int) -> Callable[[Path, Session], list[str]]:
    def command(movie: Path, session: Session) -> list[str]:
        more = session.options.get("relion", [])
        if session.dose_e_A2 is not None:
            more = ["--dose_weighting", "--save_noDW", *more]
        # A path without folders gives RELION's file beside its table of all movies.
        link = f"movies/{movie.name}"
        return peers.relion_command(
            link, session.gain, session.pixel_size_A, session.voltage_kV, session.dose_e_A2,
            session.threads, *more, patches=patches,
        )  # fmt: skip

    return command


def _motioncor(executable: str, version: str) -> Callable[[Path, Session], list[str]]:
    def command(movie: Path, session: Session) -> list[str]:
        words = [executable, _MOTIONCOR_INPUT.get(movie.suffix, "-InMrc"), str(movie)]
        words += ["-OutMrc", f"{movie.stem}.mrc", "-Patch", "5", "5"]
        words += ["-PixSize", f"{session.pixel_size_A:g}", "-kV", f"{session.voltage_kV:g}"]
        if session.dose_e_A2 is not None:
            words += ["-FmDose", f"{session.dose_e_A2:g}"]
        if session.gain is not None:
            words += ["-Gain", str(session.gain)]
        words += ["-OutAln" if version == "MotionCor3" else "-LogDir", "./"]
        return [*words, *session.options.get("motioncor", [])]

    return command
