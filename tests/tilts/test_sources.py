"""Series from RELION's tables and from names of movies, EER by dose, and where movies lie."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import starfile
from test_series import check_tables
from tilts_data import (
    DOSE,
    SHAPE_PX,
    Section,
    dose_symmetric,
    write_mdoc,
    write_movie,
    write_series,
)

from flexalign.errors import InputError
from flexalign.io.movies.eer_writer import write_eer
from flexalign.params import AlignParams
from flexalign.tilts.finding import MovieIndex
from flexalign.tilts.model import TiltSeries
from flexalign.tilts.reading import read_sources
from flexalign.tilts.understanding import SeriesChoices, understand

PARAMS = AlignParams()


def understood(path: Path, params: AlignParams = PARAMS, **choices: object) -> TiltSeries:
    """The one series that a file describes."""
    sources, problems = read_sources([str(path)])
    assert not problems
    return understand(sources[0], params, SeriesChoices(**choices))


def write_relion(folder: Path, angles: list[float], name: str = "TS_1") -> Path:
    """The tables of RELION 5 for a series whose movies are in ``frames``; rows by angle."""
    rows = []
    for order, angle in enumerate(angles):
        movie = write_movie(folder / "frames" / f"{name}_{order + 1:03}_{angle:.1f}.mrcs", angle)
        rows.append((angle, movie.relative_to(folder), DOSE * order))
    rows.sort()
    (folder / "tilt_series").mkdir(exist_ok=True)
    table = "\n".join(
        f"{movie} 4 {angle:.5f} 85.3 {before:.6f} -4.0" for angle, movie, before in rows
    )
    columns = ("rlnMicrographMovieName", "rlnTomoTiltMovieFrameCount",
               "rlnTomoNominalStageTiltAngle", "rlnTomoNominalTiltAxisAngle",
               "rlnMicrographPreExposure", "rlnTomoNominalDefocus")  # fmt: skip
    labels = "\n".join(f"_{label} #{i}" for i, label in enumerate(columns, 1))
    (folder / "tilt_series" / f"{name}.star").write_text(
        f"data_{name}\n\nloop_\n{labels}\n{table}\n"
    )
    path = folder / "tilt_series.star"
    path.write_text(
        "data_global\n\nloop_\n_rlnTomoName #1\n_rlnTomoTiltSeriesStarFile #2\n_rlnVoltage #3\n"
        f"_rlnMicrographOriginalPixelSize #4\n{name} tilt_series/{name}.star 200.0 1.5\n"
    )
    return path


def test_relions_tables_are_a_series(tmp_path, run):
    path = write_relion(tmp_path, dose_symmetric(5))

    code, _, err = run(path, "--out", tmp_path / "out")

    assert code == 0, err
    check_tables(tmp_path / "out", "TS_1", [-6, -3, 0, 3, 6], [4, 3, 1, 2, 5])
    table = starfile.read(tmp_path / "tilt_series" / "TS_1.star")
    series = understood(path)
    before = dict(
        zip(table["rlnMicrographMovieName"], table["rlnMicrographPreExposure"], strict=True)
    )
    assert {t.movie_name: t.pre_exposure_e_A2 for t in series.tilts} == {
        Path(movie).name: dose for movie, dose in before.items()
    }
    assert series.parameters["voltage_kV"] == 200.0
    assert series.tilt_axis_deg == 85.3


def test_a_gap_in_relions_pre_exposure_stays(tmp_path):
    """A tilt that RELION's table lacks has had its dose all the same."""
    path = write_relion(tmp_path, dose_symmetric(5))
    table = tmp_path / "tilt_series" / "TS_1.star"
    table.write_text(
        "\n".join(line for line in table.read_text().split("\n") if " 6.000000 " not in line)
    )

    series = understood(path)

    assert [t.pre_exposure_e_A2 for t in series.tilts] == [0.0, 3.0, 9.0, 12.0]


def test_the_dose_of_relions_list_is_that_of_each_tilt(tmp_path):
    """Steps of the pre-exposure say nothing of the last tilt, and too much beside a gap."""
    path = write_relion(tmp_path, [0.0, 3.0, -3.0])
    assert [t.dose_e_A2 for t in understood(path).tilts] == [3.0, 3.0, 3.0]
    text = path.read_text().replace(" #4\n", " #4\n_rlnTomoImportFractionalDose #5\n")
    path.write_text(text.replace("200.0 1.5", "200.0 1.5 2.5"))

    series = understood(path)

    assert [t.dose_e_A2 for t in series.tilts] == [2.5, 2.5, 2.5]
    assert [t.pre_exposure_e_A2 for t in series.tilts] == [0.0, 3.0, 6.0]


@pytest.mark.parametrize(("upsampling", "pixel_A"), [(1, 1.5), (2, 3.0)])
def test_relions_pixel_is_that_of_rendered_eer_frames(tmp_path, upsampling, pixel_A):
    """The parameter is the pixel of the camera, which is rendered as several."""
    path = write_relion(tmp_path, [0.0])
    table = tmp_path / "tilt_series" / "TS_1.star"
    movie = write_raw_frames(tmp_path / "frames" / "E_0.eer", 40)
    table.write_text(table.read_text().replace("frames/TS_1_001_0.0.mrcs", f"frames/{movie.name}"))

    series = understood(path, AlignParams(eer_upsampling=upsampling))

    assert [own["pixel_size_A"] for own in series.own.values()] == [pixel_A]


def test_names_of_movies_are_series(tmp_path, run):
    write_series(tmp_path / "in", "A_1", dose_symmetric(3)).unlink()
    write_series(tmp_path / "in", "B", dose_symmetric(5)).unlink()

    code, _, err = run(
        tmp_path / "in", "--name-pattern", "{series}_{order}_{angle}", "--tilt-dose", DOSE,
        "--out", tmp_path / "out",
    )  # fmt: skip

    assert code == 0, err
    check_tables(tmp_path / "out", "A_1", [-3, 0, 3], [3, 1, 2])
    check_tables(tmp_path / "out", "B", [-6, -3, 0, 3, 6], [4, 3, 1, 2, 5])


def write_raw_frames(path: Path, count: int) -> Path:
    """An EER movie of `count` raw frames with a few events each."""
    rng = np.random.default_rng(count)
    side = 64
    frames = (rng.integers(0, 4 * side, (60, 2)) for _ in range(count))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_eer(path, frames, height_px=side, width_px=side, codec=65001, pixel_size_A=1.5)
    return path


def test_eer_frames_are_made_by_dose_with_the_same_raw_frames_in_each(tmp_path, run):
    """3 e/A2 in 107 raw frames: 0.3 e/A2 are 11 of them, 9 frames leave 8 over."""
    sections = []
    for number, (angle, count) in enumerate(((0.0, 107), (3.0, 110), (-3.0, 40))):
        movie = write_raw_frames(tmp_path / f"E_{number}.eer", count)
        sections.append(Section(angle, movie.name, number, 60.0 * number))
    mdoc = write_mdoc(tmp_path / "E.mdoc", sections)

    series = understood(mdoc)

    assert [t.frame_count for t in series.tilts] == [9, 10, 10]
    assert [t.leftover_raw_frames for t in series.tilts] == [8, 0, 0]
    _, out, _ = run(mdoc, "--out", tmp_path / "out", "--dry-run")
    assert "E_0.eer  [8 raw frames are left over]" in out
    coarser = understood(mdoc, eer_dose_e_A2=1.5)
    assert [t.frame_count for t in coarser.tilts] == [2, 2, 2]


def test_an_eer_tilt_of_less_than_two_doses_has_two_frames(tmp_path):
    movie = write_raw_frames(tmp_path / "E_0.eer", 20)
    mdoc = write_mdoc(
        tmp_path / "E.mdoc", [Section(0.0, movie.name, 0, 0, {"ExposureDose": "0.4"})]
    )

    assert [t.frame_count for t in understood(mdoc).tilts] == [2]


def test_the_pixel_of_the_mdoc_is_that_of_its_image(tmp_path):
    """The microscope shows the movie at half its size, as it does of super-resolution movies."""
    mdoc = write_series(tmp_path, angles=[0.0, 3.0])
    text = mdoc.read_text().replace("PixelSpacing = 1.5", "PixelSpacing = 3.0")
    half = f"ImageSize = {SHAPE_PX[1] // 2} {SHAPE_PX[0] // 2}"
    mdoc.write_text(text.replace(f"ImageSize = {SHAPE_PX[1]} {SHAPE_PX[0]}", half))

    series = understood(mdoc)

    assert {own["pixel_size_A"] for own in series.own.values()} == {1.5}
    assert not series.notes


def test_another_pixel_in_the_movies_is_told(tmp_path):
    mdoc = write_series(tmp_path, angles=[0.0, 3.0])
    mdoc.write_text(mdoc.read_text().replace("PixelSpacing = 1.5", "PixelSpacing = 2.0"))

    assert "2 A by the metadata and 1.5 A by the movies" in understood(mdoc).notes[0]
    typed = understood(mdoc, AlignParams(pixel_size_A=1.7), given=frozenset({"pixel_size_A"}))
    assert all("pixel_size_A" not in own for own in typed.own.values())


def test_the_gain_of_the_mdoc_is_used_where_it_is_and_named_where_it_is_not(tmp_path):
    mdoc = write_series(tmp_path, angles=[0.0, 3.0])
    mdoc.write_text(mdoc.read_text() + "GainReference = D:\\refs\\Count_1.mrc\n")

    assert "Count_1.mrc was not found" in understood(mdoc).notes[0]
    write_movie(tmp_path / "refs" / "Count_1.mrc", 0.0)
    assert understood(mdoc).parameters["gain"] == str(tmp_path / "refs" / "Count_1.mrc")
    assert "gain" not in understood(mdoc, given=frozenset({"gain"})).parameters


def test_movies_are_found_below_by_name_whatever_their_path_and_compression(tmp_path):
    for name in ("a/b/one.tif", "two.mrc.bz2", "x/three.tif", "y/three.tif", ".hidden/four.tif",
                 "out/five.tif"):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()

    index = MovieIndex([tmp_path], [tmp_path / "out"])

    assert index.find("Z:\\m\\one.tif") == (tmp_path / "a" / "b" / "one.tif", "")
    assert index.find("/m/two.mrc")[0] == tmp_path / "two.mrc.bz2"
    assert index.find("/m/x/three.tif")[0] == tmp_path / "x" / "three.tif"
    assert index.find("three.tif")[0] is None
    assert "found 2 times" in index.find("three.tif")[1]
    assert index.find("four.tif")[0] is None
    assert index.find("five.tif")[0] is None


def test_a_section_without_a_movie_has_its_dose_and_is_named(tmp_path, run):
    mdoc = write_series(tmp_path / "in", angles=[0.0, 3.0, -3.0])
    lines = mdoc.read_text().split("\n")
    lines = [line for line in lines if "TS_1_002" not in line]
    mdoc.write_text("\n".join(lines))

    code, _, err = run(mdoc, "--out", tmp_path / "out")

    assert code == 0, err
    check_tables(tmp_path / "out", "TS_1", [-3, 0], [3, 1])
    with (tmp_path / "out" / "left_out.csv").open() as file:
        assert [(row["order"], row["kind"]) for row in csv.DictReader(file)] == [("2", "no-movie")]


def test_mdoc_files_of_movies_in_the_folder_are_no_series(tmp_path):
    write_series(tmp_path, angles=[0.0, 3.0])
    write_mdoc(tmp_path / "TS_1_001_0.0.mrcs.mdoc", [Section(0.0, "x.mrc", 0, 0)])

    sources, problems = read_sources([str(tmp_path)])

    assert [source.name for source in sources] == ["TS_1"]
    assert not problems


def test_a_movie_that_two_series_name_is_of_the_first(tmp_path, run):
    mdoc = write_series(tmp_path / "in", angles=[0.0, 3.0])
    (tmp_path / "in" / "copy.mdoc").write_text(mdoc.read_text())

    code, _, err = run(mdoc, tmp_path / "in" / "copy.mdoc", "--out", tmp_path / "out")

    assert code == 1
    check_tables(tmp_path / "out", "TS_1", [0, 3], [1, 2])
    assert "its movie is one of TS_1 already" in err


def test_series_of_one_name_in_two_folders_are_both_kept(tmp_path, run):
    for folder in ("a", "b"):
        write_series(tmp_path / folder, "TS", [0.0, 3.0])

    code, _, err = run(tmp_path / "a", tmp_path / "b", "--out", tmp_path / "out")

    assert code == 0, err
    check_tables(tmp_path / "out", "TS", [0, 3], [1, 2])
    check_tables(tmp_path / "out", "b_TS", [0, 3], [1, 2])
    assert run(tmp_path / "b", "--out", tmp_path / "out")[2].startswith("b_TS: done before")


@pytest.mark.parametrize("text", ["data_a\n\n_rlnX 1\n", "not a star file"])
def test_another_star_file_is_refused(tmp_path, text):
    path = tmp_path / "x.star"
    path.write_text(text)

    _, problems = read_sources([str(path)])

    assert isinstance(problems[0][1], InputError)
    assert "x.star" in str(problems[0][1])


def test_movies_of_two_frames_make_a_stack(tmp_path, run):
    sections = []
    for number, angle in enumerate(dose_symmetric(3)):
        movie = write_movie(tmp_path / f"M_{number}_{angle:.1f}.mrcs", angle, frames=2)
        sections.append(Section(angle, movie.name, number, 60.0 * number))
    mdoc = write_mdoc(tmp_path / "M.mdoc", sections)

    code, _, err = run(mdoc, "--out", tmp_path / "out")

    assert code == 0, err
    check_tables(tmp_path / "out", "M", [-3, 0, 3], [3, 1, 2])


@pytest.mark.parametrize("pattern", [None, "{series}_{order}_{angle}"])
def test_a_file_that_is_named_twice_counts_once(tmp_path, monkeypatch, pattern):
    write_series(tmp_path / "in", angles=[0.0, 3.0])
    monkeypatch.chdir(tmp_path)

    (source,), problems = read_sources(["in", str(tmp_path / "in")], pattern)

    assert not problems
    assert len(source.exposures) == 2
