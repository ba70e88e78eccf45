"""`export` and `apply` on the folder of tilt series."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import starfile
from test_series import left_out, read_stack, twice_shot
from tilts_data import DOSE, PIXEL_A, SHAPE_PX, angle_of, dose_symmetric, write_series

from flexalign.io.motion_formats.read_motion import read_motion
from flexalign.io.movies.open_movie import open_movie
from flexalign.motion import Motion
from flexalign.tilts.record import read_series_record

ANGLES = dose_symmetric(5)
BY_ANGLE = sorted(ANGLES)


@pytest.fixture(scope="module")
def done(tmp_path_factory, module_run):
    """A session of two series that are done; the files of their tilts are gone."""
    folder = tmp_path_factory.mktemp("session")
    for name in ("TS_1", "TS_2"):
        write_series(folder / "frames", name, ANGLES)
    code, _, err = module_run(folder / "frames", "--out", folder / "out")
    assert code == 0, err
    return folder


@pytest.fixture
def session(done, tmp_path):
    """A copy whose movies may be removed."""
    shutil.copytree(done / "out", tmp_path / "out")
    return done, tmp_path


@pytest.fixture
def interop(module_run):
    def call(command, *words):
        return module_run(*words, command=command, jobs=False, refine=True)

    return call


def call_without_threads(command, *words):
    """`export` has no option for threads."""
    done = subprocess.run(
        [sys.executable, "-m", "flexalign", command, *map(str, words)],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def test_the_motion_of_tilts_is_exported_after_their_files_are_gone(session):
    _, folder = session

    code, _, err = call_without_threads("export", folder / "out", "--to", "warp,motioncor,relion")

    assert code == 0, err
    assert "10 tilts in" in err
    for name in ("TS_1", "TS_2"):
        record = read_series_record(folder / "out" / f"{name}_record.json")
        table = starfile.read(folder / "out" / "tomostar" / f"{name}.tomostar")
        assert (-table["wrpAngleTilt"]).tolist() == BY_ANGLE
        for movie, plain in record.movies.items():
            root = Path(movie).stem
            with open_movie(movie) as reader:
                info = reader.info
            expected = Motion.from_dict(plain["motion"]).trajectory.displacement_px
            for file, precision_px in ((".xml", 1e-5), (".aln", 2e-3), ("_motion.star", 1e-5)):
                path = folder / "out" / "tilts" / f"{root}{file}"
                found = read_motion(path, info, PIXEL_A).trajectory.displacement_px
                np.testing.assert_allclose(
                    found - found[0], expected - expected[0], atol=precision_px
                )
    # Once more it is the same; a file that somebody changed is not replaced and costs its tilt.
    changed = folder / "out" / "tilts" / "TS_1_001_0.0.xml"
    changed.write_text("theirs")
    code, _, err = call_without_threads("export", folder / "out", "--to", "warp")
    assert code == 1
    assert "TS_1_001_0.0.xml" in err
    assert "1 of 10 tilts failed" in err
    assert changed.read_text() == "theirs"


def test_stacks_are_made_again_with_other_sums(session, interop):
    _, folder = session

    code, _, err = interop(
        "apply", "--motion", folder / "out", "--out", folder / "again", "--binning", 2,
        "--dose-weight",
    )  # fmt: skip

    assert code == 0, err
    for name in ("TS_1", "TS_2"):
        stack, angles = read_stack(folder / "again" / f"{name}.mrc")
        assert angles == BY_ANGLE
        assert stack.shape == (5, SHAPE_PX[0] // 2, SHAPE_PX[1] // 2)
        assert [angle_of(image) for image in stack] == pytest.approx(BY_ANGLE, abs=1.4)
        with mrcfile.open(folder / "again" / f"{name}_DW.mrc") as file:
            assert file.voxel_size.x == pytest.approx(2 * PIXEL_A)
        even, _ = read_stack(folder / "again" / f"{name}_EVN.mrc")
        odd, _ = read_stack(folder / "again" / f"{name}_ODD.mrc")
        np.testing.assert_allclose((even + odd) / 2, stack, rtol=1e-4, atol=1e-3)
        ours, theirs = (
            read_series_record(folder / where / f"{name}_record.json") for where in ("out", "again")
        )
        for movie, plain in theirs.movies.items():
            assert plain["motion"] == ours.movies[movie]["motion"]
            order = next(t.order for t in theirs.series.tilts if t.movie == movie)
            assert plain["parameters"]["pre_exposure_e_A2"] == DOSE * (order - 1)
    assert not list((folder / "again" / "tilts").glob("*.mrc"))
    assert (folder / "again" / "tilt_series.csv").exists()
    # The same command again does nothing; the folder itself is refused.
    before = (folder / "again" / "TS_1.mrc").stat().st_mtime_ns
    code, _, err = interop(
        "apply", "--motion", folder / "out", "--out", folder / "again", "--binning", 2,
        "--dose-weight",
    )  # fmt: skip
    assert (code, err.count("done before")) == (0, 2)
    assert (folder / "again" / "TS_1.mrc").stat().st_mtime_ns == before
    code, _, err = interop("apply", "--motion", folder / "out", "--out", folder / "out")
    assert code == 3
    assert "another folder" in err


def test_a_tilt_whose_movie_is_gone_is_left_out_and_named(session, interop):
    done, folder = session
    movie = done / "frames" / "TS_1_004_-6.0.mrcs"
    movie.rename(movie.with_suffix(".away"))
    try:
        code, _, err = interop("apply", "--motion", folder / "out", "--out", folder / "again")
    finally:
        movie.with_suffix(".away").rename(movie)

    assert code == 1
    assert "left out, failed: exposure 4" in err
    assert left_out(folder / "again") == {movie.name: "failed"}
    assert read_stack(folder / "again" / "TS_1.mrc")[1] == BY_ANGLE[1:]
    assert read_stack(folder / "again" / "TS_2.mrc")[1] == BY_ANGLE


def test_a_series_that_fails_as_a_whole_is_in_the_table_of_failures(session, interop):
    done, folder = session
    frames = done / "frames"
    moved = [path.rename(path.with_suffix(".away")) for path in frames.glob("TS_1_*.mrcs")]
    try:
        code, _, err = interop("apply", "--motion", folder / "out", "--out", folder / "again")
    finally:
        for path in moved:
            path.rename(path.with_suffix(".mrcs"))

    assert code == 1
    assert "1 of 2 series failed" in err
    (line,) = (folder / "again" / "failed.tsv").read_text().splitlines()[1:]
    assert line.startswith(str(frames / "TS_1.mdoc"))
    assert read_stack(folder / "again" / "TS_2.mrc")[1] == BY_ANGLE

    # Once its movies are back, the same command makes it, and the table is empty again.
    code, _, err = interop("apply", "--motion", folder / "out", "--out", folder / "again")
    assert code == 0, err
    assert len((folder / "again" / "failed.tsv").read_text().splitlines()) == 1
    assert read_stack(folder / "again" / "TS_1.mrc")[1] == BY_ANGLE


@pytest.mark.parametrize(("words", "found"), [("nonsense", "'nonsense'"), (",", "none")])
def test_an_unknown_format_is_said_of_the_option_that_was_typed(session, words, found):
    _, folder = session

    code, _, err = call_without_threads("export", folder / "out", "--to", words)

    assert code == 2
    assert f"--to: expected some of relion, motioncor, warp, found {found}" in err


def test_a_dose_for_all_tilts_is_refused(session, interop):
    _, folder = session

    code, _, err = interop(
        "apply", "--motion", folder / "out", "--out", folder / "again", "--dose-per-frame", 1
    )

    assert code == 2
    assert "--dose-per-frame" in err
    assert not (folder / "again").exists()


def test_tilts_are_exported_whether_or_not_their_files_were_kept(tmp_path, module_run):
    """Of two runs into one folder; movies of one name in two folders have files of their own."""
    for name, words in (("one", ["--save-tilts"]), ("two", []), ("three", [])):
        write_series(tmp_path / name, "TS", ANGLES[:2])
        code, _, err = module_run(tmp_path / name, "--out", tmp_path / "out", *words)
        assert code == 0, err

    code, _, err = call_without_threads("export", tmp_path / "out", "--to", "warp")

    assert code == 0, err
    tables = sorted((tmp_path / "out" / "tomostar").glob("*.tomostar"))
    assert [path.stem for path in tables] == ["TS", "three_TS", "two_TS"]
    names = [name for path in tables for name in starfile.read(path)["wrpMovieName"]]
    assert len(set(names)) == 6
    for name in names:
        assert (tables[0].parent / name).with_suffix(".xml").exists()


def test_what_apply_made_stays_while_another_series_is_made_again(tmp_path, module_run, interop):
    for name in ("one", "two"):
        write_series(tmp_path / name, "TS", ANGLES[:2])
    module_run(tmp_path / "one", tmp_path / "two", "--out", tmp_path / "out")
    words = ("apply", "--motion", tmp_path / "out", "--out", tmp_path / "again")
    assert interop(*words)[0] == 0
    tilts = tmp_path / "again" / "tilts"
    assert not list(tilts.iterdir())

    # Files of tilts are made where they are wanted now.
    code, _, err = interop(*words, "--save-tilts")
    assert (code, err.count("done before")) == (0, 0), err
    first = {path.name: path.stat().st_mtime_ns for path in tilts.glob("TS_*_mic.mrc")}
    for path in (tmp_path / "again").glob("two_TS*"):
        path.unlink()
    code, _, err = interop(*words, "--save-tilts")

    assert (code, err.count("done before")) == (0, 1), err
    assert {path.name: path.stat().st_mtime_ns for path in tilts.glob("TS_*_mic.mrc")} == first
    assert len(list(tilts.glob("two_TS_*_mic.mrc"))) == 2


def test_a_tilt_that_failed_is_applied_again(session, interop):
    done, folder = session
    movie = done / "frames" / "TS_1_004_-6.0.mrcs"
    whole = movie.read_bytes()
    words = ("apply", "--motion", folder / "out", "--out", folder / "again")
    try:
        movie.write_bytes(whole[:500])
        codes = [interop(*words)[0] for _ in range(2)]
    finally:
        movie.write_bytes(whole)
    assert codes == [1, 1]

    code, _, err = interop(*words)

    assert (code, err.count("done before")) == (0, 1), err
    assert read_stack(folder / "again" / "TS_1.mrc")[1] == BY_ANGLE


def test_series_of_one_name_from_two_folders_have_results_of_their_own(
    tmp_path, module_run, interop
):
    for name in ("one", "two"):
        write_series(tmp_path / name, "TS", ANGLES[:2])
        assert module_run(tmp_path / name, "--out", tmp_path / f"{name}_out")[0] == 0
    words = [("--motion", tmp_path / f"{name}_out") for name in ("one", "two")]

    found = [interop("apply", *pair, "--out", tmp_path / "again") for pair in [*words, *words]]

    assert [code for code, _, _ in found] == [0] * 4, found
    for name, folder in (("TS", "one"), ("two_TS", "two")):
        record = read_series_record(tmp_path / "again" / f"{name}_record.json")
        assert record.series.source == str(tmp_path / folder / "TS.mdoc")
        assert read_stack(tmp_path / "again" / f"{name}.mrc")[1] == ANGLES[:2]
    assert [err.count("done before") for _, _, err in found] == [0, 0, 1, 1]


def test_a_folder_whose_series_cannot_be_read_is_refused(session, interop):
    _, folder = session
    for path in (folder / "out").glob("*_record.json"):
        path.write_text("broken")

    code, _, err = interop("apply", "--motion", folder / "out", "--out", folder / "again")

    assert code == 3
    assert "expected finished tilt series, found none" in err
    assert not (folder / "again").exists()


def test_a_tilt_whose_replacement_fails_is_lost_too(tmp_path, module_run, interop):
    """Exposure 7 is missing, and exposure 6 of the same angle goes before `apply`."""
    mdoc = twice_shot(tmp_path / "in", Path.unlink)
    assert module_run(mdoc, "--out", tmp_path / "out")[0] == 0
    (tmp_path / "in" / "TS_006_-3.0.mrcs").unlink()

    code, _, err = interop("apply", "--motion", tmp_path / "out", "--out", tmp_path / "again")

    assert code == 1
    assert "is used instead" not in err
    record = read_series_record(tmp_path / "again" / "TS_record.json")
    assert [tilt.order for tilt in record.losses] == [6, 7]
    assert read_stack(tmp_path / "again" / "TS.mrc")[1] == [-6, 0, 3, 6]
