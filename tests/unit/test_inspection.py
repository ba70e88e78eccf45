"""What a file is, is told from its content; of a broken movie, what is left of it."""

from __future__ import annotations

import bz2
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import tifffile

from flexalign.batch.folder_facts import inspect_folder
from flexalign.errors import InputError
from flexalign.io.inspect.inspection import inspect_file
from flexalign.io.movies.eer_writer import write_eer
from flexalign.motion import Motion, Trajectory
from flexalign.params import AlignParams
from flexalign.plain import write_json

HEIGHT, WIDTH, FRAMES = 48, 64, 6
PARAMS = AlignParams(pixel_size_A=1.5)
EXPOSURE = {
    "exposureTime": ("8.6", "s"),
    "totalDose": ("40.5", "e/pixel"),
    "numberOfFrames": ("103", ""),
}


def write_mrc(path: Path, data: np.ndarray, pixel_size_A: float = 1.8) -> Path:
    with mrcfile.new(path, data) as mrc:
        mrc.voxel_size = pixel_size_A
    return path


def frames(dtype=np.int8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 9, (FRAMES, HEIGHT, WIDTH)).astype(dtype)


def eer_movie(path: Path, raw_frames: int = 103, **metadata: tuple[str, str]) -> Path:
    rng = np.random.default_rng(1)
    events = (rng.integers(0, 4 * HEIGHT, (60, 2)) for _ in range(raw_frames))
    write_eer(path, events, height_px=HEIGHT, width_px=WIDTH, pixel_size_A=0.9,
              metadata={**EXPOSURE, **metadata})  # fmt: skip
    return path


def cut(path: Path, part: float) -> Path:
    """The file cut short."""
    data = path.read_bytes()
    path.write_bytes(data[: int(part * len(data))])
    return path


def line(facts, name: str) -> str:
    return dict(facts.lines)[name]


def test_a_movie_says_what_would_be_done_with_it(tmp_path):
    path = write_mrc(tmp_path / "m.mrc", frames())

    facts = inspect_file(path, AlignParams(dose_per_frame_e_A2=1.2))

    assert (facts.kind, facts.problem) == ("movie", "")
    assert line(facts, "size") == f"{WIDTH} x {HEIGHT} px, {FRAMES} frames"
    assert line(facts, "pixel size") == "1.8 A"
    assert line(facts, "dose per frame") == "1.2 e/A2"
    plain = facts.to_dict()
    assert plain["movie"]["pixel_dtype"] == "int8"
    assert plain["plan"]["output_shape_px"] == [HEIGHT, WIDTH]


def test_without_a_pixel_size_it_says_so_and_the_rest(tmp_path):
    facts = inspect_file(write_mrc(tmp_path / "m.mrc", frames(), 1.0), AlignParams())

    assert facts.problem == ""
    assert "`pixel_size_A`" in line(facts, "plan")
    assert line(facts, "size").startswith(f"{WIDTH} x {HEIGHT}")


def test_the_compression_of_a_tiff_is_named(tmp_path):
    tifffile.imwrite(tmp_path / "m.tiff", frames(np.uint8), compression="lzw", photometric=1)

    assert line(inspect_file(tmp_path / "m.tiff", PARAMS), "compression") == "lzw"


def test_an_eer_file_says_its_exposure_and_what_is_left_over(tmp_path):
    facts = inspect_file(eer_movie(tmp_path / "m.eer"), AlignParams())

    assert line(facts, "EER") == "103 raw frames, 2 per frame, 23 left over, upsampling 1"
    assert facts.values["metadata"]["exposureTime"] == "8.6 s"
    # 40.5 electrons in a pixel of 0.9 A
    assert facts.values["total_dose_e_A2"] == pytest.approx(50)
    assert "--eer-total-dose 50" in line(facts, "dose")


def test_the_dose_does_not_depend_on_upsampling(tmp_path):
    path = eer_movie(tmp_path / "m.eer")

    facts = inspect_file(path, AlignParams(eer_upsampling=2))

    assert facts.values["total_dose_e_A2"] == pytest.approx(50)


def test_a_dose_in_another_unit_is_not_guessed(tmp_path):
    facts = inspect_file(eer_movie(tmp_path / "m.eer", totalDose=("40", "mC")), AlignParams())

    assert facts.values["total_dose_e_A2"] is None
    assert facts.values["metadata"]["totalDose"] == "40 mC"


def test_an_eer_file_with_few_raw_frames_is_not_broken(tmp_path):
    facts = inspect_file(eer_movie(tmp_path / "m.eer", 12), AlignParams())

    assert facts.problem == ""
    assert "12 raw frames" in line(facts, "plan")


def test_a_truncated_mrc_says_how_many_frames_are_there(tmp_path):
    facts = inspect_file(cut(write_mrc(tmp_path / "m.mrc", frames()), 0.6), PARAMS)

    assert line(facts, "whole") == "3 of 6 frames are there"
    assert facts.values == {"whole_frames": 3, "expected": 6}
    assert "truncated" in facts.problem


def test_a_truncated_tiff_says_how_many_pages_are_there(tmp_path):
    with tifffile.TiffWriter(tmp_path / "m.tiff") as tiff:
        for frame in frames(np.uint8):
            tiff.write(frame, contiguous=False, photometric="minisblack", metadata=None)
    facts = inspect_file(cut(tmp_path / "m.tiff", 0.6), PARAMS)

    assert line(facts, "whole") == "3 pages are there"
    assert "truncated" in facts.problem


def test_a_truncated_eer_says_how_many_raw_frames_are_there(tmp_path):
    facts = inspect_file(cut(eer_movie(tmp_path / "m.eer"), 0.5), PARAMS)

    count = facts.values["whole_raw_frames"]
    assert 45 <= count <= 55
    assert line(facts, "whole") == f"{count} of 103 raw frames are there"
    assert facts.problem


def test_a_movie_is_read_through_on_request(tmp_path):
    data = frames()
    path = write_mrc(tmp_path / "m.mrc", data)

    facts = inspect_file(path, PARAMS, read=True)

    assert facts.values["mean_per_px"] == pytest.approx(data.mean())
    assert facts.values["frame_mean_per_px"] == pytest.approx(data.mean(axis=(1, 2)))
    assert "frame_mean_per_px" not in inspect_file(path, PARAMS).values


def test_a_frame_that_cannot_be_decoded_is_found_by_reading(tmp_path):
    path = tmp_path / "m.tiff"
    tifffile.imwrite(path, frames(np.uint8), compression="zlib", photometric="minisblack")
    with tifffile.TiffFile(path) as tiff:
        offset = tiff.pages[2].dataoffsets[0]
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(b"\xff" * 20)

    assert inspect_file(path, PARAMS).problem == ""
    assert "frame 3: " in inspect_file(path, PARAMS, read=True).problem


def test_a_compressed_movie_that_is_cut_short_is_found_by_reading(tmp_path):
    plain = write_mrc(tmp_path / "m.mrc", frames()).read_bytes()
    path = tmp_path / "m.mrc.bz2"
    path.write_bytes(bz2.compress(plain)[:-200])

    facts = inspect_file(path, PARAMS, read=True)

    assert "truncated" in facts.problem


@pytest.mark.filterwarnings("ignore:Data array contains NaN")
def test_a_gain_has_statistics(tmp_path):
    gain = np.full((HEIGHT, WIDTH), 1.05, np.float32)
    gain[:2] = 0
    gain[5, 5], gain[6, 6] = np.nan, -1

    facts = inspect_file(write_mrc(tmp_path / "g.mrc", gain), PARAMS)

    assert facts.kind == "image"
    assert {name: facts.values[name] for name in ("zeros", "negative", "not_finite")} == {
        "zeros": 2 * WIDTH, "negative": 1, "not_finite": 1,
    }  # fmt: skip
    assert line(facts, "as a gain").startswith("mean 1.05 of usable pixels, 130 that are not")
    assert "float32" in line(facts, "format")


def test_counts_are_told_from_a_gain_that_multiplies(tmp_path):
    counts = np.full((HEIGHT, WIDTH), 800, np.float32)

    facts = inspect_file(write_mrc(tmp_path / "g.mrc", counts), PARAMS)

    assert "`gain_sense` divide" in line(facts, "as a gain")


@pytest.mark.parametrize("suffix", ["tiff", "gain", "mrc"])
def test_a_map_of_defects_is_told_from_a_gain(tmp_path, suffix):
    bad = np.zeros((HEIGHT, WIDTH), np.uint8)
    bad[3:5, 7] = 1
    path = tmp_path / f"d.{suffix}"
    if suffix == "mrc":
        write_mrc(path, bad.astype(np.int8))
    else:
        tifffile.imwrite(path, bad, photometric="minisblack")

    assert line(inspect_file(path, PARAMS), "as defects") == "2 bad pixels (not zero)"


def test_a_list_of_bad_pixels_is_counted(tmp_path):
    (tmp_path / "d.txt").write_text("# columns\n100 0 1 512\n5, 6, 2, 2\n")

    facts = inspect_file(tmp_path / "d.txt", PARAMS)

    assert facts.kind == "defects"
    assert (facts.values["rectangles"], facts.values["bad_pixels"]) == (2, 516)
    assert line(facts, "fits") == "detectors of 101 x 512 pixels and more"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hello, world\n", "found another kind of text"),
        ("CameraSize 5760 4092\n", "SerialEM"),
        ("{}", "found neither"),
        ('{"movies": [], "parameters": {}}', "give its folder"),
        ("\0\1\2 no movie", "unknown format"),
        ("", "empty file"),
    ],
)
def test_what_is_none_of_these_is_refused(tmp_path, text, message):
    (tmp_path / "x").write_text(text)

    with pytest.raises(InputError, match=message) as refused:
        inspect_file(tmp_path / "x", PARAMS)

    assert str(tmp_path / "x") in str(refused.value)


def test_a_motion_has_its_path(tmp_path):
    path = np.cumsum(np.full((FRAMES, 2), [0.3, 0.4]), axis=0)
    write_json(tmp_path / "m.json", Motion(Trajectory(path, np.ones(FRAMES, bool), 2)))

    facts = inspect_file(tmp_path / "m.json", PARAMS)

    assert facts.values["path_px"] == pytest.approx(0.5 * (FRAMES - 1))
    assert line(facts, "measured") == "6 frames, relative to frame 3"


def test_a_list_of_micrographs_is_counted(tmp_path):
    (tmp_path / "m.star").write_text(
        "data_micrographs\n\nloop_\n_rlnMicrographName #1\n_rlnOpticsGroup #2\na.mrc 1\nb.mrc 1\n"
    )

    assert inspect_file(tmp_path / "m.star", PARAMS).values == {"micrographs": 2}


def test_a_folder_of_movies_is_counted(tmp_path):
    for name in ("a.mrc", "b.mrc", "c.tiff"):
        (tmp_path / name).touch()

    assert inspect_folder(tmp_path).values["image_files"] == {".mrc": 2, ".tiff": 1}


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="found none"):
        inspect_folder(tmp_path)
