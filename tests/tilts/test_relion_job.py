"""A job of RELION 5 over tilt series: its tables, column by column, and how it ends and goes on.

The expected tables are written by hand from RELION's source, branch ver5.0: `TomogramSet` (which
columns are read, and that the table of a series is sorted by pre-exposure), `MotioncorrRunner` (the
columns that a motion correction adds, in their order) and `pipeline_jobs.h` (the type of the node).
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import mrcfile
import pytest
import starfile
from test_sources import write_relion
from tilts_data import angle_of, dose_symmetric, write_movie

from flexalign.io.motion_formats.relion import RelionMicrograph
from flexalign.io.motion_formats.relion_reading import read_motion_star
from flexalign.io.relion_project import OutputNode, write_nodes
from flexalign.io.relion_tilt_series import (
    CorrectedSeries,
    ListedSeries,
    corrected_table,
    read_series_list,
    write_corrected_series,
)
from flexalign.io.star import read_star

JOB = "External/job002"
GLOBAL = """
data_global

loop_
_rlnTomoName #1
_rlnTomoTiltSeriesStarFile #2
_rlnVoltage #3
_rlnSphericalAberration #4
_rlnAmplitudeContrast #5
_rlnMicrographOriginalPixelSize #6
_rlnTomoHand #7
_rlnOpticsGroupName #8
"""
# By pre-exposure; the fourth tilt is broken.
EXPECTED = """
data_TS_1

loop_
_rlnMicrographMovieName #1
_rlnTomoTiltMovieFrameCount #2
_rlnTomoNominalStageTiltAngle #3
_rlnTomoNominalTiltAxisAngle #4
_rlnMicrographPreExposure #5
_rlnTomoNominalDefocus #6
_rlnCtfPowerSpectrum #7
_rlnMicrographNameEven #8
_rlnMicrographNameOdd #9
_rlnMicrographName #10
_rlnMicrographMetadata #11
frames/TS_1_001_0.0.mrcs 4 0.00000 85.3 0.000000 -4.0 {0}_PS.mrc {0}_EVN.mrc {0}_ODD.mrc {0}.mrc {0}.star
frames/TS_1_002_3.0.mrcs 4 3.00000 85.3 3.000000 -4.0 {1}_PS.mrc {1}_EVN.mrc {1}_ODD.mrc {1}.mrc {1}.star
frames/TS_1_003_-3.0.mrcs 4 -3.00000 85.3 6.000000 -4.0 {2}_PS.mrc {2}_EVN.mrc {2}_ODD.mrc {2}.mrc {2}.star
frames/TS_1_005_6.0.mrcs 4 6.00000 85.3 12.000000 -4.0 {3}_PS.mrc {3}_EVN.mrc {3}_ODD.mrc {3}.mrc {3}.star
""".format(*(f"{JOB}/tilts/TS_1_{n}" for n in ("001_0_0", "002_3_0", "003_-3_0", "005_6_0")))  # noqa: E501
LACKING = "{}: expected the columns that RELION 5 writes on import, found none of the name _{};"
MOTION = ["rlnAccumMotionTotal", "rlnAccumMotionEarly", "rlnAccumMotionLate"]


@pytest.fixture
def project(tmp_path):
    """A project with a series TS_1 of five tilts, and TS_2 whose movies are not there."""
    write_relion(tmp_path, dose_symmetric(5))
    table = (tmp_path / "tilt_series" / "TS_1.star").read_text()
    (tmp_path / "tilt_series" / "TS_2.star").write_text(table.replace("TS_1", "TS_2"))
    rows = "".join(
        f"{name} tilt_series/{name}.star 200.000000 2.700000 0.100000 1.500000 -1.000000 optics1\n"
        for name in ("TS_1", "TS_2")
    )
    (tmp_path / "tilt_series.star").write_text(GLOBAL + rows)
    (tmp_path / "default_pipeline.star").write_text("data_pipeline_general\n")
    return tmp_path


def start(project, *words, series="tilt_series.star"):
    """The job, as RELION starts it in its project."""
    return subprocess.Popen(
        [sys.executable, "-m", "flexalign", "relion-job", "--o", f"{JOB}/", "--in_movies", series,
         *map(str, words), "--j", "1", "--no-refine"],
        cwd=project, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def run_job(project, *words, **options):
    """Exit code, output and errors of the job."""
    process = start(project, *words, **options)
    out, err = process.communicate(timeout=600)
    return process.returncode, out, err


def ending(project):
    return [path.name.split("_")[-1] for path in (project / JOB).glob("RELION_JOB_EXIT_*")]


def written_by_hand(project):
    (project / "by_hand.star").write_text(EXPECTED)
    return read_star(project / "by_hand.star")["TS_1"]


def test_the_tables_are_those_of_relion_column_by_column_and_the_job_goes_on(project):
    broken = project / "frames" / "TS_1_004_-6.0.mrcs"
    broken.write_bytes(broken.read_bytes()[:3000])

    code, out, err = run_job(project, "--odd-even")

    assert code == 1, err  # tilts are lost
    assert ending(project) == ["SUCCESS"]
    assert "left out, unreadable: exposure 4" in err
    assert "TS_1_005_6.0.mrcs: motion" in out
    job = project / JOB
    table = read_star(job / "tilt_series" / "TS_1.star")
    expected = written_by_hand(project)
    assert list(table) == ["TS_1"]
    assert list(table["TS_1"]) == [*expected, *MOTION]
    for label, words in expected.items():
        assert table["TS_1"][label] == words, label
    for total, early, late in zip(*(table["TS_1"][label] for label in MOTION), strict=True):
        assert float(total) == pytest.approx(float(early) + float(late), abs=2e-6)
        assert float(total) > 3  # of 3 frames' steps of (1, 2) pixels
    # TS_2 has no movie: it is no row.  The pixel size of the micrographs is added to the columns.
    series = read_star(job / "corrected_tilt_series.star")["global"]
    assert series == {
        "rlnTomoName": ["TS_1"],
        "rlnTomoTiltSeriesStarFile": [f"{JOB}/tilt_series/TS_1.star"],
        "rlnVoltage": ["200.000000"],
        "rlnSphericalAberration": ["2.700000"],
        "rlnAmplitudeContrast": ["0.100000"],
        "rlnMicrographOriginalPixelSize": ["1.500000"],
        "rlnTomoHand": ["-1.000000"],
        "rlnOpticsGroupName": ["optics1"],
        "rlnTomoTiltSeriesPixelSize": ["1.500000"],
    }
    nodes = read_star(job / "RELION_OUTPUT_NODES.star")["output_nodes"]
    assert nodes == {
        "rlnPipeLineNodeName": [f"{JOB}/corrected_tilt_series.star"],
        "rlnPipeLineNodeTypeLabel": ["TomogramGroupMetadata.star.relion.tomo.motioncorr"],
    }
    check_as_relions_python_programs_read_it(project)
    check_files_of_tilts(project, table["TS_1"])

    # Continue: what is missing is done, the others stay.
    (job / "tilts" / "TS_1_002_3_0_EVN.mrc").unlink()
    _, out, _ = run_job(project, "--odd-even")
    assert [line.split(":")[0] for line in out.splitlines() if ": motion" in line] == [
        "TS_1_002_3.0.mrcs"
    ]
    assert (job / "tilts" / "TS_1_002_3_0_EVN.mrc").exists()
    # A movie that is whole now is one more tilt of its series.
    write_movie(broken, -6.0)
    code, _, err = run_job(project, "--odd-even")
    assert code == 1, err  # TS_2 is still lost
    assert ending(project) == ["SUCCESS"]
    again = read_star(job / "tilt_series" / "TS_1.star")["TS_1"]
    assert again["rlnMicrographPreExposure"] == [f"{3 * n:.6f}" for n in range(5)]


def check_as_relions_python_programs_read_it(project):
    """By `starfile`, as RELION's programs for alignment, exclusion and denoising read it."""
    job = project / JOB
    listed = starfile.read(job / "corrected_tilt_series.star", always_dict=True)["global"]
    row = listed.set_index("rlnTomoName", drop=False).loc["TS_1"]
    tilts = starfile.read(project / row["rlnTomoTiltSeriesStarFile"], always_dict=True)["TS_1"]
    assert tilts["rlnTomoNominalStageTiltAngle"].tolist() == [0, 3, -3, 6]
    for label in ("rlnMicrographName", "rlnMicrographNameEven", "rlnCtfPowerSpectrum"):
        assert all((project / name).is_file() for name in tilts[label])


def check_files_of_tilts(project, table):
    """Each micrograph is that of its angle, and its metadata are those of its movie."""
    for row, angle in enumerate(map(float, table["rlnTomoNominalStageTiltAngle"])):
        with mrcfile.open(project / table["rlnMicrographName"][row]) as file:
            assert angle_of(file.data) == pytest.approx(angle, abs=1.4)
            assert file.voxel_size.x == pytest.approx(1.5)
        movie, motion = read_motion_star(project / table["rlnMicrographMetadata"][row])
        assert movie.movie_name == table["rlnMicrographMovieName"][row]
        assert movie.pre_exposure_e_A2 == float(table["rlnMicrographPreExposure"][row])
        assert (movie.frame_count, motion.frame_count) == (4, 4)
        assert movie.dose_per_frame_e_A2 == pytest.approx(0.75)


def test_relion_3s_reader_of_tables_finds_every_column(project, monkeypatch):
    """Of a series whose second tilt failed; the program knows any label."""
    if shutil.which("relion_star_printtable") is None:
        pytest.skip("RELION is not installed (apt-get install relion)")
    monkeypatch.chdir(project)
    job = Path(JOB)
    job.mkdir(parents=True)
    listed = read_series_list("tilt_series.star")[0]
    micrographs = {
        row: RelionMicrograph(
            f"{row}.mrc", f"{row}.star", (3.0, 1.0, 2.0), even="e.mrc", odd="o.mrc"
        )
        for row in (0, 2, 3, 4)
    }

    listing = write_corrected_series(job, [CorrectedSeries(listed, "TS_1.star", 1.5, micrographs)])

    for path, block, count in (
        (job / "tilt_series" / "TS_1.star", "TS_1", 4),
        (listing, "global", 1),
    ):
        columns = read_star(path)[block]
        said = subprocess.run(
            ["relion_star_printtable", str(path), f"data_{block}", *columns],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        rows = [line.split() for line in said.stdout.splitlines()]
        assert len(rows) == count
        assert rows == [list(row) for row in zip(*columns.values(), strict=True)]


def test_even_and_odd_are_columns_only_where_they_are_written(tmp_path):
    tilts = {"rlnMicrographPreExposure": ["6", "0", "3"], "rlnMicrographMovieName": ["c", "a", "b"]}
    listed = ListedSeries("TS", Path("TS.star"), {}, tilts)
    motion = (3.0, 1.0, 2.0)
    both = RelionMicrograph("m.mrc", "m.star", motion, even="e.mrc", odd="o.mrc")
    weighted = RelionMicrograph("w.mrc", "m.star", motion, not_weighted="m.mrc")

    mixed = corrected_table(listed, {0: both, 2: weighted, 1: both})
    pair = corrected_table(listed, {0: both, 2: both})

    assert mixed["rlnMicrographMovieName"] == ["a", "b", "c"]
    assert mixed["rlnMicrographName"] == ["m.mrc"] * 3
    assert "rlnMicrographNameEven" not in mixed
    assert "rlnCtfPowerSpectrum" not in mixed
    assert (pair["rlnMicrographNameEven"], pair["rlnMicrographNameOdd"]) == (
        ["e.mrc", "e.mrc"], ["o.mrc", "o.mrc"],
    )  # fmt: skip
    assert pair["rlnMicrographPreExposure"] == ["3", "6"]


@pytest.mark.parametrize(
    ("pipeline", "types"),
    [
        (None, {"rlnPipeLineNodeType": ["1"], "rlnPipeLineNodeTypeLabel": ["label"]}),
        ("_rlnPipeLineNodeType #2", {"rlnPipeLineNodeType": ["1"]}),
        (
            "_rlnPipeLineNodeTypeLabel #2",
            {"rlnPipeLineNodeType": ["1"], "rlnPipeLineNodeTypeLabel": ["label"]},
        ),
    ],
)
def test_the_type_of_a_node_is_one_that_the_project_knows(tmp_path, monkeypatch, pipeline, types):
    """RELION 3.1 warns of a label."""
    monkeypatch.chdir(tmp_path)
    if pipeline is not None:
        Path("default_pipeline.star").write_text(f"data_pipeline_nodes\n\nloop_\n{pipeline}\n")

    write_nodes(tmp_path, OutputNode(Path("job/table.star"), "label", 1))

    nodes = read_star("RELION_OUTPUT_NODES.star")["output_nodes"]
    assert nodes == {"rlnPipeLineNodeName": ["job/table.star"], **types}


@pytest.mark.parametrize(
    ("file", "change", "words", "message", "code"),
    [
        ("tilt_series.star", ("", ""), ("--dose-per-frame", 1), "--dose-per-frame", 2),
        (
            "tilt_series.star",
            ("rlnSphericalAberration", "rlnOther"),
            (),
            LACKING.format("error: tilt_series.star", "rlnSphericalAberration"),
            3,
        ),
        (
            "tilt_series/TS_1.star",
            ("rlnMicrographPreExposure", "rlnOther"),
            (),
            LACKING.format("tilt_series/TS_1.star", "rlnMicrographPreExposure"),
            3,
        ),
        ("tilt_series.star", ("TS_2 ", "TS_1 "), (), "different names, found TS_1 twice", 3),
        ("tilt_series.star", ("/TS_2.star", "/TS_3.star"), (), "TS_3.star", 3),
    ],
)
def test_what_cannot_be_a_job_is_a_failure_before_any_work(
    project, file, change, words, message, code
):
    path = project / file
    path.write_text(path.read_text().replace(*change))

    found, _, err = run_job(project, *words)

    assert found == code
    assert message in err
    assert ending(project) == ["FAILURE"]
    assert [path.name for path in (project / JOB).iterdir()] == ["RELION_JOB_EXIT_FAILURE"]


def test_notes_recommend_no_option_that_a_job_has_not(project):
    """Of a table without tilt axis, whose pixel size is not that of the movies, without doses."""
    table = project / "tilt_series" / "TS_1.star"
    text = table.read_text().replace("_rlnTomoNominalTiltAxisAngle", "_rlnOther")
    for before in ("3.000000", "6.000000", "9.000000", "12.000000"):
        text = text.replace(before, "0.000000")
    table.write_text(text)
    (project / "tilt_series.star").write_text(
        GLOBAL + "TS_1 tilt_series/TS_1.star 200 2.7 0.1 1.2 -1 optics1\n"
    )

    _, out, err = run_job(project)

    said = out + err
    assert "the direction of the tilt axis is not known" in said
    assert "1.2 A by the metadata and 1.5 A by the movies" in said
    assert "the dose is not known" in said
    assert "give --" not in said


def test_the_tables_that_are_read_are_never_replaced(project):
    before = (project / "tilt_series" / "TS_1.star").read_text()
    words = ["relion-job", "--o", "./", "--in_movies", "tilt_series.star"]

    done = subprocess.run(
        [sys.executable, "-m", "flexalign", *words],
        cwd=project, text=True, capture_output=True, check=False, timeout=300,
    )  # fmt: skip

    assert done.returncode == 3
    assert "would replace tilt_series/TS_" in done.stderr
    assert (project / "tilt_series" / "TS_1.star").read_text() == before
    assert not (project / "tilts").exists()


def test_a_job_without_any_tilt_is_a_failure(project):
    for movie in (project / "frames").iterdir():
        movie.unlink()

    code, _, err = run_job(project)

    assert code == 3, err
    assert ending(project) == ["FAILURE"]
    assert not (project / JOB / "corrected_tilt_series.star").exists()


def test_a_request_to_abort_ends_the_job_and_keeps_what_is_finished(project):
    job = project / JOB
    job.mkdir(parents=True)
    (job / "RELION_JOB_ABORT_NOW").touch()
    assert run_job(project)[0] == 1
    assert [path.name for path in job.iterdir()] == ["RELION_JOB_EXIT_ABORTED"]

    write_relion(project, dose_symmetric(31))
    listed = GLOBAL + "TS_1 tilt_series/TS_1.star 200 2.7 0.1 1.5 -1 optics1\n"
    (project / "tilt_series.star").write_text(listed)
    process = start(project)
    while not list(job.glob("tilts/*_record.json")):
        assert process.poll() is None
        time.sleep(0.02)
    (job / "RELION_JOB_ABORT_NOW").touch()
    _, err = process.communicate(timeout=120)

    assert process.returncode == 1, err
    assert ending(project) == ["ABORTED"]
    assert not (job / "RELION_JOB_ABORT_NOW").exists()
    finished = [path.name for path in job.glob("tilts/*_record.json")]
    assert 1 <= len(finished) < 31
    assert (job / "tilts" / "TS_1_001_0_0.mrc").exists()
    assert not (job / "corrected_tilt_series.star").exists()


def test_series_that_share_a_file_keep_their_own_tables(project):
    """RELION finds the table of a series by the name of its block, in whatever file it is."""
    shared, other = (project / "tilt_series" / f"TS_{n}.star" for n in (1, 2))
    for n in range(5):
        movie = next(project.glob(f"frames/TS_1_00{n + 1}_*"))
        movie.with_name(movie.name.replace("TS_1", "TS_2")).write_bytes(movie.read_bytes())
    shared.write_text(f"{shared.read_text()}\n{other.read_text()}")
    other.unlink()
    listed = project / "tilt_series.star"
    listed.write_text(listed.read_text().replace("TS_2.star", "TS_1.star"))

    code, _, err = run_job(project)

    assert code == 0, err
    corrected = read_star(project / JOB / "corrected_tilt_series.star")["global"]
    assert corrected["rlnTomoName"] == ["TS_1", "TS_2"]
    for name, file in zip(["TS_1", "TS_2"], corrected["rlnTomoTiltSeriesStarFile"], strict=True):
        assert file == f"{JOB}/tilt_series/{name}.star"
        table = read_star(project / file)[name]
        assert len(table["rlnMicrographName"]) == 5
        for label in ("rlnMicrographMovieName", "rlnMicrographName", "rlnMicrographMetadata"):
            assert all(name in word for word in table[label])


def test_an_earlier_exposure_has_the_row_of_one_that_fails(project):
    path = write_relion(project, [*dose_symmetric(5), -3.01])
    path.write_text(GLOBAL + "TS_1 tilt_series/TS_1.star 200 2.7 0.1 1.5 -1 optics1\n")
    with mrcfile.open(project / "frames" / "TS_1_006_-3.0.mrcs", "r+") as file:
        file.data[:] = 0

    for expected in (["001", "002", "003", "004", "005"], []):  # the second time as Continue
        code, out, err = run_job(project)
        assert code == 1, err
        aligned = [line[5:8] for line in out.splitlines() if ": motion" in line]
        assert sorted(aligned) == expected
        assert "exposure 3 of this angle is used instead" in err
        table = read_star(project / JOB / "tilt_series" / "TS_1.star")["TS_1"]
        assert table["rlnMicrographPreExposure"] == [f"{3 * n:.6f}" for n in range(5)]
        check_files_of_tilts(project, table)
