"""Alignments are found in files and folders of all formats, and matched by the movie's name."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from flexalign.errors import InputError
from flexalign.io.motion_formats import motioncor, truth, warp, xmd
from flexalign.io.motion_formats.alignment_pairs import (
    Alignment,
    Pair,
    alignments_of,
    find_alignments,
    match_alignments,
    read_pair,
)
from flexalign.io.motion_formats.read_motion import (
    MovieFacts,
    join_facts,
    read_all_facts,
    read_motion,
)
from flexalign.io.motion_formats.relion import RelionMovie, write_motion_star
from flexalign.model import FrameRange, MovieInfo
from flexalign.motion import Motion, MotionField, Trajectory
from flexalign.plain import write_json
from flexalign.simulate import simulate_movie

SHAPE, FRAMES, PIXEL_SIZE_A = (300, 400), 8, 1.3
ALL = FrameRange(0, FRAMES)


def motion(has_field=True):
    rng = np.random.default_rng(0)
    trajectory = Trajectory(rng.normal(size=(FRAMES, 2)).cumsum(axis=0), np.ones(FRAMES, bool), 0)
    field = MotionField(rng.normal(size=(2, 4, 4, 4)), *SHAPE, ALL)
    return Motion(trajectory, field if has_field else None)


def save(path: Path, moved=None, movie="day/m.tiff"):
    """Write a motion in the format that the name of the file asks for."""
    path.parent.mkdir(parents=True, exist_ok=True)
    moved = moved or motion()
    shifts = motioncor.as_patch_shifts(moved, ALL, (6, 6))
    if path.name.endswith(".aln"):
        motioncor.write_aln(path, shifts, SHAPE, FRAMES, (6, 6))
    elif path.name.endswith("-Full.log"):
        motioncor.write_full_log(path, shifts)
    elif path.name.endswith(".log"):
        motioncor.write_console_log(path, shifts)
    elif path.suffix == ".xml":
        warp.write_warp(
            path, moved, PIXEL_SIZE_A, MovieInfo("m.tiff", "tiff", FRAMES, *SHAPE, "int8", None, 1)
        )
    elif path.suffix == ".xmd":
        xmd.write_shifts(path, moved, movie)
    elif path.suffix == ".star":
        write_motion_star(path, RelionMovie(movie, SHAPE, FRAMES, PIXEL_SIZE_A, 300.0, ALL), moved)
    else:
        write_json(path, moved)
    return path


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("m_motion.json", MovieFacts(None, FRAMES, SHAPE)),
        ("m.aln", MovieFacts(None, FRAMES, SHAPE)),
        ("m-Full.log", MovieFacts(None, FRAMES)),
        ("m.log", MovieFacts(None, FRAMES)),
        ("m.xml", MovieFacts(None, FRAMES, SHAPE, PIXEL_SIZE_A)),
        ("m_shifts.xmd", MovieFacts("day/m.tiff", FRAMES)),
        ("m.star", MovieFacts("day/m.tiff", FRAMES, SHAPE, PIXEL_SIZE_A)),
    ],
)
def test_a_file_says_what_it_knows_of_its_movie(tmp_path, name, expected):
    assert read_all_facts(save(tmp_path / name)) == [expected]


def test_the_log_of_patches_says_the_size(tmp_path):
    shifts = motioncor.as_patch_shifts(motion(), ALL, (6, 6))
    motioncor.write_full_log(tmp_path / "m-Full.log", shifts)
    motioncor.write_patch_log(tmp_path / "m-Patch-Patch.log", shifts, SHAPE)

    assert read_all_facts(tmp_path / "m-Full.log") == [MovieFacts(None, FRAMES, SHAPE)]


def test_the_truth_of_a_simulation_is_a_motion(tmp_path):
    movie = simulate_movie(shape_px=(96, 128), frame_count=5, particles=0, pixel_size_A=1.4)
    path = movie.save(tmp_path, "s", "mrc")["truth"]

    (facts,) = read_all_facts(path)
    info = MovieInfo("s.mrc", "mrc", 5, 96, 128, "int8", 1.4, 1)
    found = read_motion(path, info, 1.4)

    assert facts == MovieFacts(None, 5, (96, 128), 1.4)
    true = truth.read_truth(path)
    dy_dx = found.displacement_px(np.arange(5)[:, None, None], true.y_px[:, None], true.x_px)
    np.testing.assert_allclose(np.stack(dy_dx, axis=-1), movie.displacement_px, atol=1e-9)
    assert np.abs(movie.displacement_px).max() > 1


def test_an_archive_that_is_no_truth_is_refused(tmp_path):
    np.savez(tmp_path / "m_truth.npz", numbers=np.arange(3))

    with pytest.raises(InputError, match="flexalign simulate"):
        read_all_facts(tmp_path / "m_truth.npz")


def test_a_folder_gives_one_alignment_for_each_movie_and_nothing_else(tmp_path):
    for name in ("a_motion.json", "a.aln", "a_shifts.xmd", "b.aln", "sub/c.log"):
        save(tmp_path / name, movie=f"{name[0]}.mrc")
    (tmp_path / "run.log").write_text("12 movies done\n")
    (tmp_path / "epu.xml").write_text("<MicroscopeImage/>")
    (tmp_path / "job.star").write_text("data_job\n\n_rlnJobTypeLabel x\n")
    (tmp_path / ".hidden").mkdir()
    save(tmp_path / ".hidden" / "d.aln")

    found = {item.root: item.path.name for item in find_alignments(str(tmp_path))}

    assert found == {"a": "a_motion.json", "b": "b.aln", "c": "c.log"}


def test_a_job_of_relion_gives_the_movies_in_its_table(tmp_path):
    job = tmp_path / "MotionCorr" / "job002"
    for name in ("a_b", "c"):
        save(job / "Movies" / f"{name}.star", movie=f"Movies/{name.replace('_', '.')}.tiff")
    table = job / "corrected_micrographs.star"
    table.write_text(
        "data_micrographs\n\nloop_\n_rlnMicrographName #1\n_rlnMicrographMetadata #2\n"
        "x.mrc MotionCorr/job002/Movies/a_b.star\ny.mrc MotionCorr/job002/Movies/gone.star\n"
    )

    for argument in (job, table):
        first, second = find_alignments(str(argument))
        assert (first.root, first.problem) == ("a.b", "")
        assert second.root == "gone"
        assert "gone.star" in second.problem


def test_a_pattern_gives_its_files(tmp_path):
    for name in ("a.aln", "b.aln", "b_motion.json"):
        save(tmp_path / name)

    assert [item.root for item in find_alignments(f"{tmp_path}/*.aln")] == ["a", "b"]


@pytest.mark.parametrize(
    ("name", "message"), [("none", "no such file or folder"), ("*.aln", "found none")]
)
def test_what_is_not_there_is_said(tmp_path, name, message):
    with pytest.raises(InputError, match=message):
        find_alignments(f"{tmp_path}/{name}")


def items(*roots):
    return [Alignment(Path(f"{i}/{root}"), root, MovieFacts()) for i, root in enumerate(roots)]


def matched(a, b):
    found = match_alignments(items(*a), items(*b))
    return (
        [(pair.a.root, pair.b.root) for pair in found.pairs],
        [item.root for item in found.only_a],
        [item.root for item in found.only_b],
        list(found.ambiguous),
    )


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (["m", "n"], ["n", "o"], ([("n", "n")], ["m"], ["o"], [])),
        (["x"], ["y"], ([("x", "y")], [], [], [])),
        (["a.b", "c"], ["a_b", "c"], ([("a.b", "a_b"), ("c", "c")], [], [], [])),
        (["m", "n"], ["m_aligned", "n.log0"], ([("m", "m_aligned"), ("n", "n.log0")], [], [], [])),
        (["m_1", "n"], ["m_10", "n"], ([("n", "n")], ["m_1"], ["m_10"], [])),
        (["m", "m", "n"], ["m", "n"], ([("n", "n")], [], [], ["m"])),
        (["a.b", "a_b"], ["a-b", "c"], ([], ["a.b", "a_b"], ["a-b", "c"], [])),
    ],
)
def test_movies_are_matched_by_name_and_never_guessed(a, b, expected):
    assert matched(a, b) == expected


def pair(a: Path, b: Path) -> Pair:
    one, other = (find_alignments(str(path))[0] for path in (a, b))
    return Pair("m", one, other)


def test_each_side_fills_in_what_the_other_does_not_know(tmp_path):
    both = pair(save(tmp_path / "m.star"), save(tmp_path / "m.xml"))

    _, b, facts = read_pair(both)

    assert facts == MovieFacts("day/m.tiff", FRAMES, SHAPE, PIXEL_SIZE_A)
    dy_dx = b.displacement_px(5, 30.0, 300.0)
    np.testing.assert_allclose(dy_dx, motion().displacement_px(5, 30.0, 300.0), atol=0.01)


def test_what_nobody_knows_is_asked_for(tmp_path):
    silent = save(tmp_path / "m.xml")
    text = silent.read_text()
    silent.write_text(text[: text.index("<Options")] + text[text.index("<GridMovementX") :])
    both = pair(silent, save(tmp_path / "m_shifts.xmd"))

    with pytest.raises(InputError, match="`pixel_size_A`"):
        read_pair(both)
    with pytest.raises(InputError, match="`shape_px`"):
        read_pair(both, pixel_size_A=PIXEL_SIZE_A)
    _, _, facts = read_pair(both, pixel_size_A=PIXEL_SIZE_A, shape_px=SHAPE)
    assert facts.shape_px == SHAPE


def test_without_local_motion_the_size_is_not_needed(tmp_path):
    a, b = (save(tmp_path / name, motion(has_field=False)) for name in ("m.log", "m_shifts.xmd"))

    _, _, facts = read_pair(pair(a, b))

    assert facts.shape_px is None


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (MovieFacts(frame_count=9), "8 in A and 9 in B"),
        (MovieFacts(shape_px=(300, 200)), "400 x 300 in A and 200 x 300 in B"),
        (MovieFacts(pixel_size_A=0.65), r"1\.3 A in A and 0\.65 A in B"),
    ],
)
def test_files_that_contradict_each_other_are_refused(other, message):
    with pytest.raises(InputError, match=message):
        join_facts(MovieFacts("m", FRAMES, SHAPE, PIXEL_SIZE_A), other)


def test_pixel_sizes_that_were_rounded_are_the_same():
    joined = join_facts(MovieFacts(pixel_size_A=0.8342), MovieFacts(pixel_size_A=0.834))

    assert joined.pixel_size_A == 0.8342


# Behind which words of a file a number is a shift or a coefficient.
MARKS = {
    "m_motion.json": "coefficients_px",
    "m.aln": "localShift",
    "m-Full.log": "shift in pixels",
    "m.xml": "GridMovementX",
    "m_shifts.xmd": "data_localAlignment",
    "m.star": "data_local_motion_model",
}


@pytest.mark.parametrize("name", MARKS)
@pytest.mark.parametrize("word", ["NaN", "x"])
def test_a_file_with_a_number_that_is_none_is_refused_by_its_name(tmp_path, name, word):
    path = save(tmp_path / name)
    text = path.read_text()
    start = text.index(MARKS[name])
    number = re.compile(r"-?\d+\.\d+(e-?\d+)?").search(text, start)
    path.write_text(text[: number.start()] + word + text[number.end() :])
    info = MovieInfo("m.mrc", "mrc", FRAMES, *SHAPE, "int8", PIXEL_SIZE_A, 1)

    with pytest.raises(InputError, match=name):
        read_motion(path, info, PIXEL_SIZE_A)


def test_movies_of_one_name_are_told_apart_by_their_paths(tmp_path):
    movies = [tmp_path / day / "m.tiff" for day in ("one", "two")]
    for movie, name in zip(movies, ("m", "two_m"), strict=True):
        save(tmp_path / "out" / f"{name}.star", movie=str(movie))

    found, missing = alignments_of(movies, str(tmp_path / "out"))

    assert found == {movies[0]: tmp_path / "out/m.star", movies[1]: tmp_path / "out/two_m.star"}
    assert not missing


def test_a_movie_is_never_given_the_alignment_of_another_name(tmp_path):
    """Two single files are compared whatever their names; a motion is not applied so."""
    save(tmp_path / "out" / "m_motion.json")
    (tmp_path / "other.tiff").touch()

    found, missing = alignments_of([tmp_path / "other.tiff"], str(tmp_path / "out"))

    assert not found
    assert "expected its alignment in" in missing[tmp_path / "other.tiff"]


def test_a_movie_that_does_not_exist_is_not_missed_among_the_alignments(tmp_path):
    save(tmp_path / "out" / "m_motion.json")

    _, missing = alignments_of([tmp_path / "other.tiff"], str(tmp_path / "out"))

    assert missing == {tmp_path / "other.tiff": f"{tmp_path / 'other.tiff'}: no such file"}


def test_names_that_other_programs_changed_are_matched(tmp_path):
    save(tmp_path / "out" / "a_b.aln")

    found, _ = alignments_of([tmp_path / "a.b.tiff"], str(tmp_path / "out"))

    assert found == {tmp_path / "a.b.tiff": tmp_path / "out" / "a_b.aln"}
