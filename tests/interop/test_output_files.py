"""The files of one movie, read by programs and parsers that are not ours."""

import dataclasses
import json

import mrcfile
import numpy as np
import PIL.Image
import pytest

from flexalign.alignment_result import AlignmentResult
from flexalign.arrays.power_spectrum import amplitude_composite, power_spectrum
from flexalign.io.results import write_result
from flexalign.model import (
    FrameRange,
    FrameSums,
    MovieInfo,
    MovieRecord,
    PatchTracks,
    Quality,
)
from flexalign.motion import Motion, MotionField, Trajectory
from flexalign.params import AlignParams
from flexalign.plan import make_plan

FRAMES, HEIGHT, WIDTH = 8, 800, 900
PIXEL_SIZE_A, BINNING = 0.75, 2.0


def picture(seed, *shape):
    return np.random.default_rng(seed).normal(5.0, 1.0, size=shape).astype(np.float32)


@pytest.fixture(scope="module")
def result():
    frame = np.arange(FRAMES)
    trajectory = Trajectory(np.stack([0.8 * frame, -0.3 * frame], axis=1), np.ones(FRAMES, bool), 2)
    coefficients = np.random.default_rng(0).normal(size=(2, 3, 3, 4))
    field = MotionField(coefficients, HEIGHT, WIDTH, FrameRange(0, FRAMES))
    centers = np.array([[200.0, 225.0], [200.0, 675.0], [600.0, 225.0], [600.0, 675.0]])
    tracks = PatchTracks(centers, np.array([1.0, 4.0, 6.0]), np.zeros((4, 3, 2)), np.ones((4, 3)))
    shape = (HEIGHT // 2, WIDTH // 2)
    sums = FrameSums(
        **{
            name: picture(i, *shape)
            for i, name in enumerate(["plain", "dose_weighted", "odd", "even", "unaligned"])
        },
        aligned=picture(9, FRAMES, *shape),
    )
    binned_A = PIXEL_SIZE_A * BINNING
    quality = Quality(5.0, 3.0, 2.0, 0.9, 0.4, {}, "local", 0)
    info = MovieInfo("raw/x.tif", "tiff", FRAMES, HEIGHT, WIDTH, "uint8", PIXEL_SIZE_A, 1)
    record = MovieRecord("0.1.0", info, {}, {}, {}, {}, 1, quality, {})
    spectra = [power_spectrum(image, binned_A, 128) for image in (sums.unaligned, sums.plain)]
    plan = make_plan(info, AlignParams(binning=BINNING))
    return AlignmentResult(Motion(trajectory, field), sums, tracks, *spectra, quality, record, plan)


@pytest.fixture(scope="module", params=[False, True], ids=["float32", "float16"])
def folder(request, result, tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    write_result(
        result,
        folder,
        "x",
        float16=request.param,
        save_unaligned=True,
        amplitudes=lambda: amplitude_composite(result.sums.plain, result.sums.unaligned),
    )
    return folder


def test_all_names_are_those_that_scipion_and_relion_users_know(folder):
    assert sorted(path.name for path in folder.iterdir()) == [
        "x_aligned_corrected.psd",
        "x_aligned_mic.mrc",
        "x_aligned_mic_DW.mrc",
        "x_aligned_mic_EVN.mrc",
        "x_aligned_mic_ODD.mrc",
        "x_aligned_movie.mrcs",
        "x_motion.json",
        "x_plot_cart.png",
        "x_psd.png",
        "x_psd_thumb.png",
        "x_record.json",
        "x_shifts.xmd",
        "x_thumb.png",
        "x_unaligned_mic.mrc",
    ]


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("x_aligned_mic.mrc", "plain"),
        ("x_aligned_mic_DW.mrc", "dose_weighted"),
        ("x_aligned_mic_EVN.mrc", "even"),
        ("x_aligned_mic_ODD.mrc", "odd"),
        ("x_unaligned_mic.mrc", "unaligned"),
        ("x_aligned_movie.mrcs", "aligned"),
    ],
)
def test_images_are_valid_hold_the_right_sum_and_know_their_pixel_size(folder, result, name, field):
    with mrcfile.open(folder / name) as mrc:
        # the validator sums 16-bit floats in 16 bits, which overflows on all but tiny images
        assert mrc.header.mode == 12 or mrcfile.validate(folder / name)
        np.testing.assert_allclose(mrc.data, getattr(result.sums, field), rtol=1e-3)
        assert float(mrc.voxel_size.x) == pytest.approx(PIXEL_SIZE_A * BINNING, rel=1e-6)
        assert mrc.is_image_stack() == name.endswith("mrcs")


def test_spider_file_is_read_by_pillow(folder, result):
    with PIL.Image.open(folder / "x_aligned_corrected.psd") as image:
        assert image.format == "SPIDER"
        found = np.asarray(image)

    expected = amplitude_composite(result.sums.plain, result.sums.unaligned)
    np.testing.assert_array_equal(found, expected)


def test_shifts_are_read_by_a_star_parser_as_corrections_in_unbinned_pixels(folder, result):
    starfile = pytest.importorskip("starfile")

    blocks = starfile.read(folder / "x_shifts.xmd", always_dict=True)

    shifts = blocks["frameShifts"]
    expected = -result.motion.trajectory.displacement_px
    np.testing.assert_allclose(shifts[["shiftY", "shiftX"]].to_numpy(), expected, atol=1e-5)
    assert next(iter(shifts["image"])) == "000001@raw/x.tif"
    assert list(blocks["referenceFrame"]["ref"]) == [2]
    assert set(blocks["localAlignment"].columns) == {
        "localAlignmentPatches",
        "localAlignmentCoeffsX",
        "localAlignmentCoeffsY",
        "localAlignmentControlPoints",
        "localAlignmnentConf25Perc",
        "localAlignmnentConf955Perc",
    }


def test_coefficients_are_as_many_as_control_points(folder):
    lines = (folder / "x_shifts.xmd").read_text().split("data_localAlignment")[1].splitlines()
    patches, _, x, _, y, _, points, *_ = lines[-1].strip().split("'")[1:]

    assert patches.split() == ["2", "2"]
    assert points.split() == ["4", "3", "3"]
    assert len(x.split()) == len(y.split()) == 4 * 3 * 3


def test_json_is_strict(folder):
    def refuse(constant):
        raise AssertionError(constant)

    for name in ("x_motion.json", "x_record.json"):
        json.loads((folder / name).read_text(), parse_constant=refuse)


@pytest.mark.parametrize("name", ["x_plot_cart.png", "x_psd.png"])
def test_pictures_are_png(folder, name):
    with PIL.Image.open(folder / name) as image:
        image.verify()
        assert image.format == "PNG"


def test_writing_twice_gives_the_same_images(folder, result, tmp_path):
    plain = dataclasses.replace(result, tracks=None, spectrum_before=None)
    for name in ("a", "b"):
        write_result(plain, tmp_path / name, "x")

    for name in ("x_aligned_mic.mrc", "x_shifts.xmd"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    # But for the times at which the files were written.
    one, other = (json.loads((tmp_path / name / "x_record.json").read_text()) for name in "ab")
    assert one.pop("output_states").keys() == other.pop("output_states").keys()
    assert one == other
