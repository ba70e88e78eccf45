import resource
import signal
import struct

import mrcfile
import numpy as np
import pytest

from flexalign import __version__
from flexalign.errors import InputError, ParameterError
from flexalign.io.micrographs import write_mrc, write_spider


@pytest.fixture
def image():
    pixels = np.random.default_rng(0).normal(3.0, 1.0, size=(48, 70)).astype(np.float32)
    pixels.flags.writeable = False
    return pixels


@pytest.fixture
def _full_disk():
    """Let no file grow beyond 4 KiB, as on a disk without room."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def test_image_and_pixel_size_come_back(tmp_path, image):
    write_mrc(tmp_path / "m.mrc", image, 0.8307, labels=["mean of the frames"])

    with mrcfile.open(tmp_path / "m.mrc") as mrc:
        np.testing.assert_array_equal(mrc.data, image)
        assert mrc.header.mode == 2
        assert float(mrc.voxel_size.x) == pytest.approx(0.8307, rel=1e-6)
        assert float(mrc.header.cella.y) == pytest.approx(48 * 0.8307, rel=1e-6)
        assert (mrc.header.mx, mrc.header.my, mrc.header.mz) == (70, 48, 1)
        assert mrc.header.origin.x == mrc.header.origin.y == mrc.header.nxstart == 0
        assert float(mrc.header.dmean) == pytest.approx(image.mean(), rel=1e-5)
        assert float(mrc.header.rms) == pytest.approx(image.std(), rel=1e-5)
        assert mrc.get_labels() == [f"flexalign {__version__}", "mean of the frames"]


@pytest.mark.parametrize("float16", [False, True])
@pytest.mark.parametrize("is_stack", [False, True])
def test_files_are_valid_mrc2014(tmp_path, float16, is_stack):
    frames = np.random.default_rng(1).normal(size=(3, 20, 30)).astype(np.float32)

    write_mrc(tmp_path / "m.mrcs", frames, 1.1, float16=float16, is_stack=is_stack)

    assert mrcfile.validate(tmp_path / "m.mrcs")
    with mrcfile.open(tmp_path / "m.mrcs") as mrc:
        assert mrc.is_image_stack() == is_stack
        assert float(mrc.voxel_size.z) == pytest.approx(1.1, rel=1e-6)
        np.testing.assert_allclose(mrc.data, frames, atol=2e-3 if float16 else 0)


def test_float16_is_half_the_size_and_mode_12(tmp_path, image):
    write_mrc(tmp_path / "half.mrc", image, 1.0, float16=True)

    assert (tmp_path / "half.mrc").stat().st_size == 1024 + 2 * image.size
    with mrcfile.open(tmp_path / "half.mrc", header_only=True) as mrc:
        assert mrc.header.mode == 12


def test_values_beyond_float16_are_refused(tmp_path):
    with pytest.raises(ParameterError, match="float16"):
        write_mrc(tmp_path / "m.mrc", np.full((4, 4), 70000.0), 1.0, float16=True)
    assert not list(tmp_path.iterdir())


def test_long_and_foreign_labels_are_cut_to_what_the_header_holds(tmp_path, image):
    write_mrc(tmp_path / "m.mrc", image, 1.0, labels=["Å" * 100] * 20)

    assert mrcfile.validate(tmp_path / "m.mrc")


def test_a_new_file_replaces_an_old_one(tmp_path, image):
    for value in (image, image + 1):
        write_mrc(tmp_path / "m.mrc", value, 1.0)

    np.testing.assert_array_equal(mrcfile.read(tmp_path / "m.mrc"), image + 1)
    assert [path.name for path in tmp_path.iterdir()] == ["m.mrc"]


@pytest.mark.parametrize("write", [lambda p, i: write_mrc(p, i, 1.0), write_spider])
@pytest.mark.usefixtures("_full_disk")
def test_a_full_disk_is_explained_and_leaves_the_old_file(tmp_path, image, write):
    (tmp_path / "m.mrc").write_text("old")

    with pytest.raises(InputError, match=r"m\.mrc.*space for the results"):
        write(tmp_path / "m.mrc", image)

    assert [path.name for path in tmp_path.iterdir()] == ["m.mrc"]
    assert (tmp_path / "m.mrc").read_text() == "old"


def test_a_folder_that_is_a_file_is_explained(tmp_path, image):
    (tmp_path / "file").write_text("")

    with pytest.raises(InputError, match="folder"):
        write_mrc(tmp_path / "file" / "m.mrc", image, 1.0)


def test_spider_header_is_what_the_format_s_description_says(tmp_path, image):
    write_spider(tmp_path / "m.psd", image)

    raw = (tmp_path / "m.psd").read_bytes()
    word = struct.unpack("<256f", raw[:1024])
    header_rows = 4  # of 70 words, to hold 256
    assert len(raw) == (header_rows + 48) * 70 * 4
    assert word[0] == 1  # slices
    assert word[1] == 48  # rows
    assert word[2] == header_rows + 48  # records
    assert word[4] == 1  # a 2D image
    assert word[6:8] == (image.max(), image.min())
    assert word[11] == 70  # pixels per row
    assert word[12] == header_rows
    assert word[21] == header_rows * 70 * 4  # bytes of header
    assert word[22] == 70 * 4  # bytes of a record
    assert word[23] == 0  # no stack
    np.testing.assert_array_equal(np.frombuffer(raw[1120:], "<f4").reshape(48, 70), image)


def test_spider_header_of_a_wide_image_is_one_row(tmp_path):
    write_spider(tmp_path / "m.psd", np.zeros((2, 384)))

    assert (tmp_path / "m.psd").stat().st_size == 3 * 384 * 4
