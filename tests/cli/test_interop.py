"""Alignments for other programs, and from them, through the command line."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
import time

import mrcfile
import numpy as np
import pytest

from flexalign.cli import relion as relion_cli
from flexalign.io.motion_formats.exports import read_records
from flexalign.io.movies.open_movie import open_movie
from flexalign.io.references import load_references
from flexalign.io.relion_project import relion_gain, relion_movie
from flexalign.io.star import read_star
from flexalign.motion import Motion
from flexalign.report.columns import rounded
from flexalign.simulate import simulate_movie

PIXEL = ("--pixel-size", 1.5)


@pytest.fixture
def folder(movie_folder, tmp_path, monkeypatch):
    """A folder with the movies, in which commands run."""
    shutil.copytree(movie_folder, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def movies_star(folder, *names, voltage=200):
    rows = "".join(f"{name} 1\n" for name in names)
    (folder / "movies.star").write_text(
        "data_optics\n\nloop_\n_rlnOpticsGroupName #1\n_rlnOpticsGroup #2\n"
        "_rlnMicrographOriginalPixelSize #3\n_rlnVoltage #4\n_rlnSphericalAberration #5\n"
        f"_rlnAmplitudeContrast #6\nmine 1 1.5 {voltage} 1.4 0.07\n\n"
        f"data_movies\n\nloop_\n_rlnMicrographMovieName #1\n_rlnOpticsGroup #2\n{rows}\n"
    )
    return "movies.star"


def test_all_formats_are_written_beside_the_results(run, folder):
    found = run(
        "align", "a.tiff", "--gain", "a_gain.mrc", *PIXEL, "--out", "out",
        "--write", "relion, motioncor,warp",
    )  # fmt: skip

    assert found.code == 0, found.err
    names = {path.name for path in (folder / "out").iterdir()}
    assert {
        "a_motion.star", "a_PS.mrc", "corrected_micrographs.star", "a_motioncor.log",
        "a-Full.log", "a.aln", "a.xml",
    } <= names  # fmt: skip
    (record,) = read_records("out").values()
    assert record.outputs["relion"] == "a_motion.star"
    assert record.parameters["reference_frame"] == "first"


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--write", "frealign", "relion, motioncor, warp"),
        ("--reference-frame", "middle", "'first'"),
        ("--tiff-rows", "file", "'imod'"),
    ],
)
def test_what_relion_cannot_read_is_refused_before_any_work(run, folder, option, value, message):
    words = ["--write", "relion"] if option != "--write" else []

    found = run("align", "a.tiff", *PIXEL, "--out", "out", *words, option, value)

    assert found.code == 2
    assert message in found.err
    assert not (folder / "out").exists()


def test_finished_movies_are_exported_later(run, folder):
    run("align", "a.tiff", "b.mrc", *PIXEL, "--out", "out")

    found = run(
        "export", "out", "--to", "relion,warp,motioncor", "--spherical-aberration", 1.4,
        "--amplitude-contrast", 0.07,
    )  # fmt: skip

    assert found.code == 0, found.err
    table = read_star(folder / "out" / "corrected_micrographs.star")
    assert table["micrographs"]["rlnMicrographMetadata"] == [
        "out/a_motion.star",
        "out/b_motion.star",
    ]
    assert table["micrographs"]["rlnMicrographName"][0] == "out/a_aligned_mic.mrc"
    assert table["optics"]["rlnSphericalAberration"] == ["1.400000"]
    assert (folder / "out" / "b.xml").exists()
    assert all("warp" in record.outputs for record in read_records("out").values())
    assert found.err.splitlines() == [
        "2 movies in out/corrected_micrographs.star",
        "2 movies: .aln and log files of MotionCor in out",
        "2 movies: .xml files of Warp in out",
    ]


def test_export_of_a_folder_that_does_not_exist_is_refused(run, folder):
    found = run("export", "gone")

    assert found.code == 3
    assert found.err == "error: gone: no such folder\n"


def test_export_of_a_file_instead_of_a_folder_is_refused(run, folder):
    found = run("export", "a.tiff")

    assert found.code == 3
    assert found.err == "error: a.tiff: expected a folder, found a file\n"


def test_messages_of_an_export_name_options(run, folder):
    run("simulate", "--out", ".", "--name", "s", "--size", 768, 768, "--frames", 8)
    words = (
        "--gain",
        "s_gain.mrc",
        *PIXEL,
        "--reference-frame",
        "middle",
        "--no-psd",
        "--out",
        "o",
    )
    run("align", "s.mrc", *words)

    found = run("export", "o")

    said = "s: not the closest polynomial for RELION (align with --write relion): it counts"
    assert said in found.err
    assert "`" not in found.err


def test_export_of_a_folder_without_results_is_refused(run, folder):
    found = run("export", ".")

    assert found.code == 3
    assert "found no '*_record.json'" in found.err


@pytest.mark.parametrize(
    "name", ["a_motion.json", "a_record.json", "a_motion.star", "a.aln", "a.xml", "a_shifts.xmd"]
)
def test_the_same_micrograph_is_made_from_every_file(run, folder, name):
    run("align", "a.tiff", *PIXEL, "--no-local", "--out", "o", "--write", "relion,motioncor,warp")

    found = run("apply", "a.tiff", "--motion", f"o/{name}", *PIXEL, "--out", "again")

    assert found.code == 0, found.err
    expected = mrcfile.read(folder / "o" / "a_aligned_mic.mrc")
    made = mrcfile.read(folder / "again" / "a_aligned_mic.mrc")
    np.testing.assert_allclose(made, expected, atol=0.01 * expected.std())
    (record,) = read_records("again").values()
    assert record.quality.chosen == "given"


def test_other_sums_are_made_without_estimating(run, folder):
    run("align", "a.tiff", *PIXEL, "--out", "o")

    found = run(
        "apply", "a.tiff", "--motion", "o/a_motion.json", *PIXEL, "--out", "again", "--binning", 2,
        "--sum-first", 2, "--sum-last", 5, "--odd-even", "--save-movie", "--dose-per-frame", 2,
    )  # fmt: skip

    assert found.code == 0, found.err
    shapes = {
        path.name: mrcfile.read(path).shape for path in sorted((folder / "again").glob("*.mrc*"))
    }
    assert shapes == {
        "a_aligned_mic.mrc": (80, 96),
        "a_aligned_mic_DW.mrc": (80, 96),
        "a_aligned_mic_EVN.mrc": (80, 96),
        "a_aligned_mic_ODD.mrc": (80, 96),
        "a_aligned_movie.mrcs": (4, 80, 96),
    }
    assert Motion.load("again/a_motion.json").to_dict() == Motion.load("o/a_motion.json").to_dict()


def test_a_folder_of_movies_is_made_again_and_one_that_fails_costs_no_other(run, folder):
    shutil.copy(folder / "b.mrc", folder / "c.mrc")
    shutil.copy(folder / "b.mrc", folder / "d.mrc")
    run("align", "a.tiff", "b.mrc", "c.mrc", *PIXEL, "--out", "o", "--jobs", 0, "--no-report")
    (folder / "c.mrc").write_bytes((folder / "c.mrc").read_bytes()[:5000])
    words = ("apply", "a.tiff", "[bcd].mrc", "--motion", "o", *PIXEL, "--out", "again")

    found = run(*words)

    assert found.code == 1
    assert "c.mrc: expected" in found.err
    assert "d.mrc: expected its alignment in o, found none" in found.err
    assert "2 of 4 movies failed" in found.err
    assert "2 movies done, 0 done before" in found.err
    assert sorted(read_records("again")) == ["a", "b"]
    for name in ("a", "b"):
        ours, theirs = (Motion.load(f"{where}/{name}_motion.json") for where in ("o", "again"))
        assert ours.to_dict() == theirs.to_dict()

    before = (folder / "again" / "a_aligned_mic.mrc").stat().st_mtime_ns
    again = run(*words)
    assert again.code == 1
    assert "0 movies done, 2 done before" in again.err
    assert (folder / "again" / "a_aligned_mic.mrc").stat().st_mtime_ns == before
    other = run(*words, "--binning", 2)
    assert "4 of 4 movies failed" in other.err  # results with other parameters are there
    replaced = run(*words, "--binning", 2, "--overwrite")
    assert "2 movies done" in replaced.err
    assert mrcfile.read(folder / "again" / "a_aligned_mic.mrc").shape == (80, 96)


def test_movies_find_their_files_of_other_programs_by_name(run, folder):
    run("align", "a.tiff", "b.mrc", *PIXEL, "--out", "o", "--jobs", 0, "--write", "warp,motioncor")
    (folder / "w").mkdir()
    for name in ("a", "b"):
        (folder / "o" / f"{name}.xml").rename(folder / "w" / f"{name}.xml")

    found = run("apply", "a.tiff", "b.mrc", "--motion", "w/*.xml", *PIXEL, "--out", "again")

    assert found.code == 0, found.err
    for name in ("a", "b"):
        expected, made = (
            mrcfile.read(folder / where / f"{name}_aligned_mic.mrc") for where in ("o", "again")
        )
        np.testing.assert_allclose(made, expected, atol=0.01 * expected.std())


def test_apply_takes_pixel_size_voltage_and_dose_from_the_mdoc_beside_a_movie(run, folder):
    run("align", "b.mrc", *PIXEL, "--out", "out")
    (folder / "b.mrc.mdoc").write_text(
        "[FrameSet = 0]\nPixelSpacing = 1.5\nVoltage = 200\nExposureDose = 12\nNumSubFrames = 6\n"
    )

    found = run("apply", "b.mrc", "--motion", "out", "--out", "again")

    assert found.code == 0, found.err
    assert "from b.mrc.mdoc" in found.err
    parameters = read_records("again")["b"].parameters
    assert (parameters["voltage_kV"], parameters["dose_per_frame_e_A2"]) == (200, 2)


def test_apply_without_movies_needs_tilt_series(run, folder):
    found = run("apply", "--motion", "a.tiff", "--out", "again")

    assert found.code == 2
    assert "expected movies to apply it to" in found.err


def test_an_option_for_tilts_is_refused_with_movies(run, folder):
    found = run("apply", "a.tiff", "--motion", "out", "--out", "again", "--save-tilts")

    assert found.code == 2
    assert "--save-tilts: expected no such option with movies" in found.err
    assert not (folder / "again").exists()


def test_a_movie_that_cannot_be_exported_costs_no_other(run, folder):
    run("align", "a.tiff", "b.mrc", *PIXEL, "--out", "out", "--jobs", 0, "--no-report")
    (folder / "out" / "a_motion.star").write_text("theirs")
    (folder / "out" / "z_record.json").write_text("{}")

    found = run("export", "out", "--to", "relion,warp")

    assert found.code == 1
    assert "a_motion.star" in found.err
    assert "z_record.json" in found.err
    assert "1 of 2 movies failed" in found.err
    assert (folder / "out" / "a_motion.star").read_text() == "theirs"
    table = read_star(folder / "out" / "corrected_micrographs.star")
    assert table["micrographs"]["rlnMicrographMetadata"] == ["out/b_motion.star"]
    assert (folder / "out" / "average" / "b.mrc").is_symlink()


def test_the_motion_of_another_movie_is_refused(run, folder):
    run("align", "a.tiff", *PIXEL, "--out", "o")
    simulate_movie(shape_px=(160, 192), frame_count=8).save(folder, "c", "mrc")

    found = run("apply", "c.mrc", "--motion", "o/a_motion.json", *PIXEL, "--out", "again")

    assert found.code == 3
    assert "motion of 8 frames" in found.err


def test_a_global_motion_of_a_movie_of_another_size_is_refused(run, folder):
    run("align", "a.tiff", *PIXEL, "--no-local", "--no-refine", "--no-report", "--out", "o")
    simulate_movie(shape_px=(160, 160), frame_count=6).save(folder, "c", "mrc")

    found = run("apply", "c.mrc", "--motion", "o/a_record.json", *PIXEL, "--out", "again")

    assert found.code == 3
    assert "motion of 160 x 160 pixels" in found.err
    assert "found one of 192 x 160" in found.err


def test_a_job_leaves_what_relion_looks_for(run, folder):
    shutil.copytree(folder, folder / "Movies" / "day.1")
    star = movies_star(folder, "Movies/day.1/a.tiff", "Movies/day.1/b.mrc")

    found = run(
        "relion-job", "--in_movies", star, "--o", "External/job005/", "--j", 2, "--dose-per-frame",
        1.5, "--binning", 2,
    )  # fmt: skip

    assert found.code == 0, found.err
    job = folder / "External" / "job005"
    assert (job / "RELION_JOB_EXIT_SUCCESS").exists()
    nodes = read_star(job / "RELION_OUTPUT_NODES.star")["output_nodes"]
    assert nodes["rlnPipeLineNodeName"] == ["External/job005/corrected_micrographs.star"]
    table = read_star(job / "corrected_micrographs.star")
    assert table["micrographs"]["rlnMicrographName"] == [
        "External/job005/Movies/day_1/a.mrc",
        "External/job005/Movies/day_1/b.mrc",
    ]
    assert table["optics"]["rlnMicrographPixelSize"] == ["3.000000"]
    assert table["optics"]["rlnAmplitudeContrast"] == ["0.07"]
    for label in ("rlnMicrographName", "rlnMicrographNameNoDW", "rlnCtfPowerSpectrum"):
        for name in table["micrographs"][label]:
            assert (folder / name).exists(), name
    general = read_star(job / "Movies" / "day_1" / "a.star")["general"]
    assert float(general["rlnVoltage"][0]) == 200
    assert float(general["rlnMicrographBinning"][0]) == 2


def test_each_movie_has_the_pixel_size_of_its_optics_group(run, folder):
    star = folder / movies_star(folder, "a.tiff", "b.mrc")
    text = star.read_text().replace(
        "mine 1 1.5 200 1.4 0.07", "mine 1 1.5 200 1.4 0.07\nyours 2 1.2 300 2.7 0.1"
    )
    star.write_text(text.replace("b.mrc 1", "b.mrc 2"))

    found = run("relion-job", "--in_movies", star, "--o", "job/", "--binning", 2)

    assert found.code == 0, found.err
    table = read_star(folder / "job" / "corrected_micrographs.star")
    assert table["optics"]["rlnMicrographPixelSize"] == ["3.000000", "2.400000"]
    assert table["micrographs"]["rlnOpticsGroup"] == ["1", "2"]
    general = read_star(folder / "job" / "b.star")["general"]
    assert float(general["rlnMicrographOriginalPixelSize"][0]) == 1.2
    assert float(general["rlnVoltage"][0]) == 300


def test_a_job_that_is_started_again_does_the_rest(run, folder):
    star = movies_star(folder, "a.tiff")
    run("relion-job", "--in_movies", star, "--o", "External/job005/")
    first = (folder / "External/job005/a.mrc").stat().st_mtime_ns
    star = movies_star(folder, "a.tiff", "b.mrc")

    found = run("relion-job", "--in_movies", star, "--o", "External/job005/")

    assert found.code == 0, found.err
    assert "b.mrc" in found.out
    assert "a.tiff" not in found.out
    assert (folder / "External/job005/a.mrc").stat().st_mtime_ns == first
    table = read_star(folder / "External/job005/corrected_micrographs.star")
    assert len(table["micrographs"]["rlnMicrographName"]) == 2


def test_movies_that_fail_are_left_out_of_the_table(run, folder):
    (folder / "broken.mrc").write_bytes(b"no movie")
    star = movies_star(folder, "broken.mrc", "b.mrc")

    found = run("relion-job", "--in_movies", star, "--o", "External/job005/")

    assert found.code == 1
    assert "broken.mrc" in found.err
    assert (folder / "External/job005/RELION_JOB_EXIT_SUCCESS").exists()
    table = read_star(folder / "External/job005/corrected_micrographs.star")
    assert table["micrographs"]["rlnMicrographName"] == ["External/job005/b.mrc"]


@pytest.mark.parametrize("problem", ["list", "parameter", "movies"])
def test_a_job_that_fails_says_so_to_relion(run, folder, problem):
    star = movies_star(folder, "none.mrc")
    words = {"list": ["a.tiff"], "parameter": [star, "--binning", 0.5], "movies": [star]}[problem]

    found = run("relion-job", "--o", "External/job005/", "--in_movies", *words)

    assert found.code != 0
    assert found.err.startswith("error")
    job = folder / "External/job005"
    assert [path.name for path in job.glob("RELION_JOB_EXIT_*")] == ["RELION_JOB_EXIT_FAILURE"]


def test_what_a_specimen_had_before_is_taken_from_the_list(run, folder):
    star = folder / movies_star(folder, "a.tiff 3.5")
    text = star.read_text().replace("a.tiff 3.5 1", "a.tiff 1 3.5")
    star.write_text(text.replace("Group #2\na.", "Group #2\n_rlnMicrographPreExposure #3\na."))

    found = run("relion-job", "--in_movies", star, "--o", "job/", "--pre-exposure", 1)

    assert found.code == 0, found.err
    general = read_star(folder / "job" / "a.star")["general"]
    assert float(general["rlnMicrographPreExposure"][0]) == 4.5


def test_movies_that_all_fail_leave_one_error_each(run, folder):
    (folder / "broken.mrc").write_bytes(b"no movie")

    found = run("align", "broken.mrc", *PIXEL, "--out", "out", "--write", "relion")

    assert found.code == 3
    assert found.err.count("error") == 1


@pytest.mark.parametrize("moment", ["before", "within a movie"])
def test_a_request_to_abort_is_honoured(run, folder, monkeypatch, moment):
    job = folder / "External/job005"
    job.mkdir(parents=True)
    star = movies_star(folder, "a.tiff", "b.mrc")
    if moment == "before":
        (job / "RELION_JOB_ABORT_NOW").touch()
    else:
        calls = []

        def asked_in_the_middle(job_folder):
            calls.append(job_folder)
            if len(calls) == 8:
                (job / "RELION_JOB_ABORT_NOW").touch()
            check(job_folder)

        check = relion_cli._check_abort
        monkeypatch.setattr(relion_cli, "_check_abort", asked_in_the_middle)

    found = run("relion-job", "--in_movies", star, "--o", "External/job005/")

    assert found.code == 1
    assert [path.name for path in job.iterdir()] == ["RELION_JOB_EXIT_ABORTED"]


def test_a_running_job_keeps_what_is_finished_when_it_is_aborted(run, folder):
    names = [f"{number}.mrc" for number in range(40)]
    for name in names:
        shutil.copy(folder / "b.mrc", folder / name)
    star = movies_star(folder, *names)
    job = folder / "External" / "job005"
    words = [sys.executable, "-m", "flexalign", "relion-job", "--in_movies", star, "--o", str(job)]

    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while not (job / "0_record.json").exists():
            assert process.poll() is None
            time.sleep(0.05)
        (job / "RELION_JOB_ABORT_NOW").touch()
        process.wait(60)

    assert (job / "RELION_JOB_EXIT_ABORTED").exists()
    assert not (job / "RELION_JOB_ABORT_NOW").exists()
    finished = [path.name.removesuffix("_record.json") for path in job.glob("*_record.json")]
    assert 1 <= len(finished) < len(names)
    assert {path.stem for path in job.glob("*.star")} == set(finished)


@pytest.mark.parametrize("options", [(), ("--gain-rotate", 180), ("--gain-sense", "divide")])
def test_relion_is_given_a_gain_that_it_reads_as_we_do(run, folder, options):
    defects = folder / "bad.txt"
    defects.write_text("10 20 3 2\n")
    words = ["--gain", "a_gain.mrc", "--gain-check", "off", "--defects", "bad.txt", *options]
    run("align", "a.tiff", *PIXEL, "--no-local", "--out", "o", "--write", "relion", *words)
    (record,) = read_records("o").values()

    name = relion_gain(record, "o")

    given = read_star(folder / "o" / "a_motion.star")["general"]["rlnMicrographGainName"]
    assert given == [name]
    for_us = load_references(
        record.movie, gain="a_gain.mrc", defects=defects,
        gain_rotate=record.parameters["gain_rotate"], gain_sense=record.parameters["gain_sense"],
    )  # fmt: skip
    for_relion = load_references(record.movie, gain=name)
    good = ~for_us.defects
    np.testing.assert_allclose(for_relion.gain[good], for_us.gain[good], rtol=1e-6)
    np.testing.assert_array_equal(for_relion.defects, for_us.defects)


def test_a_gain_that_fits_is_named_as_it_is(run, folder):
    run(
        "align", "a.tiff", "--gain", "a_gain.mrc", *PIXEL, "--no-local", "--out", "o",
        "--write", "relion",
    )  # fmt: skip

    general = read_star(folder / "o" / "a_motion.star")["general"]
    assert general["rlnMicrographGainName"] == ["a_gain.mrc"]


@pytest.mark.parametrize("upsampling", [1, 2])
def test_eer_movies_say_how_they_were_rendered(run, folder, upsampling):
    movie = simulate_movie(
        shape_px=(128, 160), frame_count=5, pixel_size_A=1.5, electrons_per_px=0.5, seed=1
    )
    movie.save(folder, "e", "eer", raw_frames_per_frame=4)

    run(
        "align", "e.eer", "--eer-fractions", 6, "--eer-upsampling", upsampling, *PIXEL, "--out",
        "o", "--no-local", "--gain", "e.gain", "--write", "relion",
    )  # fmt: skip

    general = read_star(folder / "o" / "e_motion.star")["general"]
    assert general["rlnEERUpsampling"] == [str(upsampling)]
    assert general["rlnEERGrouping"] == ["3"]  # 20 raw frames in 6 fractions, 2 are left over
    assert general["rlnImageSizeZ"] == ["6"]
    assert general["rlnImageSizeX"] == [str(160 * upsampling)]
    assert float(general["rlnMicrographOriginalPixelSize"][0]) == 1.5 / upsampling
    (record,) = read_records("o").values()
    made = load_references(record.movie, gain=general["rlnMicrographGainName"][0])
    with open_movie(folder / "e.eer", eer_fractions=6, eer_upsampling=upsampling) as reader:
        ours = load_references(reader.info, gain=folder / "e.gain")
    ratio = made.gain / ours.gain  # RELION's mean is one, ours need not be
    np.testing.assert_allclose(ratio, ratio.mean(), rtol=1e-5)
    movie_facts = relion_movie(record, Motion.from_dict(record.motion))
    assert movie_facts.eer_grouping == 3


def test_motion_is_the_same_number_in_all_tables(run, folder):
    options = (*PIXEL, "--dose-per-frame", "1.5", "--write", "relion", "--jobs", "0", "--no-psd")

    run("align", "a.tiff", "b.mrc", "--out", "out", *options)

    out = folder / "out"
    records = {path.name[0]: json.loads(path.read_text()) for path in out.glob("*_record.json")}
    tables = [
        read_star(out / name)["micrographs"]
        for name in ("micrographs.star", "corrected_micrographs.star")
    ]
    with (out / "micrographs.csv").open() as file:
        rows = list(csv.DictReader(file))
    report = json.loads((out / "report.json").read_text())["movies"]
    for part in ("total", "early", "late"):
        name = f"{part}_motion_A"
        expected = [records[root]["quality"][name] for root in "ab"]
        assert expected[0] > 0
        found = [table[f"rlnAccumMotion{part.title()}"] for table in tables]
        for values in [*found, [row[name] for row in rows]]:
            assert [float(value) for value in values] == pytest.approx(expected, abs=1e-3), part
        assert [row[name] for row in report] == rounded(expected, 4), part
