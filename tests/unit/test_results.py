import dataclasses
import json
import resource

import mrcfile
import numpy as np
import pytest

from flexalign.errors import InputError, OutputError, ParameterError
from flexalign.io.record import read_record
from flexalign.io.results import check_output, movie_root, write_result
from flexalign.model import AlignmentResult, FrameSums, MovieInfo, MovieRecord, Quality
from flexalign.motion import Motion, Trajectory

SIZES = {"pixel_size_A": 1.0, "binned_pixel_size_A": 2.0}


def picture(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.fixture
def result():
    motion = Motion(Trajectory([[0.0, 0.0], [1.0, 2.0], [1.5, 2.5]], [True] * 3, 0))
    quality = Quality(3.2, 2.0, 1.2, 0.9, 0.0, {}, "global", 0)
    record = MovieRecord(
        version="0.1.0",
        movie=MovieInfo("raw/x.mrc", "mrc", 3, 40, 60, "uint8", 1.0, 1234),
        inputs={"movie": {"path": "raw/x.mrc"}}, parameters={"voltage_kV": 300.0},
        decisions={
            "pixel_size_A": 1.0, "output_pixel_size_A": 2.0, "dose_per_frame_e_A2": None,
            "align": {"first": 0, "stop": 3}, "patches": [1, 1],
        },
        timings_s={}, peak_memory_bytes=1,
        quality=quality, outputs={},
    )  # fmt: skip
    sums = FrameSums(plain=picture((20, 30)), unaligned=picture((20, 30), 1))
    return AlignmentResult(motion, sums, None, None, None, quality, record)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("path", "root"),
    [
        ("raw/x.mrc", "x"),
        ("x.mrc.bz2", "x"),
        ("a.b_c.tif", "a.b_c"),
        ("X.TIFF", "X"),
        ("FoilHole_1_EER.eer", "FoilHole_1_EER"),
        ("x.mrcs.gz", "x"),
        ("x.mrc.mrc", "x.mrc"),
        ("no_extension", "no_extension"),
        ("version1.2", "version1.2"),
    ],
)
def test_root_is_the_name_without_its_known_extensions(path, root):
    assert movie_root(path) == root


def test_only_what_was_made_is_written(tmp_path, result):
    outputs = write_result(result, tmp_path, "x", **SIZES)

    expected = ["x_aligned_mic.mrc", "x_motion.json", "x_plot_cart.png", "x_record.json"]
    assert names(tmp_path) == sorted([*expected, "x_shifts.xmd", "x_thumb.png"])
    assert sorted(outputs.values()) == names(tmp_path)


def test_headers_have_the_true_pixel_size_of_each_axis(tmp_path, result):
    movie = dataclasses.replace(result.record.movie, height_px=41, width_px=61)
    sums = dataclasses.replace(result.sums, aligned=picture((3, 20, 30)))
    result = dataclasses.replace(
        result, record=dataclasses.replace(result.record, movie=movie), sums=sums
    )
    outputs = write_result(result, tmp_path, "x", **SIZES, save_unaligned=True)

    for kind in ("micrograph", "unaligned", "movie"):
        with mrcfile.open(tmp_path / outputs[kind]) as file:
            voxel, cell = file.voxel_size, file.header.cella
        assert (voxel.y, voxel.x) == (pytest.approx(41 / 20), pytest.approx(61 / 30))
        # The field is that of the movie, whatever the number of pixels.
        assert (cell.y, cell.x) == (pytest.approx(41), pytest.approx(61))


def test_the_record_lists_all_files_and_has_the_motion(tmp_path, result):
    outputs = write_result(result, tmp_path, "x", **SIZES)

    record = read_record(tmp_path / "x_record.json")
    assert record.outputs == outputs
    assert Motion.load(tmp_path / "x_record.json").displacement_px(2, 0, 0) == (1.5, 2.5)


def test_the_unaligned_sum_is_written_on_request_only(tmp_path, result):
    write_result(result, tmp_path, "x", save_unaligned=True, **SIZES)

    assert (tmp_path / "x_unaligned_mic.mrc").exists()


def test_existing_results_are_refused_before_anything_is_computed(tmp_path, result):
    write_result(result, tmp_path, "x", **SIZES)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}

    with pytest.raises(InputError, match="--overwrite"):
        check_output(tmp_path, "x")
    with pytest.raises(InputError, match="--overwrite"):
        write_result(result, tmp_path, "x", **SIZES)

    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_results_of_another_movie_are_no_obstacle(tmp_path, result):
    write_result(result, tmp_path, "x", **SIZES)

    check_output(tmp_path, "x2")


def test_overwriting_replaces_all_earlier_results(tmp_path, result):
    write_result(result, tmp_path, "x", save_unaligned=True, **SIZES)
    (tmp_path / "x_notes.txt").write_text("mine")

    write_result(result, tmp_path, "x", overwrite=True, **SIZES)

    assert not (tmp_path / "x_unaligned_mic.mrc").exists()
    assert (tmp_path / "x_record.json").exists()
    assert (tmp_path / "x_notes.txt").read_text() == "mine"


def test_a_missing_folder_is_made(tmp_path):
    check_output(tmp_path / "a" / "b", "x")

    assert (tmp_path / "a" / "b").is_dir()
    assert not names(tmp_path / "a" / "b")


def test_a_file_in_the_place_of_the_folder_is_explained(tmp_path):
    (tmp_path / "out").write_text("")

    with pytest.raises(InputError, match=r"out.*folder"):
        check_output(tmp_path / "out", "x")


def test_a_failure_while_writing_leaves_nothing(tmp_path, result):
    """The aligned movie does not fit 16-bit floats, after the micrograph was written."""
    sums = dataclasses.replace(result.sums, aligned=np.full((2, 4, 4), 1e6, np.float32))
    bad = dataclasses.replace(result, sums=sums)

    with pytest.raises(ParameterError, match="16-bit"):
        write_result(bad, tmp_path, "x", float16=True, **SIZES)

    assert not names(tmp_path)


def test_a_failure_while_naming_takes_back_what_had_its_name(tmp_path, result):
    """A folder with a file in it stands where the plot should go."""
    (tmp_path / "x_plot_cart.png" / "in_the_way").mkdir(parents=True)

    with pytest.raises(InputError, match="cannot write"):
        write_result(result, tmp_path, "x", overwrite=True, **SIZES)

    assert names(tmp_path) == ["x_plot_cart.png"]


def test_motion_file_is_the_motion(tmp_path, result):
    write_result(result, tmp_path, "x", **SIZES)

    plain = json.loads((tmp_path / "x_motion.json").read_text())
    assert plain["trajectory"]["displacement_px"][1] == [1.0, 2.0]


def test_a_disk_that_is_full_while_the_plot_is_written_is_no_fault_of_the_movie(tmp_path, result):
    """The system refuses to write files of more than 500 kB, the others are smaller."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, before[1]))
    try:
        with pytest.raises(OutputError, match="cannot write"):
            write_result(result, tmp_path, "x", plot=lambda: bytes(1_000_000), **SIZES)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    assert names(tmp_path) == []


def test_a_name_that_leaves_no_room_for_those_of_the_results_is_refused(tmp_path):
    with pytest.raises(InputError, match="expected a name of up to"):
        check_output(tmp_path, "x" * 240)

    check_output(tmp_path, "x" * 215)
