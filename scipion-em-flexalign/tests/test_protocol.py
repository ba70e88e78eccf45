"""Our protocol in its own process, on real files, against the engine called by hand."""

import json
import os

import mrcfile
import numpy as np
import pytest

WITHIN_PX = 0.3


@pytest.fixture(scope="module")
def folder(simulate):
    """MRC, TIFF and EER movies, each with its gain; the motion of whole frames is known."""
    return simulate(("m1", "mrc", 1), ("t1", "tiff", 3), ("e1", "eer", 4))


def true_shifts(folder, root, frames=slice(None)):
    """Shifts (t, 2) (x, y) that undo the true motion, with their mean removed."""
    with np.load(str(folder / (root + "_truth.npz"))) as truth:
        shifts = -truth["displacement_px"].mean(axis=(1, 2))[frames, ::-1]
    return shifts - shifts.mean(axis=0)


def found_shifts(movie):
    shifts = np.transpose(
        [[float(value) for value in axis] for axis in movie.getAlignment().getShifts()]
    )
    return shifts - shifts.mean(axis=0)


def assert_follows(movie, true):
    assert np.ptp(true, axis=0).max() > 3
    assert np.abs(found_shifts(movie) - true).max() < WITHIN_PX


def read(path):
    with mrcfile.open(str(path), permissive=True) as image:
        return np.array(image.data, dtype=np.float32)


@pytest.fixture(scope="module")
def mrc_import(folder, import_movies):
    return import_movies(folder, "m1.mrc", gainFile=str(folder / "m1_gain.mrc"))


@pytest.fixture(scope="module")
def mrc_run(mrc_import, align):
    protocol = align(mrc_import, splitEvenOdd=True)
    assert protocol.isFinished(), protocol.getErrorMessage()
    return protocol


def test_the_known_motion_is_in_the_output_movies(mrc_run, folder):
    movie = mrc_run.outputMovies.getFirstItem()

    assert_follows(movie, true_shifts(folder, "m1"))
    assert movie.getAlignment().getRange() == (1, 8)
    assert list(movie.getFramesRange()) == [1, 8, 1]
    assert mrc_run.outputMovies.getSamplingRate() == 1.5
    assert mrc_run.outputMovies.isStreamClosed()


def test_the_outputs_are_those_of_the_engine_called_by_hand(mrc_run, folder, engine, tmp_path):
    engine("align", folder / "m1.mrc", "--out", tmp_path, "--gain", folder / "m1_gain.mrc",
           "--pixel-size", 1.5, "--dose-per-frame", 1, "--odd-even", "--device", "cpu")  # fmt: skip
    by_hand = {
        "outputMicrographs": "m1_aligned_mic.mrc",
        "outputMicrographsDoseWeighted": "m1_aligned_mic_DW.mrc",
        "outputMicrographsOdd": "m1_aligned_mic_ODD.mrc",
        "outputMicrographsEven": "m1_aligned_mic_EVN.mrc",
    }
    for name, file_name in by_hand.items():
        micrograph = getattr(mrc_run, name).getFirstItem()
        assert os.path.basename(micrograph.getFileName()) == file_name
        np.testing.assert_allclose(
            read(micrograph.getFileName()), read(tmp_path / file_name), rtol=1e-4, atol=1e-4
        )
    motion = json.loads((tmp_path / "m1_motion.json").read_text())
    shifts = -np.array(motion["trajectory"]["displacement_px"])[:, ::-1]
    np.testing.assert_allclose(
        found_shifts(mrc_run.outputMovies.getFirstItem()), shifts - shifts.mean(axis=0), atol=1e-3
    )


@pytest.mark.parametrize(
    "name",
    ["outputMicrographs", "outputMicrographsDoseWeighted", "outputMicrographsOdd",
     "outputMicrographsEven", "outputMovies"],
)  # fmt: skip
def test_every_item_has_its_columns(mrc_run, name):
    item = getattr(mrc_run, name).getFirstItem()

    assert os.path.exists(item.plotCart.getFileName())
    assert os.path.exists(item.psdCorr.getFileName())
    assert len(item._xmipp_ShiftX) == len(item._xmipp_ShiftY) == 8
    assert item._flexalign_TotalMotion.get() > 3
    assert item.getMicName() == "m1.mrc"


def test_what_is_said_about_a_run(mrc_run):
    assert mrc_run.summary()[0] == "1 of 1 movies are aligned."
    assert "flexalign 0.1.0" in mrc_run.summary()[1]
    assert "dose weighting" in mrc_run.methods()[0]
    assert "strelak2020flexalign" in mrc_run._citations()


def test_tiff_movies_need_no_flip_of_the_gain(folder, import_movies, align, engine, tmp_path):
    imported = import_movies(folder, "t*.tiff", gainFile=str(folder / "t1_gain.mrc"))

    protocol = align(imported, doLocalAlignment=False, useGpu=False)

    assert_follows(protocol.outputMovies.getFirstItem(), true_shifts(folder, "t1"))
    engine("align", folder / "t1.tiff", "--out", tmp_path, "--gain", folder / "t1_gain.mrc",
           "--pixel-size", 1.5, "--dose-per-frame", 1, "--no-local")  # fmt: skip
    np.testing.assert_allclose(
        read(protocol.outputMicrographs.getFirstItem().getFileName()),
        read(tmp_path / "t1_aligned_mic.mrc"), rtol=1e-4, atol=1e-4,
    )  # fmt: skip


@pytest.mark.parametrize("what", [0, 1, 2])
def test_a_gain_that_lies_otherwise_is_told_or_turned_or_taken_as_it_is(mrc_import, align, what):
    protocol = align(
        mrc_import, gainRot=2, gainCheck=what, doLocalAlignment=False, doRefine=False, useGpu=False
    )

    if what == 0:
        with open(protocol._getExtraPath("FAILED_reasons.tsv")) as table:
            assert "Give --gain-rotate 0 --gain-flip none" in table.read()
        return
    with open(protocol._getExtraPath("m1_record.json")) as file:
        assert json.load(file)["parameters"]["gain_rotate"] == (0 if what == 1 else 180)


@pytest.mark.parametrize("is_checked", [False, True])
def test_pixel_size_and_dose_are_checked_if_the_form_says_so(mrc_import, align, is_checked):
    protocol = align(
        mrc_import, doseCheck=is_checked, doLocalAlignment=False, doRefine=False, useGpu=False
    )

    with open(protocol._getExtraPath("m1_record.json")) as file:
        parameters = json.load(file)["parameters"]
    assert parameters["dose_check"] == ("on" if is_checked else "off")


def test_eer_frames_are_counted_as_they_are_aligned(folder, import_movies, align):
    imported = import_movies(folder, "e*.eer", gainFile=str(folder / "e1.gain"), dosePerFrame=0.01)
    raw_frames = imported.outputMovies.getDim()[2]
    assert raw_frames > 100
    for values, message in (
        ({"nFrames": 0}, "positive"),
        ({"nFrames": 8, "alignFrameN": 9}, "1 - 8"),
    ):
        with pytest.raises(AssertionError, match=message):
            align(imported, **values)

    protocol = align(imported, nFrames=8, alignFrame0=2, doLocalAlignment=False, useGpu=False)

    movie = protocol.outputMovies.getFirstItem()
    assert_follows(movie, true_shifts(folder, "e1", slice(1, None)))
    assert movie.getAlignment().getRange() == (2, 8)
    assert list(movie.getFramesRange()) == [2, 8, 2]
    with open(protocol._getExtraPath("e1_record.json")) as file:
        record = json.load(file)
    assert record["decisions"]["dose_per_frame_e_A2"] == pytest.approx(0.01 * (raw_frames // 8))


def test_eer_frames_of_a_dose(folder, import_movies, align, engine, tmp_path):
    imported = import_movies(folder, "e*.eer", gainFile=str(folder / "e1.gain"), dosePerFrame=0.01)
    raw_frames = imported.outputMovies.getDim()[2]
    frames = raw_frames // round(0.9 / 0.01)
    with pytest.raises(AssertionError, match="1 - %d" % frames):
        align(imported, eerDose=0.9, alignFrameN=frames + 1)

    protocol = align(imported, eerDose=0.9, doLocalAlignment=False)

    assert protocol.outputMovies.getFirstItem().getAlignment().getRange() == (1, frames)
    with open(protocol._getExtraPath("e1_record.json")) as file:
        record = json.load(file)
    assert record["decisions"]["dose_per_frame_e_A2"] == pytest.approx(0.9)
    engine("align", folder / "e1.eer", "--out", tmp_path, "--gain", folder / "e1.gain",
           "--pixel-size", 1.5, "--eer-dose-per-frame", 0.9, "--eer-total-dose", 0.01 * raw_frames,
           "--no-local", "--dose-check", "off", "--device", "cpu")  # fmt: skip
    np.testing.assert_allclose(
        read(protocol.outputMicrographsDoseWeighted.getFirstItem().getFileName()),
        read(tmp_path / "e1_aligned_mic_DW.mrc"), rtol=1e-4, atol=1e-4,
    )  # fmt: skip


def test_a_dose_of_eer_frames_needs_that_of_the_movies(folder, import_movies, align):
    imported = import_movies(folder, "e*.eer", gainFile=str(folder / "e1.gain"), dosePerFrame=0.0)

    with pytest.raises(AssertionError, match="needs the dose of the movies"):
        align(imported, eerDose=0.9)


def test_ranges_binning_and_a_saved_movie(mrc_import, align, folder):
    protocol = align(
        mrc_import, alignFrame0=2, alignFrameN=7, useAlignToSum=False, sumFrame0=3, sumFrameN=6,
        binFactor=1.5, doSaveMovie=True, doSaveAveMic=False, doDoseWeight=False,
        doComputePSD=False, autoControlPoints=False, controlPointX=4, controlPointY=3,
        controlPointT=3, autoPatches=False, patchesX=3, patchesY=2, groupNFrames=2,
    )  # fmt: skip

    assert protocol.isFinished(), protocol.getErrorMessage()
    assert not protocol.hasAttribute("outputMicrographs")
    assert not os.path.exists(protocol._getExtraPath("m1_aligned_mic.mrc"))
    movie = protocol.outputMovies.getFirstItem()
    stack = read(movie.getFileName())
    assert stack.shape == (4, 267, 277)
    # 400 x 416 pixels make no 1.5 times smaller ones exactly.
    sampling = protocol.outputMovies.getSamplingRate()
    assert sampling == pytest.approx(1.5 * np.sqrt(400 / 267 * 416 / 277), abs=1e-4)
    assert list(movie.getFramesRange()) == [3, 6, 1]
    assert movie.getAlignment().getRange() == (3, 6)
    assert [float(x) for x in movie.getAlignment().getShifts()[0]] == [0, 0, 0, 0]
    assert protocol.outputMovies.getGain() is None
    with open(protocol._getExtraPath("m1_record.json")) as file:
        record = json.load(file)
    assert record["decisions"]["align"] == {"schema": 1, "first": 1, "stop": 7}
    assert record["parameters"]["control_points"] == [4, 3, 3]
    assert record["parameters"]["patches"] == [3, 2]
    assert record["parameters"]["group_frames"] == 2
    assert_trajectory = np.array(record["motion"]["trajectory"]["displacement_px"])[1:7, ::-1]
    shifts = -assert_trajectory + assert_trajectory.mean(axis=0)
    assert np.abs(shifts - true_shifts(folder, "m1", slice(1, 7))).max() < WITHIN_PX
