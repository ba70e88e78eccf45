"""Damaged files that describe tilt series, as `tilt-series` meets them."""

from __future__ import annotations

import mrcfile
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutations import fuzzing, mutated_text, only_typed_errors

from flexalign.params import AlignParams
from flexalign.plain import write_json
from flexalign.tilts.reading import read_sources
from flexalign.tilts.record import read_series_record
from flexalign.tilts.understanding import SeriesChoices, understand

PARAMS = AlignParams()
TEXTS = {
    "a.mdoc": "PixelSpacing = 1.35\nVoltage = 300\nImageSize = 48 40\n[T = Tilt axis angle = 85]\n"
    "[ZValue = 0]\nTiltAngle = -3\nExposureDose = 3\nSubFramePath = X:\\f\\m.mrcs\n"
    "DateTime = 06-Nov-23  18:00:00\n[ZValue = 1]\nTiltAngle = 3\nDoseRate = 8\nExposureTime = 1\n"
    "SubFramePath = m.mrcs\nFrameDosesAndNumber = 0.5 6\nPriorRecordDose = 3\n",
    "a.star": "data_a\n\nloop_\n_rlnMicrographMovieName #1\n_rlnTomoNominalStageTiltAngle #2\n"
    "_rlnMicrographPreExposure #3\nm.mrcs -3 0\nm.mrcs 3 3.0\n",
    "tilt_series.star": "data_global\n\nloop_\n_rlnTomoName #1\n_rlnTomoTiltSeriesStarFile #2\n"
    "_rlnVoltage #3\na a.star 300\n",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("series")
    with mrcfile.new(folder / "m.mrcs") as file:
        file.set_data(np.ones((3, 40, 48), np.int16))
        file.set_image_stack()
    (folder / "a.star").write_text(TEXTS["a.star"])
    return folder


@pytest.mark.parametrize("name", TEXTS)
@given(data=st.data())
@fuzzing
def test_what_describes_a_series(folder, name, data):
    """Whatever it says, each tilt that is used has parameters that can be."""
    path = folder / name
    path.write_bytes(data.draw(mutated_text(TEXTS[name])))
    with only_typed_errors(max_bytes=4_000_000):
        sources, _ = read_sources([str(path)])
        for source in sources:
            series = understand(source, PARAMS, SeriesChoices())
            for tilt in series.used:
                values = {**PARAMS.to_dict(), **series.parameters, **series.own[tilt.movie]}
                AlignParams.from_dict(values)
                assert abs(tilt.angle_deg) <= 90
    path.write_text(TEXTS[name])


@given(data=st.data())
@fuzzing
def test_records_of_series(folder, data):
    (source,), _ = read_sources([str(folder / "a.mdoc")])
    path = folder / "a_record.json"
    series = understand(source, PARAMS, SeriesChoices())
    plain = {"schema": 1, "version": "0", "series": series.to_dict(), "sections": [1]}
    plain |= {"movies": {}, "key": "k", "pixel_size_A": 1.0, "shape_px": [40, 48]}
    plain |= {"outputs": {"stack": "a.mrc"}}
    write_json(path, plain)
    text = path.read_text()
    path.write_bytes(data.draw(mutated_text(text)))
    with only_typed_errors(max_bytes=4_000_000):
        read_series_record(path)
