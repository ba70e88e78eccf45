"""Movies and references that are arrays, and readers of one's own."""

from __future__ import annotations

import hashlib

import mrcfile
import numpy as np
import pytest

from flexalign import (
    AlignParams,
    ArrayMovie,
    FlexAlignError,
    MovieInfo,
    RawFrame,
    SeekableMovie,
    align_movie,
    simulate_movie,
)

PARAMS = AlignParams(pixel_size_A=1.5, dose_per_frame_e_A2=1.0, local=False, threads=1)


class FramesOnly:
    """An array of which only single frames can be taken, as of a file larger than memory."""

    def __init__(self, pixels: np.ndarray) -> None:
        self.shape, self.dtype, self._pixels = pixels.shape, pixels.dtype, pixels

    def __getitem__(self, index: int) -> np.ndarray:
        assert isinstance(index, int)
        return self._pixels[index]

    def __array__(self, *args: object, **options: object) -> np.ndarray:
        raise AssertionError("the array is read as a whole")


class OneByOne:
    """A reader with no more than the protocol requires; the first frame is read twice."""

    def __init__(self, pixels: np.ndarray, **changes: object) -> None:
        frames, height, width = pixels.shape
        facts = {"frame_count": frames, "pixel_dtype": pixels.dtype.name} | changes
        self.info = MovieInfo(
            "movie.own", "own", height_px=height, width_px=width, pixel_size_A=1.5,
            size_bytes=pixels.nbytes, **facts,
        )  # fmt: skip
        self._pixels, self.is_open = pixels, True

    def frames(self, frames=None, *, threads=1):
        wanted = range(len(self._pixels)) if frames is None else frames
        return iter([RawFrame(index, self._pixels[index]) for index in wanted])

    def close(self):
        self.is_open = False

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


@pytest.fixture(scope="module")
def movie():
    return simulate_movie(shape_px=(64, 80), frame_count=6, threads=1)


@pytest.fixture(scope="module")
def from_file(movie, tmp_path_factory):
    """The result for the movie and its gain in files."""
    paths = movie.save(tmp_path_factory.mktemp("movie"), "m", "mrc")
    return align_movie(paths["movie"], PARAMS, gain=paths["gain"])


def assert_same(result, expected):
    assert result.motion == expected.motion
    np.testing.assert_array_equal(result.sums.plain, expected.sums.plain)
    np.testing.assert_array_equal(result.sums.dose_weighted, expected.sums.dose_weighted)


@pytest.mark.parametrize("stored", [np.asarray, FramesOnly, ArrayMovie, OneByOne])
def test_arrays_and_readers_give_the_result_of_the_file(movie, from_file, stored):
    assert_same(align_movie(stored(movie.counts), PARAMS, gain=movie.gain), from_file)


def test_a_memory_mapped_array_gives_the_result_of_the_file(movie, from_file, tmp_path):
    np.save(tmp_path / "frames.npy", movie.counts)
    frames = np.load(tmp_path / "frames.npy", mmap_mode="r")

    assert_same(align_movie(frames, PARAMS, gain=movie.gain), from_file)


def test_a_dask_array_gives_the_result_of_the_file(movie, from_file):
    dask = pytest.importorskip("dask.array")
    frames = dask.from_array(movie.counts, chunks=(2, 64, 80))

    assert_same(align_movie(frames, PARAMS, gain=movie.gain), from_file)


@pytest.mark.parametrize("dtype", ["int64", "float64", ">u2", "uint32", "float32"])
def test_the_dtype_of_the_array_does_not_matter(movie, from_file, dtype):
    result = align_movie(movie.counts.astype(dtype), PARAMS, gain=movie.gain)

    np.testing.assert_allclose(
        result.motion.trajectory.displacement_px,
        from_file.motion.trajectory.displacement_px,
        atol=0.01,
    )


def test_a_reader_of_ones_own_stays_open(movie):
    reader = OneByOne(movie.counts)

    align_movie(reader, PARAMS)

    assert reader.is_open


def test_a_seekable_movie_needs_only_the_reading_of_a_frame(movie, from_file):
    class Frames(SeekableMovie):
        def read_frame(self, index):
            return RawFrame(index, movie.counts[index])

    info = MovieInfo("m", "own", 6, 64, 80, movie.counts.dtype.name, None, movie.counts.nbytes)

    assert_same(align_movie(Frames(info), PARAMS, gain=movie.gain), from_file)


@pytest.fixture(scope="module")
def references(movie) -> dict[str, np.ndarray]:
    """A gain, a dark that is not zero everywhere, and a block of defects."""
    dark = np.zeros((64, 80), np.float32)
    dark[:32] = 1
    defects = np.zeros((64, 80), np.int8)
    defects[7:10, 8:12] = 1
    return {"gain": movie.gain, "dark": dark, "defects": defects}


def test_references_that_are_arrays_give_the_result_of_files(movie, references, tmp_path):
    paths = {role: tmp_path / f"{role}.mrc" for role in references}
    for role, image in references.items():
        mrcfile.write(paths[role], image)

    result = align_movie(movie.counts, PARAMS, **references)

    assert_same(result, align_movie(movie.counts, PARAMS, **paths))


@pytest.mark.parametrize("role", ["gain", "dark", "defects"])
def test_each_reference_changes_the_micrograph(movie, references, role):
    others = {name: image for name, image in references.items() if name != role}

    with_all, without = (
        align_movie(movie.counts, PARAMS, **images) for images in (references, others)
    )

    assert not np.array_equal(with_all.sums.plain, without.sums.plain)


def test_references_that_are_arrays_are_identified_in_the_record(movie, references):
    inputs = align_movie(movie.counts, PARAMS, **references).record.inputs

    assert inputs.keys() == {"movie", *references}
    for role, image in references.items():
        pixels = image.astype(np.float32)
        assert inputs[role]["sha256"] == hashlib.sha256(pixels.tobytes()).hexdigest()


@pytest.mark.parametrize(
    ("frames", "found"),
    [
        (np.zeros((64, 64)), r"expected an array \(t, y, x\) of real numbers.*\(64, 64\)"),
        (np.zeros((4, 64, 64), complex), "complex128"),
        (np.zeros((1, 64, 64)), "at least 2 frames, found 1"),
        ([[1, 2]], r"expected a path, an array \(t, y, x\) or a reader.*found a list"),
        (None, "found a NoneType"),
    ],
)
def test_what_is_no_movie_is_refused(frames, found):
    with pytest.raises(FlexAlignError, match=found):
        align_movie(frames, PARAMS)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"pixel_dtype": "float32"}, "in float32 as its info says, found .* in uint8"),
        ({"frame_count": 9}, "expected frame 7 of its reader, found no more"),
        ({"frame_count": 1}, "at least 2 frames, found 1"),
    ],
)
def test_frames_that_contradict_the_info_of_a_reader_are_refused(movie, changes, found):
    class Reader(OneByOne):
        def frames(self, frames=None, *, threads=1):
            return iter([RawFrame(i, pixels) for i, pixels in enumerate(self._pixels)])

    with pytest.raises(FlexAlignError, match=found):
        align_movie(Reader(movie.counts, **changes), PARAMS)


@pytest.mark.parametrize(
    ("references", "found"),
    [
        ({"gain": np.ones((3, 3))}, "gain: expected a gain reference of 80 x 64 pixels"),
        ({"gain": np.ones(3)}, r"gain: expected an array \(y, x\)"),
        ({"dark": np.ones((3, 3))}, "dark: expected a dark reference"),
        ({"defects": np.ones((3, 3))}, "defects: expected a defect map"),
        ({"defects": np.ones((64, 80))}, "expected some good pixels"),
    ],
)
def test_a_reference_that_does_not_fit_is_refused_by_its_name(movie, references, found):
    with pytest.raises(FlexAlignError, match=found):
        align_movie(movie.counts, PARAMS, **references)


def test_a_reference_is_given_once(movie):
    params = AlignParams(pixel_size_A=1.5, gain="gain.mrc")

    with pytest.raises(FlexAlignError, match="as an argument or in params, found both"):
        align_movie(movie.counts, params, gain=movie.gain)


def test_relion_needs_files(movie):
    params = AlignParams(pixel_size_A=1.5, write="relion")

    with pytest.raises(FlexAlignError, match="RELION reads the movie"):
        align_movie(movie.counts, params)
