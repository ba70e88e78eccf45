"""RELION's own programs take our files for those of their own, and we take theirs."""

from __future__ import annotations

import numpy as np
import pytest

from flexalign.io.motion_formats.relion_reading import read_motion_star
from flexalign.io.movies.eer_writer import write_eer
from flexalign.io.star import read_star, star_loop, write_star
from flexalign.motion import Motion
from flexalign.simulate import motion_error_px

PIXEL_SIZE_A = 1.8
GAIN = "Movies/a.b_gain.mrc"
MOVIES = {"mrc": ("Movies/a.b.mrc", "a.b", "a_b"), "tiff": ("Movies/c.tiff", "c", "c")}
DOSE = 1.0
# Below half of Nyquist, bilinear and cubic interpolation are nearly the same.
HALF_NYQUIST = 0.125


def apply_motion(flexalign, project, movie, motion, out, *options):
    flexalign(
        project.folder, "apply", movie, "--motion", motion, "--gain", GAIN,
        "--pixel-size", project.movie.settings.pixel_size_A, "--out", out, *options,
    )  # fmt: skip


def test_relion_finds_nothing_left_to_do_and_the_same_motion_in_our_files(project, relion, our_job):
    table = project.folder / our_job / "corrected_micrographs.star"
    ours = read_star(table)["micrographs"]
    movies = project.movies_star("Movies/a.b.mrc", "Movies/c.tiff")

    said = relion(
        project.folder, "run_motioncorr", "--i", movies, "--o",
        our_job + "/", "--use_own", "--only_do_unfinished", "--dose_weighting", "--save_noDW",
        "--grouping_for_ps", 4,
    )  # fmt: skip

    assert " * " not in said  # it lists each movie that it works on
    theirs = read_star(table)["micrographs"]
    assert set(theirs) == set(ours)
    for label, words in theirs.items():
        if label.startswith("rlnAccumMotion"):
            # RELION writes pixels of the unbinned movie, although the label says Angstrom.
            theirs_A = [float(word) * PIXEL_SIZE_A for word in words]
            assert theirs_A == pytest.approx(list(map(float, ours[label])), abs=2e-4)
        else:
            assert words == ours[label], label


@pytest.mark.parametrize("kind", MOVIES)
def test_the_true_motion_is_in_the_file_that_relion_reads(project, our_job, kind):
    _, _, root = MOVIES[kind]
    facts, motion = read_motion_star(project.folder / our_job / "Movies" / f"{root}.star")

    assert facts.shape_px == project.movie.settings.shape_px
    assert motion_error_px(motion, project.movie).rms_px < 0.12
    assert motion_error_px(Motion.still(10), project.movie).rms_px > 2
    assert motion.field is not None


@pytest.mark.parametrize("kind", MOVIES)
def test_along_relions_motion_our_micrograph_is_relions(
    project, flexalign, relion_job, tmp_path, correlation, image, kind
):
    movie, ours, theirs = MOVIES[kind]
    star = f"{relion_job}/Movies/{theirs}.star"
    assert read_motion_star(project.folder / star)[1].field is not None

    apply_motion(flexalign, project, movie, star, tmp_path, "--dose-per-frame", DOSE)

    for mine, other in (("", "_noDW"), ("_DW", "")):
        found = image(tmp_path / f"{ours}_aligned_mic{mine}.mrc")
        expected = image(project.folder / relion_job / "Movies" / f"{theirs}{other}.mrc")
        assert correlation(found, expected, HALF_NYQUIST) > 0.999


@pytest.mark.parametrize(
    "change",
    [
        lambda dy, dx: (-dy, -dx),
        lambda dy, dx: (dx, dy),
        lambda dy, dx: (-dy, dx),
    ],
    ids=["other sign", "axes swapped", "rows turned over"],
)
def test_along_a_motion_in_another_convention_it_would_not_be(
    project, flexalign, relion_job, tmp_path, correlation, image, change
):
    movie, _, theirs = MOVIES["mrc"]
    facts, motion = read_motion_star(project.folder / relion_job / "Movies" / f"{theirs}.star")
    path = motion.trajectory.displacement_px
    changed = np.stack(change(path[:, 0], path[:, 1]), axis=1)
    write_star(
        tmp_path / "changed.star",
        [
            f"data_general\n_rlnImageSizeX {facts.shape_px[1]}\n_rlnImageSizeY {facts.shape_px[0]}"
            f"\n_rlnImageSizeZ {facts.frame_count}\n_rlnMicrographMovieName {movie}\n",
            star_loop(
                "global_shift",
                {
                    "rlnMicrographFrameNumber": list(range(1, len(path) + 1)),
                    "rlnMicrographShiftX": [float(-x) for x in changed[:, 1]],
                    "rlnMicrographShiftY": [float(-y) for y in changed[:, 0]],
                },
            ),
        ],
    )

    apply_motion(flexalign, project, movie, tmp_path / "changed.star", tmp_path)

    found = image(tmp_path / "a.b_aligned_mic.mrc")
    expected = image(project.folder / relion_job / "Movies" / f"{theirs}_noDW.mrc")
    assert correlation(found, expected, HALF_NYQUIST) < 0.9


def test_binning_and_frame_ranges_are_relions(
    project, relion, flexalign, tmp_path, correlation, image
):
    movies = project.movies_star(*(name for name, _, _ in MOVIES.values()))
    relion(
        project.folder, "run_motioncorr", "--i", movies, "--o", "MotionCorr/job009/", "--use_own",
        "--bin_factor", 2, "--first_frame_sum", 3, "--last_frame_sum", 9, "--gainref", GAIN,
        "--j", 2,
    )  # fmt: skip

    apply_motion(
        flexalign, project, "Movies/c.tiff", "MotionCorr/job009/Movies/c.star", tmp_path,
        "--binning", 2,
    )  # fmt: skip

    found = image(tmp_path / "c_aligned_mic.mrc")
    expected = image(project.folder / "MotionCorr/job009/Movies/c.mrc")
    assert found.shape == expected.shape
    assert correlation(found, expected, 2 * HALF_NYQUIST) > 0.999


def test_the_power_spectrum_is_relions(project, relion_job, our_job, image):
    ours, theirs = (
        image(project.folder / job / "Movies" / "a_b_PS.mrc") for job in (our_job, relion_job)
    )

    assert ours.shape == theirs.shape == (512, 512)
    middle = np.hypot(*(np.indices(ours.shape) - 256)) < 10  # there the mean of the image rings
    # Each fills hot pixels at random, which is white in the spectrum.
    assert np.corrcoef(ours[~middle], theirs[~middle])[0, 1] > 0.99


@pytest.mark.parametrize("place", [(100, 500), (333, 77)])
def test_relion_cuts_particles_from_our_micrograph_at_their_places(
    project, relion, our_job, tmp_path, place, stack
):
    y, x = place
    columns = {"rlnCoordinateX": [float(x)], "rlnCoordinateY": [float(y)]}
    (tmp_path / "Movies").mkdir()
    write_star(tmp_path / "Movies" / "a_b_pick.star", [star_loop("", columns)])

    relion(
        project.folder, "preprocess", "--i", f"{our_job}/corrected_micrographs.star",
        "--coord_dir", f"{tmp_path}/", "--coord_suffix", "_pick.star", "--part_dir",
        f"{tmp_path}/out/", "--part_star", f"{tmp_path}/out/particles.star", "--extract",
        "--extract_size", 64,
    )  # fmt: skip

    (box,) = stack(tmp_path / "out" / "Movies" / "a_b.mrcs")
    (micrograph,) = stack(project.folder / our_job / "Movies" / "a_b.mrc")
    np.testing.assert_allclose(box, micrograph[y - 32 : y + 32, x - 32 : x + 32], rtol=1e-5)
    found = read_star(tmp_path / "out" / "particles.star")
    assert found["optics"]["rlnImagePixelSize"] == ["1.800000"]


def test_relions_pipeline_runs_the_job_and_finds_its_table(tmp_path, relion, flexalign, project):
    (tmp_path / "Movies").symlink_to(project.folder / "Movies")
    (tmp_path / "Import").symlink_to(project.folder / "Import")
    project.movies_star("Movies/c.tiff")
    (tmp_path / "default_pipeline.star").write_text(
        "# version 30001\n\ndata_pipeline_general\n\n_rlnPipeLineJobCounter 4\n"
    )
    program = flexalign.program(tmp_path)
    relion(
        tmp_path, "pipeliner", "--addJob", "External", "--addJobOptions",
        f"External executable: == {program} relion-job --gain {GAIN};"
        "Input movies:  == Import/job001/movies.star",
    )  # fmt: skip

    said = relion(
        tmp_path, "pipeliner", "--RunJobs", "External/job004/", "--schedule", "test",
        "--sec_wait_after", 0,
    )  # fmt: skip

    assert "WARNING" not in said
    pipeline = read_star(tmp_path / "default_pipeline.star")
    assert pipeline["pipeline_processes"]["rlnPipeLineProcessStatus"] == ["2"]  # finished
    table = "External/job004/corrected_micrographs.star"
    assert table in pipeline["pipeline_nodes"]["rlnPipeLineNodeName"]
    assert (tmp_path / table).exists()


SIDE, GROUPS, RAW_PER_GROUP = 4096, 6, 2
DRIFT_PX = np.array([1.6, -3.1])  # (y, x) per group


@pytest.fixture(scope="module")
def eer_project(tmp_path_factory):
    """A project with Movies/e.eer, which RELION takes only at 4096 x 4096."""
    folder = tmp_path_factory.mktemp("eer")
    (folder / "Movies").mkdir()
    rng = np.random.default_rng(0)
    beads = rng.uniform(0, SIDE, (3000, 2)) ** [1.0, 1.1] % SIDE

    def raw_frames():
        for frame in range(GROUPS * RAW_PER_GROUP):
            bead = beads[rng.integers(len(beads), size=250_000)]
            place = bead + rng.normal(scale=4.0, size=bead.shape)
            place = place + DRIFT_PX * (frame // RAW_PER_GROUP)
            pixel = np.floor(place).astype(np.int64)
            inside = ((pixel >= 0) & (pixel < SIDE)).all(axis=1)
            flat = np.unique(pixel[inside] @ [SIDE, 1])
            yield 4 * np.stack(np.divmod(flat, SIDE), axis=1) + 1

    write_eer(
        folder / "Movies" / "e.eer", raw_frames(),
        height_px=SIDE, width_px=SIDE, codec=65001, pixel_size_A=1.8,
    )  # fmt: skip
    return folder


@pytest.mark.slow
def test_eer_movies_are_read_alike(eer_project, relion, flexalign, correlation, image, project):
    listed = project._replace(folder=eer_project).movies_star("Movies/e.eer")
    relion(
        eer_project, "run_motioncorr", "--i", listed, "--o", "MotionCorr/job002/", "--use_own",
        "--eer_grouping", RAW_PER_GROUP, "--bin_factor", 4, "--j", 2, "--skip_defect",
    )  # fmt: skip
    flexalign(
        eer_project, "relion-job", "--in_movies", listed, "--o", "External/job003/", "--j", 2,
        "--eer-fractions", GROUPS, "--binning", 4, "--no-local",
    )  # fmt: skip
    flexalign(
        eer_project, "apply", "Movies/e.eer", "--motion", "MotionCorr/job002/Movies/e.star",
        "--eer-fractions", GROUPS, "--binning", 4, "--pixel-size", 1.8, "--out", "applied",
        "--no-hot-pixels",
    )  # fmt: skip

    theirs = read_motion_star(eer_project / "MotionCorr/job002/Movies/e.star")
    ours = read_motion_star(eer_project / "External/job003/Movies/e.star")
    assert ours[0].eer_grouping == theirs[0].eer_grouping == RAW_PER_GROUP
    assert ours[0].eer_upsampling == theirs[0].eer_upsampling == 1
    assert ours[0].shape_px == theirs[0].shape_px
    true_px = np.arange(GROUPS)[:, None] * DRIFT_PX
    np.testing.assert_allclose(ours[1].trajectory.displacement_px, true_px, atol=0.1)
    found = image(eer_project / "applied" / "e_aligned_mic.mrc")
    expected = image(eer_project / "MotionCorr/job002/Movies/e.mrc")
    assert correlation(found, expected, 2 * HALF_NYQUIST) > 0.999
