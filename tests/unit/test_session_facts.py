"""`info` on files that lie beside movies: said what they are, briefly."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from flexalign.io.inspect.inspection import inspect_file
from flexalign.params import AlignParams

PARAMS = AlignParams()
DM4 = Path(__file__).parents[1] / "fuzz" / "seeds" / "gain.dm4"
MDOC = """PixelSpacing = 1.35
ImageFile = TS_01.mrc
Voltage = 300

[T = SerialEM: Digitized on EMBL Krios]

[ZValue = 0]
DateTime = 06-Nov-23  18:21:44
TiltAngle = -3.01
ExposureDose = 0
NumSubFrames = 8
SubFramePath = D:\\Frames\\a.tif

[ZValue = 1]
TiltAngle = 0.02
NumSubFrames = 8
"""
EPU = """<MicroscopeImage xmlns="http://schemas.datacontract.org/2004/07/Fei.SharedObjects">
<CustomData xmlns:a="http://schemas.microsoft.com/2003/10/Serialization/Arrays">
<a:KeyValueOfstringanyType><a:Key>DoseOnCamera</a:Key><a:Value xmlns:b="http://www.w3.org/2001/XMLSchema"
 i:type="b:double">34.4</a:Value></a:KeyValueOfstringanyType>
<a:KeyValueOfstringanyType><a:Key>Dose</a:Key><a:Value xmlns:b="http://www.w3.org/2001/XMLSchema"
 i:type="b:double">5E+21</a:Value></a:KeyValueOfstringanyType></CustomData>
<microscopeData><gun><AccelerationVoltage>300000</AccelerationVoltage></gun><acquisition>
<camera><FractionationSettings><b:NumberOffractions xmlns:b="x">40</b:NumberOffractions>
</FractionationSettings></camera>
<acquisitionDateTime>2023-11-06T18:21:44.1234567+01:00</acquisitionDateTime></acquisition>
</microscopeData>
<SpatialScale><pixelSize><x><numericValue>8.3E-11</numericValue><unit>m</unit></x></pixelSize>
</SpatialScale></MicroscopeImage>
"""
SERIES = "data_global\n\nloop_\n_rlnTomoName #1\n_rlnTomoTiltSeriesStarFile #2\nT1 t/T1.star\n"
TILTS = (
    "data_T1\n\nloop_\n_rlnMicrographMovieName #1\n_rlnTomoNominalStageTiltAngle #2\n"
    "a.tif -3\nb.tif 0\nc.tif 3\n"
)
TWO_TILTS = {"images": 2, "smallest_tilt_deg": -3.01, "largest_tilt_deg": 0.02}


@pytest.mark.parametrize(
    ("name", "text", "what", "values"),
    [
        ("a.mdoc", MDOC, "metadata of SerialEM",
         {"sections": 2, "pixel_size_A": 1.35, "voltage_kV": 300, "frames": 8,
          "acquired": "2023-11-06T18:21:44",
          "exposure_dose_e_A2": None, **TWO_TILTS}),
        ("a.xml", EPU, "metadata of EPU",
         {"pixel_size_A": 0.83, "voltage_kV": 300, "exposure_dose_e_A2": 50, "frames": 40,
          "acquired": "2023-11-06T18:21:44"}),
        ("a.star", SERIES, "list of tilt series of RELION", {"tilt_series": 1}),
        ("T1.star", TILTS, "images of a tilt series, of RELION",
         {"images": 3, "smallest_tilt_deg": -3, "largest_tilt_deg": 3}),
        ("a_TLT.txt", "-3.01 2 1.5\n0.02 1 1.5\n", "tilt angles", TWO_TILTS),
        ("a.rawtlt", " -3.01\n  0.02\n", "tilt angles", TWO_TILTS),
        ("a.aln", "# AreTomo Alignment / Priims bprmMn \n# RawSize = 64 64 2\n0 1 2\n",
         "alignment of a tilt series, of AreTomo", {}),
    ],
)  # fmt: skip
def test_text_is_said_what_it_is(tmp_path, name, text, what, values):
    path = tmp_path / name
    path.write_text(text)

    facts = inspect_file(path, PARAMS)

    assert facts.kind == "other"
    assert what in dict(facts.lines)["what"]
    assert {key: facts.values[key] for key in values} == values


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize(("name", "text"), [("a.mdoc", MDOC), ("a.xml", EPU)])
def test_text_of_windows_is_said_what_it_is(tmp_path, name, text, encoding):
    plain, windows = tmp_path / name, tmp_path / f"windows-{name}"
    plain.write_text(text)
    windows.write_bytes(text.replace("\n", "\r\n").encode(encoding))

    assert inspect_file(windows, PARAMS).values == inspect_file(plain, PARAMS).values


def test_numbers_are_told_with_their_units(tmp_path):
    path = tmp_path / "a.mdoc"
    path.write_text(MDOC)

    lines = dict(inspect_file(path, PARAMS).lines)

    assert lines["pixel size"] == "1.35 A"
    assert lines["largest tilt"] == "0.02 degrees"


def test_a_stream_of_tvips_is_counted(tmp_path):
    path = tmp_path / "a_000.tvips"
    header = struct.pack("<13I", 256, 2, 8, 6, 16, 0, 0, 1, 1, 15500, 300, 50000, 12)
    path.write_bytes(header.ljust(256, b"\0") + bytes(3 * (12 + 8 * 6 * 2)))

    facts = inspect_file(path, PARAMS)

    assert facts.values["images"] == 3
    assert facts.values["size_px"] == "8 x 6"


def test_an_image_of_digital_micrograph_has_its_statistics():
    facts = inspect_file(DM4, PARAMS)

    assert (facts.kind, facts.values["file_format"]) == ("image", "dm4")
    assert (facts.values["height_px"], facts.values["width_px"]) == (6, 10)
    assert facts.values["pixel_dtype"] == "float32"


def test_a_compressed_image_has_its_statistics(tmp_path):
    with mrcfile.new(tmp_path / "g.mrc", np.full((6, 8), 2, np.float32)) as file:
        file.voxel_size = 1.5
    path = tmp_path / "g.mrc.gz"
    path.write_bytes(gzip.compress((tmp_path / "g.mrc").read_bytes()))

    facts = inspect_file(path, PARAMS)

    assert (facts.kind, facts.values["file_format"]) == ("image", "gz mrc")
    assert (facts.values["mean"], facts.values["pixel_size_A"]) == (2, 1.5)
