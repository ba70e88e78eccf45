"""Each kind of bad input: a clear line, the right exit code, nothing half-written."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import mrcfile
import numpy as np
import pytest

SHAPE_PX = (64, 96)
FRAMES = 5
INPUT, PARAMETERS, DEVICE = 3, 2, 4


def write_movie(path: Path, frames: np.ndarray) -> Path:
    with mrcfile.new(path) as file:
        with warnings.catch_warnings(action="ignore"):  # of values that are not finite
            file.set_data(frames)
        file.set_image_stack()
    return path


def counts(frame_count: int = FRAMES) -> np.ndarray:
    rng = np.random.default_rng(5)
    return rng.poisson(20.0, (frame_count, *SHAPE_PX)).astype(np.int16)


@pytest.fixture
def movie(tmp_path) -> Path:
    return write_movie(tmp_path / "movie.mrcs", counts())


def assert_refused(run, words, code, said, out: Path) -> None:
    outcome = run("align", *words, "--out", out)
    assert outcome.code == code, outcome.err
    assert said in outcome.err
    assert "Traceback" not in outcome.err
    assert "defect in flexalign" not in outcome.err
    assert outcome.out == ""
    assert not out.is_dir() or not list(out.iterdir())


def spoiled(tmp_path: Path, kind: str) -> Path:
    """A movie file with something wrong with it."""
    path, frames = tmp_path / f"{kind}.mrcs", counts()
    if kind == "missing":
        return path
    if kind == "empty":
        path.write_bytes(b"")
        return path
    if kind == "text":
        path.with_suffix(".tiff").write_text("no movie")
        return path.with_suffix(".tiff")
    if kind == "one-frame":
        frames = frames[:1]
    if kind == "all-zero":
        frames[:] = 0
    if kind == "all-nan":
        frames = np.full_like(frames, np.nan, dtype=np.float32)
    write_movie(path, frames)
    size_bytes = path.stat().st_size
    with path.open("r+b") as file:
        if kind == "cut-in-frame":
            file.truncate(size_bytes - SHAPE_PX[1])
        if kind == "cut-in-header":
            file.truncate(500)
        if kind == "wrong-size":
            file.write(np.array([-96, 64, FRAMES], np.int32).tobytes())
    return path


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("missing", "no such file"),
        ("empty", "found an empty file"),
        ("text", "unknown format"),
        ("one-frame", "at least 2 frames, found 1"),
        ("all-zero", "blank"),
        ("all-nan", "not finite"),
        ("cut-in-frame", "expected"),
        ("cut-in-header", "expected"),
        ("wrong-size", "expected"),
    ],
)
def test_a_bad_movie_is_refused(run, tmp_path, kind, said):
    path = spoiled(tmp_path, kind)
    assert_refused(run, [path, "--pixel-size", "1"], INPUT, said, tmp_path / "out")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--align-first", "6"], "only 5 frames"),
        (["--align-last", "9"], "only 5 frames"),
        (["--align-first", "4", "--align-last", "2"], "not before the first"),
        (["--align-last", "1"], "at least two frames"),
        (["--align-last", "3", "--sum-last", "4"], "not all among the aligned"),
        (["--sum-first", "3", "--sum-last", "2"], "not before the first"),
        (["--binning", "0.9"], "at least 1"),
        (["--control-points", "2", "3", "3"], "at least 3"),
        (["--patches", "0", "2"], "at least 1"),
        (["--min-patch", "-5"], "at least 1 A"),
        (["--group-frames", "0"], "at least 1"),
        (["--max-resolution", "0"], "at least 0.1 A"),
        (["--max-shift", "-1"], "at least 0.01 A"),
        (["--voltage", "20"], "at least 60"),
        (["--dose-per-frame", "0"], "at least 0.0001 e/A2"),
        (["--pixel-size", "0"], "at least 0.05 A"),
        (["--pixel-size", "nan"], "finite"),
        (["--reference-frame", "last"], "a frame number"),
        (["--threads", "0"], "at least 1"),
        (["--device", "gpu"], "auto, cpu, cuda"),
        (["--device", "cuda:x"], "auto, cpu, cuda"),
    ],
)
def test_a_parameter_out_of_its_limits_is_refused(run, movie, tmp_path, words, said):
    start = [] if "--pixel-size" in words else ["--pixel-size", "1"]
    assert_refused(run, [movie, *start, *words], PARAMETERS, said, tmp_path / "out")


@pytest.mark.parametrize("option", ["--gain", "--dark", "--defects", "--eer-groups"])
def test_a_reference_that_is_missing_is_refused_before_anything_is_made(
    run, movie, tmp_path, option
):
    words = [movie, "--pixel-size", "1", option, "nowhere.mrc"]
    said = "nowhere.mrc: no such file"
    assert_refused(run, words, INPUT, said, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_gpu_that_is_not_there_is_refused(run, movie, tmp_path):
    words = [movie, "--pixel-size", "1", "--device", "cuda:99"]
    assert_refused(run, words, DEVICE, "--device cpu", tmp_path / "out")


def test_a_movie_without_pixel_size_is_refused(run, movie, tmp_path):
    assert_refused(run, [movie], INPUT, "--pixel-size", tmp_path / "out")


@pytest.mark.parametrize(
    ("shape_px", "said"),
    [((96, 64), "--gain-rotate"), ((50, 60), "60"), (None, "gain.mrc")],
    ids=["turned", "other-size", "unreadable"],
)
def test_a_gain_that_does_not_fit_is_refused(run, movie, tmp_path, shape_px, said):
    gain = tmp_path / "gain.mrc"
    if shape_px is None:
        gain.write_bytes(b"\0" * 1500)
    else:
        with mrcfile.new(gain) as file:
            file.set_data(np.ones(shape_px, np.float32))
    words = [movie, "--pixel-size", "1", "--gain", gain]
    assert_refused(run, words, INPUT, said, tmp_path / "out")


def test_an_output_that_is_a_file_is_refused(run, movie, tmp_path):
    out = tmp_path / "out"
    out.write_text("in the way")
    assert_refused(run, [movie, "--pixel-size", "1"], INPUT, str(out), out)
    assert out.read_text() == "in the way"


def test_a_full_disk_leaves_nothing_behind(movie, tmp_path):
    """The file size that a process may write stands for the space that is left."""
    out = tmp_path / "out"
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)); "
        "from flexalign.cli import main; main()"
    )
    words = ["align", movie, "--pixel-size", "1", "--no-psd", "--out", out]
    # Compiled code is too large for that limit as well: it must be there already.
    subprocess.run([sys.executable, "-m", "flexalign", *words[:-1], tmp_path / "warm"], check=True)
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == INPUT, done.stderr
    assert "Traceback" not in done.stderr
    assert "cannot write" in done.stderr
    assert not list(out.iterdir())


def test_a_bad_frame_is_left_out_with_a_warning(run, tmp_path):
    frames = counts(8)
    frames[3] = 0
    path = write_movie(tmp_path / "blank.mrcs", frames)
    outcome = run("align", path, "--pixel-size", "1", "--out", tmp_path / "out")
    assert outcome.code == 0
    assert "bad-frames" in outcome.err
    assert "frame 4 is left out" in (tmp_path / "out" / "blank_record.json").read_text()


def test_a_dose_that_cannot_be_right_stops_one_movie_and_many(run, movie_folder, tmp_path):
    one = ("align", movie_folder / "a.tiff", "--out", tmp_path / "one", "--pixel-size", "1.5")
    many = ("align", movie_folder / "a.tiff", movie_folder / "b.mrc", "--out", tmp_path / "many")
    for words in (one, (*many, "--pixel-size", "1.5")):
        outcome = run(*words, "--dose-per-frame", "60", "--jobs", "0")

        assert outcome.code == 2
        assert "--dose-per-frame: expected at most 300 e/A2 for a movie" in outcome.err
        assert "give 10; --dose-check off" in outcome.err
        assert not list(tmp_path.glob("*/*_record.json"))


def test_the_command_line_shows_the_option_and_no_parameter(run, tmp_path):
    (tmp_path / "m.mrc").write_bytes(b"")

    outcome = run("align", tmp_path / "m.mrc", "--out", tmp_path / "out", "--pixel-size", "0")

    assert outcome.code == 2
    assert "--pixel-size: expected at least" in outcome.err
    assert "`" not in outcome.err
