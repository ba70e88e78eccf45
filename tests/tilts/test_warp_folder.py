"""The folder of a run as WarpTools expects it: XML files, averages, and a tomostar file.

Columns, signs and names of folders are those of WarpTools' `ts_import` and of `Movie.cs`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import starfile
from defusedxml import ElementTree
from tilts_data import AXIS_DEG, DOSE, PIXEL_A, angle_of, dose_symmetric, write_movie, write_series

from flexalign.errors import OccupiedError
from flexalign.io.motion_formats.read_motion import read_motion
from flexalign.io.movies.open_movie import open_movie
from flexalign.io.warp_project import WarpTilt, link_averages, write_tomostar
from flexalign.model import MovieRecord
from flexalign.motion import Motion
from flexalign.tilts.record import read_series_record

ANGLES = dose_symmetric(5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("warp")


@pytest.fixture(scope="module")
def series(folder, module_run):
    """A folder with a series that was written for Warp."""
    mdoc = write_series(folder / "frames", angles=ANGLES)
    code, _, err = module_run(mdoc, "--out", folder / "out", "--write", "warp")
    assert code == 0, err
    return folder / "out"


def test_the_tomostar_file_is_that_of_ts_import(series):
    table = starfile.read(series / "tomostar" / "TS_1.tomostar")

    assert list(table) == [
        "wrpMovieName", "wrpAngleTilt", "wrpAxisAngle", "wrpDose", "wrpAverageIntensity",
        "wrpMaskedFraction",
    ]  # fmt: skip
    by_angle = sorted(ANGLES)
    assert table["wrpAngleTilt"].tolist() == [-angle for angle in by_angle]
    assert table["wrpDose"].tolist() == [DOSE * ANGLES.index(angle) for angle in by_angle]
    assert set(table["wrpAxisAngle"]) == {AXIS_DEG}
    assert set(table["wrpMaskedFraction"]) == {0}
    assert [Path(name).name for name in table["wrpMovieName"]] == [
        f"TS_1_{ANGLES.index(angle) + 1:03}_{angle:.1f}.mrcs" for angle in by_angle
    ]
    intensity = table["wrpAverageIntensity"].to_numpy()
    assert intensity == pytest.approx([12 * (1 + angle / 200) for angle in by_angle], rel=0.01)


def paths_by_warps_rules(series, name):
    """The XML and the three averages of a movie of a tomostar file, as Warp makes them of it."""
    item = series / "tomostar" / name
    place = item.parent
    folders = ("average", "average/odd", "average/even")
    return place / f"{item.stem}.xml", [place / f / f"{item.stem}.mrc" for f in folders]


def test_each_tilt_has_its_xml_and_averages_where_warp_looks(series, folder):
    table = starfile.read(series / "tomostar" / "TS_1.tomostar")
    for name, angle in zip(table["wrpMovieName"], -table["wrpAngleTilt"], strict=True):
        xml, averages = paths_by_warps_rules(series, name)
        root = ElementTree.parse(xml).getroot()
        movie = Path(root.get("DataDirectory")) / Path(name).name
        assert movie.is_file()  # the raw movie
        with open_movie(movie) as reader:
            info = reader.info
        found = read_motion(xml, info, 1.5)
        ours = Motion.load(xml.with_name(f"{xml.stem}_motion.json"))
        found_px, ours_px = (m.trajectory.displacement_px for m in (found, ours))
        np.testing.assert_allclose(found_px, ours_px - ours_px[0], atol=1e-5)
        steps_px = np.linalg.norm(np.diff(ours.trajectory.displacement_px, axis=0), axis=1)
        assert float(root.get("MeanFrameMovement")) == pytest.approx(1.5 * steps_px[0], rel=1e-6)
        whole, odd, even = (mrcfile.read(path) for path in averages)
        assert angle_of(whole) == pytest.approx(angle, abs=1.4)
        np.testing.assert_allclose((odd + even) / 2, whole, rtol=1e-4, atol=1e-3)
        # Warp counts frames from 0: its odd ones are our second, fourth and so on.
        np.testing.assert_array_equal(
            odd, mrcfile.read(xml.with_name(f"{xml.stem}_aligned_mic_EVN.mrc"))
        )


def test_warpylib_reads_the_folder(series):
    """Not in CI: warpylib needs torch, and its package torch-projectors one release of that."""
    pytest.importorskip("torch", reason="warpylib needs torch, which is large")
    library = pytest.importorskip("warpylib", reason="warpylib is not installed")
    movies = pytest.importorskip("warpylib.movie", reason="warpylib is not installed")
    tomostar = series / "tomostar" / "TS_1.tomostar"

    tilts = library.TiltSeries(str(tomostar))
    tilts.initialize_from_tomo_star(str(tomostar))

    assert tilts.angles.tolist() == [-angle for angle in sorted(ANGLES)]
    assert tilts.dose.tolist() == [DOSE * ANGLES.index(angle) for angle in sorted(ANGLES)]
    for name in tilts.tilt_movie_paths:
        movie = movies.Movie(os.path.normpath(tomostar.parent / name))
        assert Path(movie.average_path).is_file()
        assert Path(movie.average_even_path).is_file()
        assert Path(movie.average_odd_path).is_file()
        assert (Path(movie.data_directory_name) / Path(name).name).is_file()
        ours = Motion.load(tomostar.parent / Path(name).with_name(f"{Path(name).stem}_motion.json"))
        for axis, grid in ((0, movie.grid_movement_y), (1, movie.grid_movement_x)):
            correction_A = -PIXEL_A * ours.trajectory.displacement_px[:, axis]
            np.testing.assert_allclose(grid.flat_values.numpy(), correction_A, atol=1e-4)
        steps_px = np.linalg.norm(np.diff(ours.trajectory.displacement_px, axis=0), axis=1)
        assert movie.mean_frame_movement == pytest.approx(PIXEL_A * steps_px[0], rel=1e-6)
        assert not movie.unselect_filter
        assert movie.unselect_manual is None


def test_averages_of_tilts_are_not_dose_weighted(tmp_path, module_run):
    """Warp weights each tilt by the dose before it; so would our dose-weighted images."""
    mdoc = write_series(tmp_path / "in", angles=ANGLES[:2])

    code, _, err = module_run(mdoc, "--out", tmp_path / "out", "--write", "warp", "--dose-weight")

    assert code == 0, err
    tilts = tmp_path / "out" / "tilts"
    names = {path.name for path in (tilts / "average").glob("*.mrc")}
    assert len(names) == 2
    for again in (False, True):
        if again:  # also by `export`, of files that were kept
            words = ["export", str(tmp_path / "out"), "--to", "warp"]
            subprocess.run([sys.executable, "-m", "flexalign", *words], check=True)
        for name in names:
            root = Path(name).stem
            assert (tilts / f"{root}_aligned_mic_DW.mrc").exists()
            assert str((tilts / "average" / name).readlink()) == f"../{root}_aligned_mic.mrc"


def test_links_are_relative_and_follow_the_images(series, tmp_path):
    """A folder that is moved keeps its averages; another image takes the place of a link."""
    record = read_series_record(series / "TS_1_record.json")
    average = series / "tilts" / "average" / "TS_1_001_0.0.mrc"
    assert str(average.readlink()) == "../TS_1_001_0.0_aligned_mic.mrc"
    assert len(record.stacked) == 5
    movie = MovieRecord.from_dict(next(iter(record.movies.values())))
    link_averages(tmp_path, {"m": movie})
    name = Path(movie.outputs["warp"]).stem
    made = tmp_path / "average" / f"{name}.mrc"
    assert str(made.readlink()) == f"../{movie.outputs['micrograph']}"
    weighted = type(movie).from_dict(movie.to_dict())
    weighted.outputs["dose_weighted"] = f"{name}_aligned_mic_DW.mrc"
    link_averages(tmp_path, {"m": weighted})
    assert str(made.readlink()) == f"../{name}_aligned_mic_DW.mrc"


@pytest.mark.parametrize("is_link", [False, True])
def test_an_average_of_warp_is_not_replaced(series, tmp_path, is_link):
    record = read_series_record(series / "TS_1_record.json")
    movie = MovieRecord.from_dict(next(iter(record.movies.values())))
    theirs = tmp_path / "average" / f"{Path(movie.outputs['warp']).stem}.mrc"
    theirs.parent.mkdir()
    if is_link:
        theirs.symlink_to("elsewhere.mrc")
    theirs.write_bytes(b"theirs")

    with pytest.raises(OccupiedError, match=r"average/.*of another program"):
        link_averages(tmp_path, {"m": movie})

    assert theirs.read_bytes() == b"theirs"
    assert (tmp_path / "average" / "odd" / theirs.name).is_symlink()


def test_a_foreign_tomostar_file_is_not_replaced(tmp_path):
    (tmp_path / "TS.tomostar").write_text("theirs")

    with pytest.raises(OccupiedError, match=r"TS\.tomostar"):
        write_tomostar(tmp_path, "TS", [WarpTilt("../tilts/a.mrc", 3.0, 0.0, 1.0)], np.nan)


def test_movies_of_a_run_have_averages_too(tmp_path, module_run):
    for name in ("a", "b"):
        write_movie(tmp_path / "in" / f"{name}.mrcs", 0.0)

    code, _, err = module_run(
        tmp_path / "in", "--out", tmp_path / "out", "--write", "warp", "--dose-per-frame", 1,
        command="align",
    )  # fmt: skip

    assert code == 0, err
    for name in ("a", "b"):
        link = tmp_path / "out" / "average" / f"{name}.mrc"
        assert link.resolve() == tmp_path / "out" / f"{name}_aligned_mic_DW.mrc"
        assert mrcfile.validate(link)
    assert not (tmp_path / "out" / "average" / "odd").exists()


def test_a_name_that_warp_cannot_read_costs_no_other_series(tmp_path, module_run):
    for name in ("A B", "C"):
        write_series(tmp_path / "in", name, ANGLES[:2])

    code, _, err = module_run(tmp_path / "in", "--out", tmp_path / "out", "--write", "warp")

    assert code == 3
    assert "Warp reads no names with spaces" in err
    assert [path.name for path in (tmp_path / "out" / "tomostar").glob("*.tomostar")] == [
        "C.tomostar"
    ]
