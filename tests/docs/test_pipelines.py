"""What the how-tos on other programs show does what they say, command by command."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from flexalign.io.motion_formats.relion import RelionMovie, write_motion_star
from flexalign.model import FrameRange
from flexalign.motion import Motion
from flexalign.simulate import simulate_movie

ROOT = Path(__file__).parents[2]
PAGES = [
    *sorted((ROOT / "docs" / "how-to").glob("work-with-*.md")),
    ROOT / "docs" / "how-to" / "estimate-the-ctf.md",
    ROOT / "docs" / "how-to" / "apply-an-alignment.md",
    ROOT / "docs" / "how-to" / "from-frames-to-aretomo.md",
]
FILES = {
    "work-with-relion.md": [
        "External/job002/corrected_micrographs.star",
        "External/job002/RELION_JOB_EXIT_SUCCESS",
        "External/job004/corrected_tilt_series.star",
        "External/job004/tilts/TS_1_001_0_0_EVN.mrc",
        "Aligned/corrected_micrographs.star",
        "Aligned/movie_PS.mrc",
        "Again/movie_aligned_mic.mrc",
    ],
    "work-with-cryosparc.md": ["aligned/movie_aligned_mic.mrc", "aligned/movie_aligned_mic_DW.mrc"],
    "work-with-warp.md": [
        "aligned/movie.xml",
        "aligned/average/movie.mrc",
        "frameseries/tomostar/ts.tomostar",
        "frameseries/tilts/average/even/ts_001.mrc",
        "again/movie_aligned_mic_DW.mrc",
    ],
    "work-with-motioncor.md": [
        "aligned/movie_motioncor.log",
        "aligned/movie-Full.log",
        "aligned/movie.aln",
        "again/movie_aligned_mic_DW.mrc",
    ],
    "work-with-xmipp.md": ["aligned/movie_shifts.xmd", "again/movie_aligned_mic_DW.mrc"],
    "estimate-the-ctf.md": ["aligned/movie_PS.mrc", "aligned/movie_aligned_movie.mrcs"],
    "from-frames-to-aretomo.md": [
        "stacks/ts.mrc",
        "stacks/ts_EVN.mrc",
        "stacks/ts_ODD.mrc",
        "stacks/ts_TLT.txt",
    ],
    "apply-an-alignment.md": [
        "again/movie_aligned_mic_EVN.mrc",
        "early/movie_aligned_mic_DW.mrc",
        "all-binned/movie_aligned_mic.mrc",
        "stacks-binned/ts_DW.mrc",
    ],
}


@pytest.fixture(scope="module")
def movies(tmp_path_factory) -> Path:
    """A folder with the files that the examples name."""
    folder = tmp_path_factory.mktemp("movies")
    movie = simulate_movie(
        shape_px=(160, 192), frame_count=14, pixel_size_A=1.5, electrons_per_px=0.8
    )
    movie.save(folder, "movie", "tiff")
    movie.save(folder, "movie", "mrc")
    shutil.move(folder / "movie_gain.mrc", folder / "gain.mrc")
    for place in ("Movies", "movies"):
        (folder / place).mkdir()
        shutil.copy(folder / "movie.tiff", folder / place)
    shutil.copy(folder / "gain.mrc", folder / "Movies")
    (folder / "Import" / "job001").mkdir(parents=True)
    (folder / "Import" / "job001" / "movies.star").write_text(
        "data_optics\n\nloop_\n_rlnOpticsGroupName #1\n_rlnOpticsGroup #2\n"
        "_rlnMicrographOriginalPixelSize #3\n_rlnVoltage #4\n_rlnSphericalAberration #5\n"
        "_rlnAmplitudeContrast #6\nopticsGroup1 1 0.83 300 2.7 0.1\n\n"
        "data_movies\n\nloop_\n_rlnMicrographMovieName #1\n_rlnOpticsGroup #2\n"
        "Movies/movie.tiff 1\n"
    )
    import_tilt_series(folder)
    record_tilt_series(folder)
    job = folder / "MotionCorr" / "job003" / "Movies"
    job.mkdir(parents=True)
    facts = RelionMovie("Movies/movie.tiff", (160, 192), 14, 0.83, 300.0, FrameRange(0, 14))
    write_motion_star(job / "movie.star", facts, Motion.still(14))
    return folder


def import_tilt_series(folder: Path) -> None:
    """A series TS_1 of two tilts as RELION 5's Import job leaves it, the movie being each tilt."""
    tables = folder / "Import" / "job003" / "tilt_series"
    tables.mkdir(parents=True)
    (folder / "frames").mkdir()
    rows = ""
    for name, angle, before in (("TS_1_001_0.0", 0, 0), ("TS_1_002_3.0", 3, 3)):
        shutil.copy(folder / "movie.mrc", folder / "frames" / f"{name}.mrc")
        rows += f"frames/{name}.mrc 14 {angle} 85.3 {before} -4\n"
    (tables / "TS_1.star").write_text(
        "data_TS_1\n\nloop_\n_rlnMicrographMovieName #1\n_rlnTomoTiltMovieFrameCount #2\n"
        "_rlnTomoNominalStageTiltAngle #3\n_rlnTomoNominalTiltAxisAngle #4\n"
        f"_rlnMicrographPreExposure #5\n_rlnTomoNominalDefocus #6\n{rows}"
    )
    (tables.parent / "tilt_series.star").write_text(
        "data_global\n\nloop_\n_rlnTomoName #1\n_rlnTomoTiltSeriesStarFile #2\n_rlnVoltage #3\n"
        "_rlnSphericalAberration #4\n_rlnAmplitudeContrast #5\n"
        "_rlnMicrographOriginalPixelSize #6\n_rlnTomoHand #7\n_rlnOpticsGroupName #8\n"
        "TS_1 Import/job003/tilt_series/TS_1.star 300 2.7 0.1 0.83 -1 optics1\n"
    )


def record_tilt_series(folder: Path) -> None:
    """A series of three tilts as the microscope leaves it, in the folder ``session``."""
    (folder / "session").mkdir()
    lines = ["PixelSpacing = 0.83", "Voltage = 300", "[T = Tilt axis angle = 85.3, binning = 1]"]
    for number, angle in enumerate((0.0, 3.0, -3.0)):
        name = f"ts_{number + 1:03}.mrc"
        shutil.copy(folder / "movie.mrc", folder / "session" / name)
        lines += [
            f"[ZValue = {number}]",
            f"TiltAngle = {angle}",
            "ExposureDose = 3",
            f"SubFramePath = X:\\frames\\{name}",
            f"DateTime = 06-Nov-23  18:0{number}:00",
        ]
    (folder / "session" / "ts.mdoc").write_text("\n".join(lines) + "\n")


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_its_commands_run_one_after_the_other_and_leave_its_files(page, movies, tmp_path):
    folder = tmp_path / "work"
    shutil.copytree(movies, folder)
    program = tmp_path / "bin" / "flexalign"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m flexalign "$@"\n')
    program.chmod(0o755)
    blocks = re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    environment = {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}"}

    done = subprocess.run(
        ["sh", "-e"], input="".join(blocks), cwd=folder, env=environment,
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    for name in FILES[page.name]:
        assert (folder / name).exists(), name
