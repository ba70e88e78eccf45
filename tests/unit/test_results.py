import dataclasses
import json
import os
import pickle
import resource
import subprocess
import sys

import mrcfile
import numpy as np
import pytest

from flexalign.alignment_result import AlignmentResult
from flexalign.errors import InputError, OccupiedError, OutputError, ParameterError
from flexalign.io.record import file_state, read_record
from flexalign.io.results import check_output, write_result
from flexalign.io.writing.publishing import clear_leftovers, hidden_folder
from flexalign.model import FrameSums, MovieInfo, MovieRecord, Quality
from flexalign.motion import Motion, Trajectory
from flexalign.params import AlignParams
from flexalign.plan import make_plan


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
    plan = make_plan(record.movie, AlignParams(binning=2))
    return AlignmentResult(motion, sums, None, None, None, quality, record, plan)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_only_what_was_made_is_written(tmp_path, result):
    outputs = write_result(result, tmp_path, "x")

    expected = ["x_aligned_mic.mrc", "x_motion.json", "x_plot_cart.png", "x_record.json"]
    assert names(tmp_path) == sorted([*expected, "x_shifts.xmd", "x_thumb.png"])
    assert sorted(outputs.values()) == names(tmp_path)


def test_headers_have_the_true_pixel_size_of_each_axis(tmp_path, result):
    movie = dataclasses.replace(result.record.movie, height_px=41, width_px=61)
    sums = dataclasses.replace(result.sums, aligned=picture((3, 20, 30)))
    result = dataclasses.replace(
        result, record=dataclasses.replace(result.record, movie=movie), sums=sums
    )
    outputs = write_result(result, tmp_path, "x", save_unaligned=True)

    for kind in ("micrograph", "unaligned", "movie"):
        with mrcfile.open(tmp_path / outputs[kind]) as file:
            voxel, cell = file.voxel_size, file.header.cella
        assert (voxel.y, voxel.x) == (pytest.approx(41 / 20), pytest.approx(61 / 30))
        # The field is that of the movie, whatever the number of pixels.
        assert (cell.y, cell.x) == (pytest.approx(41), pytest.approx(61))


def test_the_record_lists_all_files_and_has_the_motion(tmp_path, result):
    outputs = write_result(result, tmp_path, "x")

    record = read_record(tmp_path / "x_record.json")
    assert record.outputs == outputs
    assert Motion.load(tmp_path / "x_record.json").displacement_px(2, 0, 0) == (1.5, 2.5)


def test_the_unaligned_sum_is_written_on_request_only(tmp_path, result):
    write_result(result, tmp_path, "x", save_unaligned=True)

    assert (tmp_path / "x_unaligned_mic.mrc").exists()


def test_existing_results_are_refused_before_anything_is_computed(tmp_path, result):
    write_result(result, tmp_path, "x")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}

    with pytest.raises(InputError, match="`overwrite`"):
        check_output(tmp_path, "x")
    with pytest.raises(InputError, match="`overwrite`"):
        write_result(result, tmp_path, "x")

    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_results_of_another_movie_are_no_obstacle(tmp_path, result):
    write_result(result, tmp_path, "x")

    check_output(tmp_path, "x2")


def test_overwriting_replaces_all_earlier_results(tmp_path, result):
    write_result(result, tmp_path, "x", save_unaligned=True)
    (tmp_path / "x_notes.txt").write_text("mine")

    write_result(result, tmp_path, "x", overwrite=True)

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
        write_result(bad, tmp_path, "x", float16=True)

    assert not names(tmp_path)


@pytest.mark.parametrize("way", ["file", "folder", "link", "record"])
def test_what_is_not_ours_is_in_the_way_and_stays(tmp_path, result, way):
    other = tmp_path / ("x_record.json" if way == "record" else "x_plot_cart.png")
    if way == "folder":
        (other / "in_it").mkdir(parents=True)
    elif way == "link":
        other.symlink_to("nowhere")
    else:
        other.write_text('{"outputs": {"motion": "x_notes.txt"}}')
        (tmp_path / "x_notes.txt").touch()
    before = names(tmp_path)

    with pytest.raises(OccupiedError, match=f"found {other.name}: move them away"):
        write_result(result, tmp_path, "x", overwrite=True)

    assert names(tmp_path) == before


def test_a_record_of_an_earlier_version_stands_for_what_is_not_newer(tmp_path, result):
    write_result(result, tmp_path, "x", save_unaligned=True)
    record = tmp_path / "x_record.json"
    plain = json.loads(record.read_text())
    del plain["output_states"]
    record.write_text(json.dumps(plain))
    later = record.stat().st_mtime_ns + 1
    os.utime(tmp_path / "x_unaligned_mic.mrc", ns=(later, later))

    write_result(result, tmp_path, "x", overwrite=True)

    assert (tmp_path / "x_unaligned_mic.mrc").stat().st_mtime_ns == later
    assert (tmp_path / "x_aligned_mic.mrc").stat().st_mtime_ns > later - 1


@pytest.mark.parametrize("name", ["../y_motion.json", "y_motion.json", "x_record.json/.."])
def test_a_record_stands_for_no_file_that_its_movie_cannot_have(tmp_path, result, name):
    folder = tmp_path / "run"
    write_result(result, folder, "x")
    other = (folder / name).resolve() if name != "x_record.json/.." else tmp_path / "keep"
    other.touch()
    record = folder / "x_record.json"
    plain = json.loads(record.read_text())
    plain["outputs"]["other"] = name
    plain["output_states"][name] = file_state(other)
    record.write_text(json.dumps(plain))

    write_result(result, folder, "x", overwrite=True)

    assert other.exists()


KILLED = """
import os, pickle, sys
from pathlib import Path
from flexalign.io.writing.publishing import clear_leftovers
from flexalign.io.results import write_result

result = pickle.loads(Path(sys.argv[1]).read_bytes())
for point in range(1, 20):
    folder = Path(sys.argv[2]) / str(point)
    def write():
        write_result(result, folder, "x", overwrite=True, save_unaligned=%r)
    if %r:
        pid = os.fork()
        if not pid:
            write()
            os._exit(0)
        os.waitpid(pid, 0)
    folder.mkdir(exist_ok=True)
    (folder / "x.xml").write_text("somebody's")
    pid = os.fork()
    if not pid:
        left = [point]
        def die(event, words):
            # names that are given, and the earlier record that is moved out of the way
            if event == "os.rename" and folder in (Path(words[0]).parent, Path(words[1]).parent):
                left[0] -= 1
                if not left[0]:
                    os._exit(9)
        sys.addaudithook(die)
        write()
        os._exit(0)
    was_killed = os.waitpid(pid, 0)[1] != 0
    if not was_killed:
        break
    clear_leftovers(folder)
    print(point, *sorted(path.name for path in folder.iterdir()))
    write()
    assert (folder / "x_record.json").exists()
"""


@pytest.mark.parametrize("is_first", [True, False])
def test_what_a_killed_process_had_published_is_known_and_taken_back(tmp_path, result, is_first):
    """Killed before each of the names that are given, with and without earlier results."""
    (tmp_path / "result").write_bytes(pickle.dumps(result))
    script = KILLED % (False, not is_first)
    words = [sys.executable, "-c", script, str(tmp_path / "result"), str(tmp_path)]

    done = subprocess.run(words, capture_output=True, text=True, check=True)

    points = [line.split()[1:] for line in done.stdout.splitlines()]
    earlier = [] if is_first else names(tmp_path / "1")
    assert len(points) == (6 if is_first else 7)
    assert points[0] == (["x.xml"] if is_first else sorted(earlier))
    assert all(left == ["x.xml"] for left in points[1:])


def test_hidden_folders_of_others_and_of_the_living_stay(tmp_path):
    foreign = tmp_path / ".flexalign-x-abcd1234"
    foreign.mkdir()
    (foreign / "notes").touch()
    with hidden_folder(tmp_path, "x") as living:
        clear_leftovers(tmp_path)

        assert living.exists()
    left = tmp_path / ".flexalign-x-12345678"
    left.mkdir()
    (left / ".flexalign").touch()

    clear_leftovers(tmp_path)

    assert names(tmp_path) == [foreign.name]


def test_motion_file_is_the_motion(tmp_path, result):
    write_result(result, tmp_path, "x")

    plain = json.loads((tmp_path / "x_motion.json").read_text())
    assert plain["trajectory"]["displacement_px"][1] == [1.0, 2.0]


def test_a_disk_that_is_full_while_the_plot_is_written_is_no_fault_of_the_movie(tmp_path, result):
    """The system refuses to write files of more than 500 kB, the others are smaller."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, before[1]))
    try:
        with pytest.raises(OutputError, match="cannot write"):
            write_result(result, tmp_path, "x", plot=lambda: bytes(1_000_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    assert names(tmp_path) == []


def test_a_name_that_leaves_no_room_for_those_of_the_results_is_refused(tmp_path):
    with pytest.raises(InputError, match="expected a name of up to"):
        check_output(tmp_path, "x" * 240)

    check_output(tmp_path, "x" * 215)
