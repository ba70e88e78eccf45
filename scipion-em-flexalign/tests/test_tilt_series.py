"""Our protocol for tilt series in its own process, against the engine called by hand."""

import json
import os

import mrcfile
import numpy as np
import pytest

NAME = "ProtTsFlexAlign"
BROKEN = 3  # order of exposure of the tilt whose movie is broken
OUTPUTS = {
    "TiltSeries": ".mrc",
    "TiltSeriesDW": "_DW.mrc",
    "TiltSeriesEven": "_EVN.mrc",
    "TiltSeriesOdd": "_ODD.mrc",
}


@pytest.fixture(scope="module")
def folder(simulate_series):
    return simulate_series("ts1", "tiff")


@pytest.fixture(scope="module")
def by_hand(folder, engine, tmp_path_factory):
    """The folder of results of the command line, with its own reading of the mdoc file."""
    out = tmp_path_factory.mktemp("by_hand")
    engine("tilt-series", folder / "ts1.mdoc", "--out", out, "--gain", folder / "ts1_gain.mrc",
           "--dose-weight", "--device", "cpu", "--jobs", 1, "--no-report")  # fmt: skip
    return out


@pytest.fixture(scope="module")
def imported(folder, import_series):
    return import_series(folder, "ts1.mdoc", gainFile=str(folder / "ts1_gain.mrc"))


@pytest.fixture(scope="module")
def run(imported, align):
    protocol = align(imported, NAME, splitEvenOdd=True)
    assert protocol.isFinished(), protocol.getErrorMessage()
    return protocol


@pytest.fixture(scope="module")
def broken(folder, import_series, align, tmp_path_factory):
    """The same series with one movie cut off."""
    copy = tmp_path_factory.mktemp("broken")
    for path in folder.iterdir():
        (copy / path.name.replace("ts1.mdoc", "ts2.mdoc")).write_bytes(path.read_bytes())
    (movie,) = copy.glob("ts1_%03d_*.tiff" % BROKEN)
    movie.write_bytes(movie.read_bytes()[:3000])
    imported = import_series(copy, "ts2.mdoc", gainFile=str(folder / "ts1_gain.mrc"))
    protocol = align(imported, NAME, splitEvenOdd=True)
    assert protocol.isFinished(), protocol.getErrorMessage()
    return copy, protocol


def read(path):
    with mrcfile.open(str(path), permissive=True) as image:
        return np.array(image.data, dtype=np.float32)


def tilts_of(output):
    """The tilts of the only series of an output, in the order of their ids."""
    assert output.getSize() == 1
    series = output.getFirstItem()
    return [tilt.clone(copyEnable=True) for tilt in series.iterItems(orderBy="id")]


def images_of(tilts):
    """Their images as their locations say."""
    stacks = {tilt.getFileName(): read(tilt.getFileName()) for tilt in tilts}
    return np.array([stacks[tilt.getFileName()][tilt.getIndex() - 1] for tilt in tilts])


@pytest.mark.parametrize("name", OUTPUTS)
def test_the_stacks_are_those_of_the_engine_called_by_hand(run, by_hand, name):
    tilts = tilts_of(getattr(run, name))

    np.testing.assert_allclose(
        images_of(tilts), read(by_hand / ("ts1" + OUTPUTS[name])), rtol=1e-4, atol=1e-3
    )
    assert [tilt.getIndex() for tilt in tilts] == [1, 2, 3, 4, 5]
    assert getattr(run, name).isStreamClosed()


@pytest.mark.parametrize("name", OUTPUTS)
def test_angle_order_and_dose_are_those_of_the_import(run, imported, name):
    known = {
        tilt.getAcquisitionOrder(): tilt.clone()
        for tilt in imported.outputTiltSeriesM.getFirstItem().iterItems()
    }
    tilts = tilts_of(getattr(run, name))

    assert sorted(known) == [1, 2, 3, 4, 5]
    assert [tilt.getTiltAngle() for tilt in tilts] == [-6, -3, 0, 3, 6]
    for tilt in tilts:
        source = known[tilt.getAcquisitionOrder()]
        assert tilt.getTiltAngle() == source.getTiltAngle()
        for method in ("getAccumDose", "getDoseInitial", "getDosePerFrame", "getTiltAxisAngle"):
            found = getattr(tilt.getAcquisition(), method)()
            assert found == getattr(source.getAcquisition(), method)(), method
        assert tilt.getTsId() == "ts1" and tilt.isEnabled()
    assert [tilt.getAcquisition().getAccumDose() for tilt in tilts] == [24, 18, 6, 12, 30]


def test_the_engine_has_taken_order_and_dose_over(run, by_hand):
    def tilts(path):
        with open(str(path)) as file:
            series = json.load(file)["series"]
        facts = ("order", "angle_deg", "dose_e_A2", "pre_exposure_e_A2", "frame_count", "left_out")
        return series["tilt_axis_deg"], [[tilt[fact] for fact in facts] for tilt in series["tilts"]]

    assert tilts(run._getExtraPath("ts1", "ts1_record.json")) == tilts(by_hand / "ts1_record.json")


def test_the_set_has_its_sizes_and_halves(run, imported):
    output = run.TiltSeries
    series = output.getFirstItem()

    assert output.getSamplingRate() == series.getSamplingRate() == 1.8
    assert series.getDim()[:2] == (400, 384) and series.getSize() == 5
    assert output.getAnglesCount() == 5 and not output.isHeterogeneousSet()
    tilts = tilts_of(output)
    assert output.hasOddEven() and series.hasOddEven()
    assert tilts[1].getOdd() == "2@%s" % run._getExtraPath("ts1_odd.mrcs")
    assert tilts[1].getEven() == "2@%s" % run._getExtraPath("ts1_even.mrcs")
    assert all(tilt._flexalign_TotalMotion.get() > 1 for tilt in tilts)
    assert series.getAcquisition().getTiltAxisAngle() == 85
    assert (series.getAcquisition().getAngleMin(), series.getAcquisition().getAngleMax()) == (-6, 6)


def test_what_is_said_about_a_run(run):
    assert run.summary() == ["1 of 1 tilt series are aligned."]
    assert "prior of its motion by the others" in run.methods()[0]
    assert "dose weighting" in run.methods()[0]


@pytest.mark.parametrize("name", OUTPUTS)
def test_a_failed_tilt_is_excluded_and_keeps_its_place(broken, name):
    _, protocol = broken
    tilts = tilts_of(getattr(protocol, name))

    excluded = [tilt for tilt in tilts if not tilt.isEnabled()]
    assert [tilt.getAcquisitionOrder() for tilt in excluded] == [BROKEN]
    assert [tilt.getTiltAngle() for tilt in tilts] == [-6, -3, 0, 3, 6]
    assert [tilt.getAcquisitionOrder() for tilt in tilts] == [4, 3, 1, 2, 5]
    assert [tilt.getAcquisition().getAccumDose() for tilt in tilts] == [24, 18, 6, 12, 30]
    series = getattr(protocol, name).getFirstItem()
    assert series.getExcludedViewsIndex() == [2]
    assert series.getTsPresentAcqOrders() == {1, 2, 4, 5}
    images = images_of(tilts)
    assert np.ptp(images[1]) == 0 and images[1].mean() == pytest.approx(images[0].mean(), rel=1e-3)


def test_the_neighbours_of_a_failed_tilt_are_those_of_the_engine(broken, engine, tmp_path):
    copy, protocol = broken
    with pytest.raises(Exception, match="exit status 1"):
        engine("tilt-series", copy / "ts2.mdoc", "--out", tmp_path, "--gain",
               copy / "ts1_gain.mrc", "--device", "cpu", "--jobs", 1, "--no-report")  # fmt: skip
    images = images_of(tilts_of(protocol.TiltSeries))

    np.testing.assert_allclose(
        images[[0, 2, 3, 4]], read(tmp_path / "ts2.mrc"), rtol=1e-4, atol=1e-3
    )


def test_the_reason_of_a_failed_tilt_is_told(broken):
    _, protocol = broken
    summary = protocol.summary()

    assert summary[1] == "*1 tilts are excluded:*"
    assert summary[2].startswith("ts2, -3.0 degrees: expected a whole TIFF")
    (excluded,) = [tilt for tilt in tilts_of(protocol.TiltSeries) if not tilt.isEnabled()]
    assert excluded._flexalign_LeftOut.get() in summary[2]
    assert excluded._flexalign_TotalMotion.get() is None


def test_a_series_that_fails_costs_no_other(folder, broken, import_series, align, tmp_path):
    (tmp_path / "ts3.mdoc").write_text((folder / "ts1.mdoc").read_text().replace("ts1_", "ts3_"))
    for path in folder.glob("*.tiff"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
        (tmp_path / path.name.replace("ts1_", "ts3_")).write_bytes(path.read_bytes()[:3000])
    (tmp_path / "ts1.mdoc").write_bytes((folder / "ts1.mdoc").read_bytes())
    imported = import_series(tmp_path, "ts*.mdoc", gainFile=str(folder / "ts1_gain.mrc"))
    assert imported.outputTiltSeriesM.getSize() == 2

    protocol = align(imported, NAME, doLocalAlignment=False, doRefine=False, doDoseWeight=False)

    assert protocol.isFinished(), protocol.getErrorMessage()
    assert list(protocol.TiltSeries.getTSIds()) == ["ts1"]
    assert [name for name, _ in protocol.iterOutputAttributes()] == ["TiltSeries"]
    assert protocol.summary()[:2] == [
        "1 of 2 tilt series are aligned.", "*1 tilt series failed:*"
    ]  # fmt: skip
    assert "at least one tilt" in protocol.summary()[2]


def test_eer_tilts_by_dose_with_one_that_fails(
    simulate_series, import_series, align, engine, tmp_path
):
    folder = simulate_series("te", "eer", "--overwrite")
    (movie,) = folder.glob("te_%03d_*.eer" % BROKEN)
    movie.write_bytes(movie.read_bytes()[:3000])
    gain = next(path for path in folder.iterdir() if "gain" in path.name)
    imported = import_series(folder, "te.mdoc", gainFile=str(gain))

    protocol = align(imported, NAME, eerDose=1.5, doLocalAlignment=False, binFactor=2.0)

    assert protocol.isFinished(), protocol.getErrorMessage()
    with pytest.raises(Exception, match="exit status 1"):
        engine("tilt-series", folder / "te.mdoc", "--out", tmp_path, "--gain", gain, "--no-local",
               "--eer-dose-per-frame", 1.5, "--binning", 2, "--device", "cpu", "--jobs", 1,
               "--no-report")  # fmt: skip
    tilts = tilts_of(protocol.TiltSeries)
    assert [tilt.isEnabled() for tilt in tilts] == [True, False, True, True, True]
    assert [tilt.getTiltAngle() for tilt in tilts] == [-6, -3, 0, 3, 6]
    images = images_of(tilts)
    assert images.shape == (5, 192, 200)
    np.testing.assert_allclose(
        images[[0, 2, 3, 4]], read(tmp_path / "te.mrc"), rtol=1e-4, atol=1e-3
    )
    assert protocol.TiltSeries.getSamplingRate() == 3.6
    with open(protocol._getExtraPath("te", "te_record.json")) as file:
        record = json.load(file)
    used = [tilt for tilt in record["series"]["tilts"] if not tilt["left_out"]]
    assert [tilt["frame_count"] for tilt in used] == [4] * 4
    assert os.path.exists(protocol._getExtraPath("te", "te.mrc.mdoc"))


@pytest.fixture
def viewer(broken, project):
    from scipion_flexalign.viewers import FlexAlignTiltSeriesViewer

    made = FlexAlignTiltSeriesViewer(project=project, protocol=broken[1])
    made.setProtocol(broken[1])
    return made


@pytest.mark.parametrize("name", ["doShowStrip", "doShowMotion"])
def test_every_plot_of_the_viewer_is_drawn(viewer, name, tmp_path):
    (plotter,) = viewer._getVisualizeDict()[name]()

    plotter.savefig(str(tmp_path / "plot.png"))

    assert (tmp_path / "plot.png").stat().st_size > 5000


def test_the_viewer_tells_what_is_excluded(viewer):
    (message,) = viewer._getVisualizeDict()["doShowFailures"]()

    assert "ts2, -3.0 degrees" in message._msg


def test_the_report_of_a_series_is_opened(viewer, monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)

    assert viewer._getVisualizeDict()["doOpenReport"]() == []

    (address,) = opened
    assert address.endswith("/ts2/report.html")
