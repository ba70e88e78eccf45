"""MotionCor's console output of all versions, told from what other programs write."""

from __future__ import annotations

import json

import numpy as np
import pytest

from flexalign.errors import InputError
from flexalign.io.inspect.inspection import inspect_file
from flexalign.io.motion_formats.alignment_pairs import find_alignments, match_alignments, read_pair
from flexalign.io.motion_formats.motioncor_logs import read_motioncor, read_movies
from flexalign.io.motion_formats.read_motion import (
    MovieFacts,
    format_of,
    read_all_facts,
    read_motion,
)
from flexalign.model import FrameRange, MovieInfo
from flexalign.motion import Motion
from flexalign.params import AlignParams
from flexalign.plain import write_json

# Steps of 3 and 4 pixels: a path of 5 pixels for each.
SHIFTS_YX = np.array([[0.0, 0.0], [-4.0, 3.0], [-8.0, 6.0], [-8.0, 11.0]])
PATH_PX = 15.0


def table(shifts_yx=SHIFTS_YX):
    rows = [f"{n:5d} {x:10.3f} {y:10.3f}" for n, (y, x) in enumerate(shifts_yx, start=1)]
    return ["Full-frame alignment", "  Frame   x Shift   y Shift", *rows, ""]


def lines(shifts_yx=SHIFTS_YX):
    """The same as other versions print it."""
    rows = [
        f"...... Frame ({n:3d}) shift: {x:9.3f} {y:9.3f}"
        for n, (y, x) in enumerate(shifts_yx, start=1)
    ]
    return ["Full-frame alignment shift", *rows, ""]


def run(movie="/data/m_1.frames.tiff", shifts=table, throw=2, trunc=1, serial=0, before=()):
    """What a run prints: its options, sizes, patches, shifts and more tables of numbers."""
    return "\n".join([
        "-InMrc           ", f"-InTiff          {movie}", "-InEer           ",
        "-FmIntFile       /data/int.txt", "-FmIntFile       /data/int.txt",
        f"-Serial          {serial}", "-FmDose          3.23", "-PixSize         0.73",
        f"-Throw           {throw}", f"-Trunc           {trunc}", "-SumRange        3.00  25.00",
        "", "", "GPU 0 memory: 8107 MB", *before,
        "TIFF file size mode: 480  320  7  1", f"Rendered size mode: 480  320  {len(SHIFTS_YX)}  1",
        "", "Full-frame alignment has been started.", "Iteration  1  Error:     7.619", "",
        "# CPatchCenters::Calculate()", "  0    204.00     204.00     200.00     232.00",
        "  1    612.00     204.00     616.00     296.00", *shifts(),
        "Global shifts are corrected: 0.064114 sec", "Start to align patches.", "",
        "  1    0     1.11      3.20", "  2    1     0.60      2.02", "  3    1     0.41      1.20",
        "Patch alignment time: 0.53(sec)", "", "Total time: 10.766483 sec", "",
    ])  # fmt: skip


@pytest.mark.parametrize("shifts", [table, lines])
def test_console_output_says_all_of_its_movie(tmp_path, shifts):
    (tmp_path / "a.txt").write_text(run(shifts=shifts))

    found = read_motioncor(tmp_path / "a.txt")

    np.testing.assert_array_equal(found.whole_px, SHIFTS_YX)
    assert (found.movie, found.pixel_size_A) == ("/data/m_1.frames.tiff", 0.73)
    assert (found.used, found.frame_count, found.shape_px) == (FrameRange(2, 6), 7, (320, 480))


def test_its_motion_has_the_path_of_the_table_and_marks_frames_thrown_away(tmp_path):
    (tmp_path / "a.txt").write_text(run())
    info = MovieInfo("x.tiff", "tiff", 7, 320, 480, "uint8", 0.73, 1)

    found = read_motion(tmp_path / "a.txt", info, 0.73)

    measured = found.trajectory.displacement_px[found.trajectory.is_measured]
    np.testing.assert_array_equal(measured, -SHIFTS_YX)
    steps = np.diff(measured, axis=0)
    assert np.linalg.norm(steps, axis=1).sum() == PATH_PX
    assert found.trajectory.is_measured.tolist() == [False, False, True, True, True, True, False]


def test_movies_that_were_aligned_one_by_one_are_told_by_their_names(tmp_path):
    other = 2 * SHIFTS_YX
    text = run("/d/a.tiff") + run("/d/b.tiff", lambda: table(other), throw=0, trunc=0)
    (tmp_path / "both.log").write_text(text)

    assert [facts.movie for facts in read_all_facts(tmp_path / "both.log")] == [
        "/d/a.tiff", "/d/b.tiff",
    ]  # fmt: skip
    np.testing.assert_array_equal(read_motioncor(tmp_path / "both.log", "b.tiff").whole_px, other)
    np.testing.assert_array_equal(read_motioncor(tmp_path / "both.log", "x/a").whole_px, SHIFTS_YX)
    with pytest.raises(InputError, match=r"shifts of c\.tiff, found those of 2 movies: a\.tiff, b"):
        read_motioncor(tmp_path / "both.log", "c.tiff")


def test_one_of_several_motions_is_not_read_without_its_movie(tmp_path):
    (tmp_path / "both.log").write_text(run("/d/a.tiff") + run("/d/b.tiff"))

    with pytest.raises(InputError, match="holds the motions of 2 movies: give `movie`"):
        read_motion(tmp_path / "both.log")


def test_movies_of_a_series_are_in_the_order_in_which_they_were_added(tmp_path):
    added = ["added: /d/s_1.tiff", "added: /d/s_2.tiff"]
    text = run("/d/s_", lambda: [*table(), *table(2 * SHIFTS_YX)], serial=1, before=added)
    (tmp_path / "s.log").write_text(text)

    found = read_movies(tmp_path / "s.log")

    assert [one.movie for one in found] == ["/d/s_1.tiff", "/d/s_2.tiff"]
    assert [one.whole_px[1, 0] for one in found] == [-4, -8]


def test_movies_without_names_are_not_guessed(tmp_path):
    (tmp_path / "s.log").write_text("\n".join([*lines(), *lines()]))

    with pytest.raises(InputError, match="found those of 2 movies: one that is not named"):
        read_motioncor(tmp_path / "s.log", "s.tiff")


def test_each_movie_of_a_log_is_compared_with_its_own(tmp_path):
    text = run("/d/a.tiff", throw=0, trunc=0)
    text += run("/d/b.tiff", lambda: table(2 * SHIFTS_YX), throw=0, trunc=0)
    (tmp_path / "both.log").write_text(text)
    for name in "ab":
        write_json(tmp_path / f"{name}_motion.json", Motion.still(len(SHIFTS_YX)))
    ours = find_alignments(str(tmp_path / "*.json"))

    pairs = match_alignments(ours, find_alignments(str(tmp_path / "both.log"))).pairs

    ends = {}
    for pair in pairs:
        _, theirs, facts = read_pair(pair)
        ends[pair.root] = theirs.trajectory.displacement_px[-1, 0]
        assert facts.pixel_size_A == 0.73
    assert ends == {"a": 8, "b": 16}


def test_info_lists_all_movies_of_a_log(tmp_path):
    (tmp_path / "both.log").write_text(run("/d/a.tiff") + run("/d/b.tiff"))

    facts = inspect_file(tmp_path / "both.log", AlignParams())

    assert [movie["movie"] for movie in facts.values["movies"]] == ["/d/a.tiff", "/d/b.tiff"]
    assert [movie["path_px"] for movie in facts.values["movies"]] == [PATH_PX, PATH_PX]
    json.dumps(facts.to_dict())


OTHERS = {
    "IMOD": " 1 -60.0 3.2 1.1\n 2 -57.0 2.2 0.9\n 3 -54.0 1.2 0.4\n",
    "CTFFIND": "# Output from CTFFind version 4.1.14\n# Pixel size: 1.0\n1.0 14000 13800 30 0 4\n",
    "AreTomo": (
        "# AreTomo Alignment / Priims bprmMn\n# RawSize = 4092 5760 41\n# NumPatches = 0\n"
        "# SEC ROT GMAG TX TY SMEAN SFIT SCALE BASE TILT\n"
        "    0  84.96  1.00000 -12.30 5.40 1.00 1.00 1.00 0.00 -60.00\n"
        "    1  84.96  1.00000 -11.30 5.10 1.00 1.00 1.00 0.00 -57.00\n"
    ),
    "three columns": "1 2 3\n2 3 4\n3 4 5\n",
}


@pytest.mark.parametrize("text", OTHERS.values(), ids=list(OTHERS))
@pytest.mark.parametrize("name", ["a.log", "a.aln", "a-Full.log"])
def test_numbers_of_other_programs_are_no_shifts(tmp_path, text, name):
    (tmp_path / name).write_text(text)

    with pytest.raises(InputError, match=r"AreTomo's|output of CTFFIND|another kind of text"):
        format_of(tmp_path / name)
    with pytest.raises(InputError, match="found another kind of text"):
        read_motioncor(tmp_path / name)


def test_the_alignment_of_a_tilt_series_beside_movies_is_left_out(tmp_path):
    (tmp_path / "tilts.aln").write_text(OTHERS["AreTomo"])
    (tmp_path / "a.log").write_text(run("/d/a.tiff"))

    assert [item.root for item in find_alignments(str(tmp_path))] == ["a"]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("    2      3.000", "    7      3.000", "expected frames from 1 to 4"),
        ("     3.000", "       nan", "larger ones or none"),
        ("     3.000", "     1e300", "larger ones or none"),
        ("-Throw           2", "-Throw           99999999999", "expected -Throw from 0"),
        ("-PixSize         0.73", "-PixSize         one", "expected MotionCor's"),
    ],
)
def test_broken_output_is_refused(tmp_path, old, new, words):
    text = run()
    assert old in text
    (tmp_path / "a.log").write_text(text.replace(old, new))

    with pytest.raises(InputError, match=f"a.log.*{words}"):
        read_motioncor(tmp_path / "a.log")


def test_patches_that_are_listed_per_frame_are_refused(tmp_path):
    (tmp_path / "m-Full.log").write_text("# full frame alignment\n 1 0 0\n 2 1 1\n")
    rows = [f"{frame} {x} {y} 0.1 0.2 0" for frame in (1, 2) for x in (9, 99) for y in (9, 99)]
    text = "# Patch based alignment\n# Movie size: 120 120 2\n" + "\n".join(rows) + "\n"
    (tmp_path / "m-Patch-Patch.log").write_text(text)

    with pytest.raises(InputError, match="expected rows of all frames"):
        read_motioncor(tmp_path / "m-Patch-Patch.log")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_output_that_windows_saved_is_read(tmp_path, encoding):
    (tmp_path / "a.log").write_bytes(run().replace("\n", "\r\n").encode(encoding))

    assert read_all_facts(tmp_path / "a.log") == [
        MovieFacts("/data/m_1.frames.tiff", 7, (320, 480), 0.73)
    ]
