"""``flexalign divide``: two movies of independent electrons of one movie."""

from __future__ import annotations

import csv
import io

import mrcfile
import numpy as np
import pytest
import tifffile

from flexalign.io.movies.open_movie import open_movie
from flexalign.simulate import simulate_movie

SHAPE = (256, 272)


def read(path):
    with open_movie(path) as reader:
        return np.stack([frame.pixels for frame in reader.frames()]).astype(int)


@pytest.fixture(scope="module")
def counts():
    """Frames of 12 electrons per pixel, with a pattern that they share."""
    rng = np.random.default_rng(1)
    return rng.poisson(rng.uniform(8, 16, SHAPE), (6, *SHAPE)).astype(np.uint8)


def save(path, counts):
    """Write counts as a movie."""
    if path.suffix == ".tiff":
        tifffile.imwrite(path, counts, photometric="minisblack", metadata=None)
    else:
        with mrcfile.new(path, counts) as mrc:
            mrc.set_image_stack()
            mrc.voxel_size = 0.83
    return path


@pytest.fixture
def halves(tmp_path, run, counts):
    """Divide a movie; the movie, its halves and how the command ended."""

    def divide(name="m.tiff", *options):
        path = save(tmp_path / name, counts if name.endswith("tiff") else counts.astype(np.int16))
        found = run("divide", path, "--out", tmp_path / "out", *options)
        assert found.code == 0, found.err
        return path, *(tmp_path / "out" / half / name for half in "ab")

    return divide


@pytest.mark.parametrize("name", ["m.tiff", "m.mrc"])
def test_the_halves_add_up_to_the_movie(halves, name):
    movie, a, b = halves(name)

    np.testing.assert_array_equal(read(a) + read(b), read(movie))


@pytest.mark.parametrize("name", ["m.tiff", "m.mrc"])
def test_the_halves_have_the_format_of_the_movie(halves, name):
    movie, *paths = halves(name)

    with open_movie(movie) as reader:
        expected = reader.info
    for path in paths:
        with open_movie(path) as reader:
            assert reader.info.file_format == expected.file_format
            assert reader.info.pixel_dtype == expected.pixel_dtype
            assert reader.info.pixel_size_A == expected.pixel_size_A


def test_each_half_has_half_of_the_electrons(halves):
    movie, a, b = halves()

    total = read(movie).sum()

    for path in (a, b):
        assert read(path).sum() == pytest.approx(total / 2, abs=5 * np.sqrt(total) / 2)


def test_the_noise_of_the_halves_is_independent(halves):
    _, a, b = halves()

    # The difference of frames has no pattern, only noise.
    one, other = (np.diff(read(path), axis=0)[::2].ravel() for path in (a, b))

    assert abs(np.corrcoef(one, other)[0, 1]) < 5 / np.sqrt(one.size)


def test_counts_of_any_size_are_binomially_divided(halves):
    movie, a, _ = halves()
    total, half = read(movie), read(a)

    for n in (1, 5, 8, 9, 15, 25):
        found = half[total == n]
        if len(found):
            assert found.mean() == pytest.approx(n / 2, abs=5 * np.sqrt(n / 4 / len(found)))
            assert found.var() == pytest.approx(n / 4, rel=5 * np.sqrt(2 / len(found)))


def test_a_seed_gives_its_halves_again_and_another_gives_others(halves):
    first = read(halves()[1])

    again = read(halves("m.tiff", "--overwrite")[1])
    other = read(halves("m.tiff", "--overwrite", "--seed", 2)[1])

    np.testing.assert_array_equal(again, first)
    assert (other != first).any()


def test_existing_halves_are_not_replaced(halves, run, tmp_path):
    _, a, _ = halves()
    before = a.read_bytes()

    found = run("divide", tmp_path / "m.tiff", "--out", tmp_path / "out", "--seed", 2)

    assert found.code == 3
    assert "--overwrite" in found.err
    assert a.read_bytes() == before


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda c: c.astype(np.float32), "found float32"),
        (lambda c: 10 * c.astype(np.int16), "variance is at most their mean; found 10"),
        (lambda c: c.astype(np.int16) - 20, "expected counts of electrons, found -"),
    ],
    ids=["floats", "scaled", "offset"],
)
def test_a_movie_without_counts_is_refused(run, tmp_path, counts, change, problem):
    path = save(tmp_path / "m.mrc", change(counts))

    found = run("divide", path, "--out", tmp_path / "out")

    assert found.code == 3
    assert problem in found.err
    assert not [file for file in (tmp_path / "out").rglob("*") if file.is_file()]


def test_a_movie_that_breaks_off_leaves_nothing(run, tmp_path, counts):
    path = tmp_path / "m.tiff"
    tifffile.imwrite(path, counts, photometric="minisblack", compression="lzw", metadata=None)
    with tifffile.TiffFile(path) as tiff:
        offset, size = tiff.pages[4].dataoffsets[0], tiff.pages[4].databytecounts[0]
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(bytes(size))

    found = run("divide", path, "--out", tmp_path / "out")

    assert found.code == 3
    assert "frame 5" in found.err
    assert not [file for file in (tmp_path / "out").rglob("*") if file.is_file()]


def test_eer_is_refused(run, tmp_path):
    movie = simulate_movie(shape_px=SHAPE, frame_count=4, gain=False)
    path = movie.save(tmp_path, "m", "eer")["movie"]

    found = run("divide", path, "--out", tmp_path / "out")

    assert found.code == 3
    assert "expected counts in MRC or TIFF, found EER" in found.err


def test_one_half_scores_the_alignment_of_the_other(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    movie = simulate_movie(
        shape_px=(384, 400), frame_count=6, seed=1, pixel_size_A=1.5, electrons_per_px=20.0,
        dose_per_frame_e_A2=2.0, global_motion_px=6.0, local_motion_px=1.0, gain=False,
    )  # fmt: skip
    movie.save(tmp_path, "m", "tiff")
    known = ("--pixel-size", 1.5, "--dose-per-frame", 2)
    run("divide", "m.tiff", "--out", "halves")
    run("align", "halves/a/m.tiff", *known, "--no-psd", "--no-report", "--out", "ours")

    found = run("score", "ours", "--movies", "halves/b", "--independent", "--csv", *known)

    assert found.code == 0, found.err
    rows = {row["alignment"]: row for row in csv.DictReader(io.StringIO(found.out))}
    assert float(rows["ours"]["fitted_parameters_high"]) == 0
    assert float(rows["ours"]["log_likelihood"]) > float(rows["none"]["log_likelihood"])


def test_the_help_says_that_eer_movies_cannot_be_divided(run):
    shown = " ".join(run("divide", "--help").out.replace("│", " ").split())

    assert "Movies (MRC or TIFF with counts; not EER)" in shown
    assert "EER movies cannot be divided" in shown
