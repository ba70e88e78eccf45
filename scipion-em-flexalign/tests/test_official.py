"""The unmodified FlexAlign protocol of scipion-em-xmipp, over flexalign instead of Xmipp."""

import os
import re

import mrcfile
import numpy as np
import pytest
import xmippLib
from pwem import emlib

NAME = "XmippProtFlexAlign"
WITHIN_PX = 0.3


@pytest.fixture(scope="module")
def folder(simulate):
    """Movies whose whole frames move; at least 384 pixels, which the protocol's PSD needs."""
    return simulate(("m1", "mrc", 1), ("t1", "tiff", 3), ("e1", "eer", 4))


@pytest.fixture(scope="module")
def mrc_import(folder, import_movies):
    return import_movies(folder, "m1.mrc", gainFile=str(folder / "m1_gain.mrc"))


def true_shifts(folder, root, frames=slice(None)):
    """Shifts (t, 2) (x, y) that undo the true motion, with their mean removed."""
    with np.load(str(folder / (root + "_truth.npz"))) as truth:
        shifts = -truth["displacement_px"].mean(axis=(1, 2))[frames, ::-1]
    return shifts - shifts.mean(axis=0)


def found_shifts(movie):
    axes = movie.getAlignment().getShifts()
    shifts = np.transpose([[float(value) for value in axis] for axis in axes])
    return shifts - shifts.mean(axis=0)


def assert_follows(movie, true):
    assert np.ptp(true, axis=0).max() > 3
    assert np.abs(found_shifts(movie) - true).max() < WITHIN_PX


def read(path):
    with mrcfile.open(str(path), permissive=True) as image:
        return np.array(image.data, dtype=np.float32)


def assert_finished(protocol):
    assert protocol.isFinished(), protocol.getErrorMessage()


def test_the_form_as_it_comes(mrc_import, align, folder):
    """GPU chosen, local alignment, gain, PSD; on a machine that may have no GPU."""
    protocol = align(mrc_import, NAME)

    assert_finished(protocol)
    assert_follows(protocol.outputMovies.getFirstItem(), true_shifts(folder, "m1"))
    micrograph = protocol.outputMicrographs.getFirstItem()
    assert read(micrograph.getFileName()).shape == (400, 416)
    assert os.path.exists(micrograph.plotCart.getFileName())
    psd = emlib.Image(micrograph.psdCorr.getFileName()).getData()
    assert psd.shape == (384, 384) and psd.std() > 0


def test_whole_frames_on_the_cpu(mrc_import, align, folder):
    protocol = align(mrc_import, NAME, useGpu=False, doLocalAlignment=False, doComputePSD=False)

    assert_finished(protocol)
    assert_follows(protocol.outputMovies.getFirstItem(), true_shifts(folder, "m1"))


def test_ranges_binning_patches_points_and_a_saved_movie(mrc_import, align, folder):
    protocol = align(
        mrc_import, NAME, alignFrame0=2, alignFrameN=7, useAlignToSum=False, sumFrame0=3,
        sumFrameN=6, binFactor=1.5, doSaveMovie=True, autoControlPoints=False, controlPointX=4,
        controlPointY=3, controlPointT=4, autoPatches=False, patchesX=3, patchesY=2,
        groupNFrames=2, doComputePSD=False,
    )  # fmt: skip

    assert_finished(protocol)
    movie = protocol.outputMovies.getFirstItem()
    shifts = np.transpose(
        [[float(x) for x in axis] for axis in (movie._xmipp_ShiftX, movie._xmipp_ShiftY)]
    )
    true = true_shifts(folder, "m1", slice(1, 7))
    assert np.abs(shifts - shifts.mean(axis=0) - true).max() < WITHIN_PX
    stack = read(movie.getFileName())
    assert stack.shape == (6, 267, 277)
    assert [bool(frame.any()) for frame in stack] == [False, True, True, True, True, False]
    assert read(protocol.outputMicrographs.getFirstItem().getFileName()).shape == (267, 277)
    with open(protocol.getStdoutLog()) as log:
        arguments = log.read()
    assert "--controlPoints 4 3 4" in arguments and "--patches 3 2" in arguments


def test_a_tiff_movie_with_the_gain_that_the_protocol_flips(folder, import_movies, align):
    imported = import_movies(folder, "t1.tiff", gainFile=str(folder / "t1_gain.mrc"))

    protocol = align(imported, NAME)

    assert_finished(protocol)
    # Xmipp keeps the rows of the file, so what went down goes up.
    true = true_shifts(folder, "t1") * (1, -1)
    assert_follows(protocol.outputMovies.getFirstItem(), true)


def test_an_eer_movie_in_fractions(folder, import_movies, align):
    imported = import_movies(folder, "e1.eer", gainFile=str(folder / "e1.gain"))

    protocol = align(imported, NAME, nFrames=8)

    assert_finished(protocol)
    assert_follows(protocol.outputMovies.getFirstItem(), true_shifts(folder, "e1"))


def test_local_motion_is_in_the_spline_that_xmipp_reads(simulate, import_movies, align):
    folder = simulate(
        ("l1", "mrc", 4), shape_px=(512, 512), pixel_size_A=2.5, local_motion_px=8.0, gain=False
    )
    imported = import_movies(folder, "l1.mrc", samplingRate=2.5)

    protocol = align(
        imported, NAME, minLocalRes=400.0, autoControlPoints=False, controlPointX=5,
        controlPointY=5, controlPointT=4,
    )  # fmt: skip

    assert_finished(protocol)
    with np.load(str(folder / "l1_truth.npz")) as truth:
        true, y, x = (truth[k] for k in ("displacement_px", "lattice_y_px", "lattice_x_px"))
    spline = read_spline(protocol._getExtraPath("l1_shifts.xmd"), (8, 512, 512))
    rest = spline(np.arange(8.0), y, x) + np.moveaxis(true, -1, 0)[::-1]
    whole = -found_shifts(protocol.outputMovies.getFirstItem()).T[:, :, None, None]
    rest_of_global = np.moveaxis(true, -1, 0)[::-1] - whole
    assert rms(rest_of_global) > 1
    assert rms(rest) < 0.5 * rms(rest_of_global)


def rms(vectors):
    """Root mean square length of (2, t, y, x) about the mean over time, which blurs nothing."""
    vectors = vectors - vectors.mean(axis=1, keepdims=True)
    return float(np.sqrt((vectors**2).sum(axis=0).mean()))


def read_spline(path, size):
    """What Xmipp makes of the block of the local motion: a function (2 (x, y), t, y, x)."""
    table = emlib.MetaData("localAlignment@" + path)
    item = table.firstObject()

    def value(label):
        return table.getValue(xmippLib.str2Label(label), item)

    x, y, t = 5, 5, 4
    # The binding for Python cannot hand these over; what Xmipp has read, it writes again.
    table.write("localAlignment@" + path + ".again")
    with open(path + ".again") as again:
        vectors = re.findall(r"'([^']*)'", again.read())
    assert vectors[-1].split() == [str(count) for count in (x, y, t)]
    axes = [value("localAlignmentCoeffs" + axis) for axis in "XY"]
    coefficients = np.array(axes).reshape(2, t, y, x)

    def basis(position, length, count):
        spacing = length / (count - 3.0) if count > 3 else length
        u = np.abs(np.asarray(position)[:, None] / spacing - np.arange(-1, count - 1))
        return np.where(u < 1, u**2 * (u - 2) / 2 + 2.0 / 3, np.clip(2 - u, 0, None) ** 3 / 6)

    def evaluate(at_t, at_y, at_x):
        parts = [basis(*item) for item in zip((at_t, at_y, at_x), size, (t, y, x))]
        return np.einsum("cabd,ia,jb,kd->cijk", coefficients, *parts)

    return evaluate
