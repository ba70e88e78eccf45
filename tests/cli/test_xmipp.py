"""In place of Xmipp's programs: their arguments in, their files out."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from flexalign.io.motion_formats.xmd import read_shifts
from flexalign.io.movies.open_movie import open_movie
from flexalign.io.star import read_star
from flexalign.simulate import simulate_movie

WITHIN_PX = 0.25
# Whole frames move, by more than the eye needs; many electrons with the damage of a few.
BRIGHT = {
    "shape_px": (256, 320), "frame_count": 6, "pixel_size_A": 1.5, "electrons_per_px": 20.0,
    "dose_per_frame_e_A2": 1.0, "global_motion_px": 6.0, "local_motion_px": 0.0,
}  # fmt: skip


@pytest.fixture(scope="module")
def movie_folder(tmp_path_factory) -> Path:
    """A folder with ``a.tiff`` and ``b.mrc``, their gains and true motions."""
    folder = tmp_path_factory.mktemp("bright")
    for seed, name, file_format in [(3, "a", "tiff"), (4, "b", "mrc")]:
        simulate_movie(**BRIGHT, seed=seed).save(folder, name, file_format)
    return folder


@pytest.fixture
def listed(tmp_path):
    """Write a list of frames, as Scipion's protocol does."""

    def write(movie: Path | str, numbers=range(1, 7)) -> Path:
        path = tmp_path / "input_movie.xmd"
        rows = "".join(f"{number:06d}@{movie} \n" for number in numbers)
        path.write_text(f"# XMIPP_STAR_1 * \n# \ndata_noname\nloop_\n _image\n{rows}")
        return path

    return write


def _true_px(folder: Path, name: str) -> np.ndarray:
    """Displacement (t, 2) (y, x) of the whole frame; there is no local motion in these movies."""
    with np.load(folder / f"{name}_truth.npz") as truth:
        return truth["displacement_px"].mean(axis=(1, 2))


def _assert_follows(shifts, true_px):
    """Displacements agree but for a constant, which blurs nothing."""
    difference = shifts - true_px
    assert np.ptp(true_px, axis=0).max() > 3
    assert np.abs(difference - difference.mean(axis=0)).max() < WITHIN_PX


def test_the_motion_of_an_mrc_movie_arrives_as_xmipp_stores_it(run, movie_folder, listed, tmp_path):
    out = tmp_path / "out.xmd"
    outcome = run(
        "xmipp-movie-alignment", "-i", listed(movie_folder / "b.mrc"), "-o", out,
        "--sampling", 1.5, "--maxResForCorrelation", "30.000000", "--frameRange", 0, 5,
        "--frameRangeSum", 0, 5, "--maxShift", 50, "--oavg", tmp_path / "mic.mrc",
        "--oavgInitial", tmp_path / "initialMic.mrc", "--gain", movie_folder / "b_gain.mrc",
        "--minLocalRes", "500.000000", "--device", 0, "--storage", tmp_path / "fft.txt",
        "--controlPoints", 3, 3, 4, "--patchesAvg", 3,
    )  # fmt: skip

    assert outcome.code == 0, outcome.err
    _assert_follows(read_shifts(out).displacement_px, _true_px(movie_folder, "b"))
    with (
        mrcfile.open(tmp_path / "mic.mrc") as after,
        mrcfile.open(tmp_path / "initialMic.mrc") as before,
    ):
        assert after.data.shape == before.data.shape == (256, 320)
        assert after.voxel_size.x == pytest.approx(1.5)
        frames, gain = (mrcfile.read(movie_folder / name) for name in ("b.mrc", "b_gain.mrc"))
        unaligned = frames.astype(np.float32).mean(axis=0) * gain
        assert np.median(np.abs(before.data - unaligned)) < 1e-4
        assert np.median(np.abs(after.data - unaligned)) > 0.1
    assert not (tmp_path / "fft.txt").exists()


def test_rows_of_a_tiff_stay_and_its_flipped_gain_is_taken_as_it_is(
    run, movie_folder, listed, tmp_path
):
    with mrcfile.open(movie_folder / "a_gain.mrc") as gain:
        mrcfile.write(tmp_path / "gain_flipped.mrc", np.flipud(gain.data))
    out = tmp_path / "out.xmd"

    outcome = run(
        "xmipp-movie-alignment", "-i", listed(movie_folder / "a.tiff"), "-o", out,
        "--sampling", 1.5, "--gain", tmp_path / "gain_flipped.mrc", "--skipLocalAlignment",
        "--oavg", tmp_path / "mic.mrc",
    )  # fmt: skip

    assert outcome.code == 0, outcome.err
    _assert_follows(read_shifts(out).displacement_px, _true_px(movie_folder, "a") * (-1, 1))
    run("align", movie_folder / "a.tiff", "--gain", movie_folder / "a_gain.mrc", "--pixel-size",
        1.5, "--no-local", "--out", tmp_path / "ours")  # fmt: skip
    with (
        mrcfile.open(tmp_path / "mic.mrc") as theirs,
        mrcfile.open(tmp_path / "ours" / "a_aligned_mic.mrc") as ours,
    ):
        inner = (slice(12, -12), slice(12, -12))
        assert np.corrcoef(np.flipud(theirs.data)[inner].ravel(), ours.data[inner].ravel())[
            0, 1
        ] == pytest.approx(1, abs=0.01)


def test_ranges_are_counted_in_the_list(run, movie_folder, listed, tmp_path):
    out = tmp_path / "out.xmd"
    outcome = run(
        "xmipp-movie-alignment", "-i", listed(movie_folder / "b.mrc", range(2, 7)), "-o", out,
        "--sampling", 1.5, "--frameRange", 0, 3, "--frameRangeSum", 1, 2,
        "--gain", movie_folder / "b_gain.mrc", "--skipLocalAlignment",
        "--oaligned", tmp_path / "movie.mrcs",
    )  # fmt: skip

    assert outcome.code == 0, outcome.err
    table = read_star(out)["frameShifts"]
    assert [image[:6] for image in table["image"]] == [f"{n:06d}" for n in range(2, 7)]
    assert table["enabled"] == ["1", "1", "1", "1", "-1"]
    shifts = read_shifts(out)
    assert 0 <= shifts.reference_frame < 4
    _assert_follows(shifts.displacement_px[:4], _true_px(movie_folder, "b")[1:5])
    with mrcfile.open(tmp_path / "movie.mrcs") as stack:
        assert [bool(frame.any()) for frame in stack.data] == [False, True, True, False]


def test_a_frame_that_cannot_be_read_has_a_shift_all_the_same(run, tmp_path, listed):
    movie = simulate_movie(**BRIGHT, seed=2, gain=False)
    files = movie.save(tmp_path, "blank", "mrc")
    with mrcfile.mmap(files["movie"], mode="r+") as stack:
        stack.data[3] = 0

    outcome = run(
        "xmipp-movie-alignment", "-i", listed(files["movie"]), "-o", tmp_path / "out.xmd",
        "--sampling", 1.5, "--skipLocalAlignment", "--oaligned", tmp_path / "movie.mrcs",
    )  # fmt: skip

    assert outcome.code == 0, outcome.err
    assert read_shifts(tmp_path / "out.xmd").is_enabled.all()
    with mrcfile.open(tmp_path / "movie.mrcs") as aligned:
        assert np.flatnonzero(~aligned.data.any(axis=(1, 2))) == 3


def test_eer_fractions_and_mrc_stacks_are_told_from_the_names(run, movie_folder, listed, tmp_path):
    movie = simulate_movie(**BRIGHT, seed=5, gain=False)
    files = movie.save(tmp_path, "c", "eer")
    name = f"{files['movie']}#6,4K,uint16"
    for movie_name in (name, f"{movie_folder / 'b.mrc'}:mrcs"):
        outcome = run(
            "xmipp-movie-alignment", "-i", listed(movie_name), "-o", tmp_path / "out.xmd",
            "--sampling", 1.5, "--bin", 2, "--oavg", tmp_path / "mic.mrc", "--skipLocalAlignment",
        )  # fmt: skip
        assert outcome.code == 0, outcome.err
        table = read_star(tmp_path / "out.xmd")["frameShifts"]
        assert table["image"][5] == f"000006@{movie_name}"
        with mrcfile.open(tmp_path / "mic.mrc") as average:
            assert average.data.shape == (128, 160)
            assert average.voxel_size.x == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--frameRange", 0, 6], 2, "from 0 to 5"),
        (["--frameRange", 2, 3, "--frameRangeSum", 1, 3], 2, "from 2 to 3"),
        (["--frameRangeSum", -2, 3], 2, "--frameRangeSum -2 3"),
        (["--oavg", "mic.spi"], 2, "expected a name in .mrc or .mrcs"),
        (["--controlPoints", 2, 3, 4], 2, "--controlPoints: expected at least 3"),
        (["--bin", 0.5], 2, "--bin: expected at least 1"),
        (["--maxShift", 0], 2, "--maxShift: expected at least"),
        (["--maxResForCorrelation", "nan"], 2, "--maxResForCorrelation: expected a finite"),
        (["--patches", 0, 2], 2, "--patches: expected at least 1"),
        (["--minLocalRes", 0], 2, "--minLocalRes: expected at least 1 A"),
        (["--patchesAvg", 0], 2, "--patchesAvg: expected at least 1"),
        (["--device", -1], 2, "number of a GPU"),
    ],
)
def test_what_cannot_be_done_is_said(run, movie_folder, listed, tmp_path, words, code, message):
    outcome = run(
        "xmipp-movie-alignment", "-i", listed(movie_folder / "b.mrc"), "-o", tmp_path / "out.xmd",
        "--sampling", 1.5, *words,
    )  # fmt: skip

    assert outcome.code == code
    assert message in outcome.err
    assert outcome.err.count("\n") == 1
    assert not (tmp_path / "out.xmd").exists()


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["000001@a.mrc", "000002@b.mrc"], "frames of one movie"),
        (["000001@a.mrc", "000003@a.mrc"], "consecutive"),
        (["a.mrc"], "frames of one movie"),
        (["000001@a.eer#40,8K,uint16"], "4K"),
        ([], "column _image"),
    ],
)
def test_a_list_that_is_no_movie_is_refused(run, tmp_path, names, message):
    path = tmp_path / "list.xmd"
    path.write_text("data_noname\nloop_\n _image\n" + "".join(f" {name}\n" for name in names))

    outcome = run("xmipp-movie-alignment", "-i", path, "-o", tmp_path / "out.xmd")

    assert (outcome.code, message in outcome.err) == (3, True), outcome.err


def test_frames_that_the_movie_has_not_are_refused_in_words_of_the_list(
    run, movie_folder, listed, tmp_path
):
    out = tmp_path / "out.xmd"

    more = run(
        "xmipp-movie-alignment", "-i", listed(movie_folder / "b.mrc", range(3, 9)), "-o", out
    )

    assert more.code == 3
    assert "expected frames up to 6, as b.mrc has, found frame 8\n" in more.err
    assert not out.exists()


def test_raw_frames_of_an_eer_movie_are_refused(run, listed, tmp_path):
    """As the protocol for tilt series lists them, without the number of frames to make."""
    movie = simulate_movie(
        shape_px=(64, 64), frame_count=4, seed=1, pixel_size_A=1.5, electrons_per_px=3.0
    )
    movie.save(tmp_path, "e", "eer")
    with open_movie(tmp_path / "e.eer", eer_fractions=2) as reader:
        raw_frames = reader.info.eer.raw_frame_count
    assert raw_frames > 40

    frames = listed(tmp_path / "e.eer", range(1, raw_frames + 1))
    outcome = run("xmipp-movie-alignment", "-i", frames, "-o", tmp_path / "out.xmd")

    assert outcome.code == 3
    assert f"found frame {raw_frames}; frames of an EER movie are sums of raw" in outcome.err
    assert "e.eer#40,4K,uint16" in outcome.err


def test_the_gpu_asked_for_is_the_only_one_that_is_seen(
    run, movie_folder, listed, tmp_path, monkeypatch
):
    words = ["xmipp-movie-alignment", "-i", listed(movie_folder / "b.mrc"), "--sampling", 1.5,
             "-o", tmp_path / "out.xmd", "--skipLocalAlignment"]  # fmt: skip
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")

    assert run(*words, "--device", 1).code == 0
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "5"
    refused = run(*words, "--device", 1)

    assert (refused.code, "below 1" in refused.err) == (4, True)


def test_installed_scripts_run_this_flexalign_whatever_their_environment(
    run, movie_folder, listed, tmp_path
):
    assert run("xmipp-install", tmp_path / "home").code == 0
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "flexalign.py").write_text("raise SystemExit('the wrong one')")
    for name in ("xmipp_movie_alignment_correlation", "xmipp_cuda_movie_alignment_correlation"):
        subprocess.run(
            [tmp_path / "home" / "bin" / name, "-i", listed(movie_folder / "b.mrc"),
             "-o", tmp_path / f"{name}.xmd", "--sampling", "1.5", "--skipLocalAlignment"],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path / "other"),
                 "PYTHONHOME": "/nowhere"},
            check=True,
        )  # fmt: skip
        assert len(read_shifts(tmp_path / f"{name}.xmd").displacement_px) == 6


def test_programs_that_are_there_are_not_replaced_unasked(run, tmp_path):
    program = tmp_path / "bin" / "xmipp_movie_alignment_correlation"
    program.parent.mkdir()
    program.write_text("Xmipp's own")

    refused = run("xmipp-install", tmp_path)

    assert (refused.code, str(program) in refused.err) == (3, True)
    assert [path.name for path in program.parent.iterdir()] == [program.name]
    assert run("xmipp-install", tmp_path, "--overwrite").code == 0
    assert "flexalign" in program.read_text()
