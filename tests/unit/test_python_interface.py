"""What the package does for a Python program: no output, log, stop, saving, reading again."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from flexalign import (
    AlignParams,
    ArrayMovie,
    FrameRange,
    InputError,
    Motion,
    MotionField,
    ParameterError,
    align_movie,
    align_movies,
    check_gain,
    estimate_gain,
    read_motion,
    read_record,
    simulate_movie,
)
from flexalign.batch.folder import read_index
from flexalign.io.motion_formats.xmd import write_shifts

PARAMS = AlignParams(pixel_size_A=1.5, local=False, threads=1)


@pytest.fixture(scope="module")
def movie():
    return simulate_movie(shape_px=(64, 64), frame_count=4, particles=0, threads=1)


@pytest.fixture
def movies(movie, tmp_path) -> list[Path]:
    """Two movies and a file that is none."""
    paths = [movie.save(tmp_path, name)["movie"] for name in ("a", "b")]
    bad = tmp_path / "bad.mrc"
    bad.write_bytes(b"no movie")
    return [*paths, bad]


def test_the_library_prints_nothing(movie, movies, tmp_path, capfd):
    align_movie(movie.counts, PARAMS).save(tmp_path / "one")
    align_movies(movies, tmp_path / "many", PARAMS, jobs=0)

    assert capfd.readouterr() == ("", "")


def test_compiling_is_logged(tmp_path):
    # A process without compiled loops; only the announcement is awaited.
    code = """
import logging, sys
import numpy as np
from flexalign import AlignParams, align_movie
class Stop(logging.Handler):
    def emit(self, record):
        print(record.name, record.levelname, record.getMessage())
        raise SystemExit
logging.getLogger("flexalign").addHandler(Stop())
logging.getLogger("flexalign").setLevel("INFO")
align_movie(np.zeros((4, 64, 64), np.uint8), AlignParams(pixel_size_A=1))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": ":".join(sys.path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.stdout.startswith("flexalign INFO compiling, which takes some seconds"), done.stderr


def test_an_exception_of_the_callback_ends_the_alignment(movie):
    stages = []

    def progress(stage, done, total):
        stages.append(stage)
        if done == 2:
            raise KeyError("enough")

    with pytest.raises(KeyError, match="enough"):
        align_movie(movie.counts, PARAMS, progress=progress)

    assert len(stages) == 2
    assert not [t for t in threading.enumerate() if t.name.startswith("read-ahead")]


def test_a_motion_of_other_frames_is_refused(movie):
    with pytest.raises(InputError, match=r"expected a motion of 4 frames.* found one of 9"):
        align_movie(movie.counts, PARAMS, motion=Motion.still(9))


def test_saving_writes_the_files_of_the_command_line(movie, movies, tmp_path):
    align_movies(movies[:1], tmp_path / "many", PARAMS, jobs=0)
    align_movie(movies[0], PARAMS).save(tmp_path / "one")

    one, many = ({p.name for p in (tmp_path / f).glob("a_*")} for f in ("one", "many"))
    assert one == many
    for name in one - {"a_record.json"}:
        if name.endswith((".mrc", ".json", ".xmd")):
            found, expected = ((tmp_path / f / name).read_bytes() for f in ("one", "many"))
            assert found[1024:] == expected[1024:], name


def test_earlier_results_are_replaced_only_when_requested(movie, tmp_path):
    result = align_movie(movie.counts, PARAMS)
    result.save(tmp_path, "m")

    with pytest.raises(InputError, match="give `overwrite` to replace them"):
        result.save(tmp_path, "m")
    result.save(tmp_path, "m", overwrite=True)


@pytest.mark.parametrize("name", ["a/b", "../b", "..", "a\nb"])
def test_a_name_that_leads_out_of_the_folder_is_refused(movie, tmp_path, name):
    result = align_movie(movie.counts, PARAMS)

    with pytest.raises(InputError, match="`name`: expected the beginning of names of files"):
        result.save(tmp_path / "out", name)
    assert not list(tmp_path.iterdir())


def test_a_result_does_not_replace_its_movie(movies, tmp_path):
    movies[0].rename(tmp_path / "x_aligned_mic.mrc")
    result = align_movie(tmp_path / "x_aligned_mic.mrc", PARAMS)

    with pytest.raises(InputError):
        result.save(tmp_path, "x", overwrite=True)


def test_what_was_saved_is_read_without_the_movie(movie, tmp_path):
    result = align_movie(movie.counts, PARAMS)
    result.save(tmp_path, "m")

    assert read_motion(tmp_path / "m_motion.json") == result.motion
    assert read_motion(tmp_path / "m_record.json") == result.motion
    quality = read_record(tmp_path / "m_record.json").quality
    assert quality.to_dict() == result.quality.to_dict()
    found = read_motion(tmp_path / "m_shifts.xmd").trajectory.displacement_px
    np.testing.assert_allclose(found, result.motion.trajectory.displacement_px, atol=1e-4)


def test_local_motion_of_a_movie_of_unknown_size_needs_its_size(tmp_path):
    coefficients_px = np.random.default_rng(0).normal(size=(2, 4, 4, 4))
    field = MotionField(coefficients_px, 64, 96, FrameRange(0, 4))
    motion = Motion(Motion.still(4).trajectory, field)
    write_shifts(tmp_path / "m.xmd", motion, "m.mrc", binning=1.0)

    with pytest.raises(InputError, match="give `shape_px`"):
        read_motion(tmp_path / "m.xmd")
    assert read_motion(tmp_path / "m.xmd", shape_px=(64, 96)).field is not None


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"shape_px": (64, 96)}, "found 64 x 64 in the file and 96 x 64 in the arguments"),
        ({"pixel_size_A": 0.75}, "found 1.5 A in the file and 0.75 A in the arguments"),
    ],
)
def test_what_contradicts_the_file_of_a_motion_is_refused(movie, tmp_path, given, found):
    align_movie(movie.counts, PARAMS).save(tmp_path, "m")

    with pytest.raises(InputError, match=found):
        read_motion(tmp_path / "m_record.json", **given)


@pytest.mark.parametrize("call", [align_movie, align_movies])
def test_parameters_of_another_type_are_refused(movies, tmp_path, call):
    with pytest.raises(ParameterError, match="`params`: expected AlignParams, found str"):
        call(movies[0], *([tmp_path] if call is align_movies else []), "out")


def test_results_are_shown_in_one_short_line(movie):
    result = align_movie(movie.counts, PARAMS)

    for value in (
        result, result.motion, result.record, result.sums, result.motion.trajectory, result.quality,
        movie, ArrayMovie(movie.counts),
    ):  # fmt: skip
        assert "object at" not in repr(value)
        assert len(repr(value)) < 400
        assert "\n" not in repr(value)


def test_a_record_that_was_read_equals_the_one_that_was_saved(movie, tmp_path):
    """The time of writing, and the state of the files, are known before or after it only."""
    result = align_movie(movie.counts, PARAMS)
    saved = result.save(tmp_path, "m")

    read = read_record(tmp_path / "m_record.json")

    known = {"timings_s": read.timings_s, "output_states": read.output_states}
    assert read == replace(saved, **known)
    assert read.quality == result.quality
    assert read != result.record  # which has no outputs
    assert read.quality != replace(result.quality, total_motion_A=9.0)


def test_a_negative_number_of_jobs_is_refused_before_a_folder_is_made(movies, tmp_path):
    with pytest.raises(ParameterError, match="`jobs`: expected a number of processes from 0 on"):
        align_movies(movies, tmp_path / "out", PARAMS, jobs=-1)

    assert not (tmp_path / "out").exists()


def test_a_run_lists_what_is_done_and_what_failed(movies, tmp_path):
    result = align_movies(movies, tmp_path / "out", PARAMS, jobs=0)

    assert [path.name for path in result.record_paths] == ["a.mrc", "b.mrc"]
    assert [record.outputs["record"] for record in result.records()] == [
        "a_record.json", "b_record.json",
    ]  # fmt: skip
    assert [path.name for path in result.failures] == ["bad.mrc"]
    assert "--" not in result.failures[movies[2]].message
    assert len(read_index(tmp_path / "out" / "run.json")) == 3


def test_a_single_movie_needs_no_list(movies, tmp_path):
    for given in (movies[0], str(movies[0])):
        result = align_movies(given, tmp_path / "out", PARAMS, jobs=0)
        assert list(result.record_paths) == [movies[0]]


def test_a_run_without_movies_is_refused(tmp_path):
    with pytest.raises(InputError, match="expected at least one movie, found none"):
        align_movies([], tmp_path / "out", PARAMS)

    assert not (tmp_path / "out").exists()


def test_values_of_a_list_are_used_where_the_parameters_have_none(movies, tmp_path):
    (tmp_path / "movies.star").write_text(
        "data_optics\n\nloop_\n_rlnOpticsGroup #1\n_rlnMicrographOriginalPixelSize #2\n"
        "_rlnVoltage #3\n1 0.7 200\n\ndata_movies\n\nloop_\n_rlnMicrographMovieName #1\n"
        "_rlnOpticsGroup #2\n_rlnMicrographPreExposure #3\na.mrc 1 2.5\n"
    )
    params = replace(PARAMS, pre_exposure_e_A2=1.0)

    result = align_movies(tmp_path / "movies.star", tmp_path / "out", params, jobs=0)

    (record,) = result.records()
    names = ("pixel_size_A", "voltage_kV", "pre_exposure_e_A2")
    assert [record.parameters[name] for name in names] == [1.5, 200.0, 3.5]


def test_a_run_is_not_repeated_and_the_result_is_whole(movies, tmp_path):
    align_movies(movies, tmp_path / "out", PARAMS, jobs=0)

    again = align_movies(movies, tmp_path / "out", PARAMS, jobs=0)

    assert (again.summary.done, again.summary.done_before) == (0, 2)
    assert len(again.record_paths) == 2


def test_processes_give_the_result_of_one_process(movies, tmp_path):
    one = align_movies(movies[:1], tmp_path / "one", PARAMS, jobs=0)
    other = align_movies(movies[:1], tmp_path / "other", PARAMS, jobs=1)

    motions = [read_motion(path) for r in (one, other) for path in r.record_paths.values()]
    assert motions[0] == motions[1]


def test_a_run_that_is_stopped_starts_no_further_movie(movies, tmp_path):
    stop = threading.Event()
    stop.set()

    result = align_movies(movies, tmp_path / "out", PARAMS, jobs=0, stop=stop)

    assert result.summary.unfinished > 0
    assert len(result.record_paths) < 2
    assert len(align_movies(movies, tmp_path / "out", PARAMS, jobs=0).record_paths) == 2


def test_parameters_of_a_run_that_cannot_be_right_are_refused_with_their_names(movies, tmp_path):
    params = AlignParams(pixel_size_A=1.5, dose_per_frame_e_A2=300.0, local=False, threads=1)

    with pytest.raises(ParameterError, match="`dose_per_frame_e_A2`"):
        align_movies(movies, tmp_path / "out", params, jobs=0)


def test_a_run_leaves_the_log_to_the_program(movies, tmp_path):
    log = logging.getLogger("flexalign")
    before = log.level, list(log.handlers), log.propagate

    align_movies(movies[:1], tmp_path / "out", PARAMS, jobs=0)

    assert (log.level, log.handlers, log.propagate) == before


def test_the_gain_functions_take_one_path(tmp_path):
    movie = simulate_movie(shape_px=(256, 256), frame_count=4, electrons_per_px=9.0, threads=1)
    paths = movie.save(tmp_path, "m")
    params = AlignParams(gain=str(paths["gain"]))

    assert check_gain(str(paths["movie"]), params) == check_gain([paths["movie"]], params)
    assert estimate_gain(str(paths["movie"]), tmp_path / "estimated.mrc").movie_count == 1


@pytest.mark.parametrize("wrong", [3, [np.zeros((4, 64, 64))]])
def test_movies_that_are_no_paths_are_refused_by_the_name_of_the_parameter(wrong, tmp_path):
    params = AlignParams(gain="gain.mrc")
    for function in (
        lambda: check_gain(wrong, params),
        lambda: estimate_gain(wrong, tmp_path / "estimated.mrc"),
        lambda: align_movies(wrong, tmp_path / "aligned"),
    ):
        with pytest.raises(ParameterError, match=r"^`movies`: expected a path or several, found"):
            function()
