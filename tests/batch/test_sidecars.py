"""Pixel size, voltage and dose from the files beside movies."""

from __future__ import annotations

import json
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from flexalign.batch.sidecars import SidecarParameters
from flexalign.errors import ParameterError
from flexalign.params import AlignParams

FRAMES = 4
QUICK = ("--jobs", "0", "--no-local", "--no-refine", "--no-psd", "--no-report")
MDOC = """PixelSpacing = 1.5
Voltage = 200

[FrameSet = 0]
ExposureDose = 6
NumSubFrames = 4
"""
EPU = """<MicroscopeImage xmlns="http://schemas"><CustomData><a:KeyValueOfstringanyType>
<a:Key>Dose</a:Key><a:Value i:type="b:double">6E+20</a:Value></a:KeyValueOfstringanyType>
</CustomData><microscopeData><gun>
<AccelerationVoltage>200000</AccelerationVoltage></gun><FractionationSettings>
<NumberOffractions>4</NumberOffractions></FractionationSettings></microscopeData><SpatialScale><pixelSize><x>
<numericValue>1.5E-10</numericValue></x></pixelSize></SpatialScale></MicroscopeImage>
"""


def write_movie(path: Path, pixel_size_A: float = 0.0) -> Path:
    path.parent.mkdir(exist_ok=True)
    frames = np.random.default_rng(1).poisson(3.0, (FRAMES, 96, 128)).astype(np.int8)
    with mrcfile.new(path, data=frames) as file:
        file.set_image_stack()
        file.voxel_size = pixel_size_A
    return path


def parameters_of(movie: Path, own=None, **values: object):
    said: list[str] = []
    found = SidecarParameters(AlignParams(**values), values, lambda m: own or {}, said.append)
    return found(movie), said


@pytest.mark.parametrize(
    ("name", "sidecar", "text", "dose_e_A2"),
    [
        ("m.mrcs", "m.mrcs.mdoc", MDOC, 1.5),
        ("m.mrcs", "m.mdoc", MDOC, 1.5),
        ("m_fractions.mrcs", "m.xml", EPU, 1.5),
        ("m_fractions.mrcs", "m.xml", EPU.replace(">4<", ">8<"), None),
        ("m_fractions.mrcs", "m.xml", EPU.replace("6E+20", "0"), None),
    ],
)
def test_what_nothing_else_says_is_from_the_file_beside_and_is_said(
    tmp_path, name, sidecar, text, dose_e_A2
):
    movie = write_movie(tmp_path / name)
    (tmp_path / sidecar).write_text(text)

    values, said = parameters_of(movie)

    assert values.pop("dose_per_frame_e_A2", None) == dose_e_A2
    assert values == {"pixel_size_A": 1.5, "voltage_kV": 200.0}
    assert len(said) == 1
    assert "voltage 200 kV, pixel size 1.5 A" in said[0]
    assert f"from {sidecar}" in said[0]


def test_options_lists_and_headers_take_precedence(tmp_path):
    (tmp_path / "m.mdoc").write_text(MDOC)
    movie = write_movie(tmp_path / "m.mrcs", pixel_size_A=0.83)

    typed, _ = parameters_of(movie, voltage_kV=300.0, dose_per_frame_e_A2=1.0)
    listed, _ = parameters_of(movie, own={"voltage_kV": 120.0, "dose_per_frame_e_A2": 2.0})

    assert typed == {}
    assert listed == {"voltage_kV": 120.0, "dose_per_frame_e_A2": 2.0}


@pytest.mark.parametrize(
    "text",
    [
        "no metadata",
        MDOC + MDOC.partition("\n\n")[2].replace("= 0]", "= 1]"),  # of two exposures
        MDOC.replace("6", "0").replace("200", "0").replace("1.5", "0"),
    ],
)
def test_a_file_without_metadata_of_one_exposure_changes_nothing(tmp_path, text):
    (tmp_path / "m.mdoc").write_text(text)

    assert parameters_of(write_movie(tmp_path / "m.mrcs"))[0] == {}


def test_the_dose_of_a_movie_with_other_frames_is_not_shared_out(tmp_path):
    (tmp_path / "m.mdoc").write_text(MDOC.replace("NumSubFrames = 4", "NumSubFrames = 8"))

    assert "dose_per_frame_e_A2" not in parameters_of(write_movie(tmp_path / "m.mrcs"))[0]


@pytest.mark.parametrize(
    ("values", "option"),
    [
        ({"pixel_size_A": 1.5, "voltage_kV": 200.0}, None),
        ({"pixel_size_A": 0.75}, None),  # of super-resolution
        ({"pixel_size_A": 3.0}, None),
        ({"pixel_size_A": 1.2}, "`pixel_size_A`"),
        ({"voltage_kV": 300.0}, "`voltage_kV`"),
        ({"dose_per_frame_e_A2": 2.5}, None),  # 1.5 in the file, of another calibration
        ({"dose_per_frame_e_A2": 6.0}, "`dose_per_frame_e_A2`"),  # that of the movie
        ({"dose_per_frame_e_A2": 0.5}, "`dose_per_frame_e_A2`"),
        ({"dose_per_frame_e_A2": (6.0,) * 4}, None),  # of each frame
    ],
)
def test_contradictions_are_refused(tmp_path, values, option):
    (tmp_path / "m.mdoc").write_text(MDOC)
    movie = write_movie(tmp_path / "m.mrcs")
    found = SidecarParameters(AlignParams(**values), values, lambda m: {}, lambda text: None)

    if option is None:
        found.check(movie)
        return
    with pytest.raises(ParameterError, match=rf"{option}: .*m\.mdoc says, found"):
        found.check(movie)


def test_a_contradiction_names_both_values_with_their_unit(tmp_path):
    (tmp_path / "m.mdoc").write_text(MDOC)
    values = {"voltage_kV": 300.0}
    found = SidecarParameters(AlignParams(**values), values, lambda m: {}, lambda text: None)

    with pytest.raises(ParameterError, match=r"expected 200 kV as .*, found 300 kV: "):
        found.check(write_movie(tmp_path / "m.mrcs"))


@pytest.mark.parametrize(("check", "count"), [("on", 1), ("off", 0)])
def test_a_later_movie_that_contradicts_is_a_warning_once(tmp_path, check, count):
    movies = [write_movie(tmp_path / f"m{number}.mrcs") for number in range(2)]
    for movie in movies:
        movie.with_suffix(".mdoc").write_text(MDOC)
    said: list[str] = []
    values = {"voltage_kV": 300.0, "pixel_size_A": 1.5, "dose_per_frame_e_A2": 1.5}
    params = AlignParams(**values, dose_check=check)
    found = SidecarParameters(params, values, lambda m: {}, said.append)

    used = [found(movie) for movie in movies]

    assert used == [{}, {}]
    expected = "warning: `voltage_kV`: 300 kV is used, although m0.mdoc says 200 kV"
    assert said == [expected] * count


def test_a_run_uses_them_and_stops_on_contradictions(tmp_path, flexalign):
    movies = [write_movie(tmp_path / "in" / f"m{number}.mrcs") for number in range(2)]
    for movie in movies:
        movie.with_suffix(".mdoc").write_text(MDOC)
    words = ("align", tmp_path / "in", "--jobs", "0", "--no-local", "--no-refine", "--no-psd")

    code, _, err = flexalign(*words, "--out", tmp_path / "out")
    wrong, _, why = flexalign(*words, "--out", tmp_path / "wrong", "--voltage", "300")

    record = json.loads((tmp_path / "out" / "m1_record.json").read_text())
    used = {name: record["parameters"][name] for name in ("pixel_size_A", "dose_per_frame_e_A2")}
    assert (code, used) == (0, {"pixel_size_A": 1.5, "dose_per_frame_e_A2": 1.5})
    assert err.count("voltage 200 kV, pixel size 1.5 A, dose 1.5 e/A2 per frame") == 1
    assert wrong == 2
    assert "--voltage: expected 200" in why
    assert not list((tmp_path / "wrong").glob("*_record.json"))


def test_the_record_has_the_time_of_acquisition_of_the_file_beside_the_movie(tmp_path, flexalign):
    movie = write_movie(tmp_path / "m.mrcs", pixel_size_A=1.5)
    words = ("align", movie, *QUICK, "--out")
    flexalign(*words, tmp_path / "without")
    movie.with_suffix(".mdoc").write_text(f"{MDOC}DateTime = 06-Nov-23  18:21:44\n")
    flexalign(*words, tmp_path / "with")

    without, timed = (
        json.loads((tmp_path / folder / "m_record.json").read_text())["inputs"]["movie"]
        for folder in ("without", "with")
    )
    assert "acquired" not in without
    assert timed["acquired"] == "2023-11-06T18:21:44"


IMPOSSIBLE = [
    ("PixelSpacing = 1.5", "PixelSpacing = -1.5", "pixel size: expected at least 0.12 A"),
    ("PixelSpacing = 1.5", "PixelSpacing = 500", "pixel size: expected at most 9 A"),
    ("Voltage = 200", "Voltage = 3", "voltage: expected at least 60 kV"),
    ("ExposureDose = 6", "ExposureDose = 1e9", "exposure dose: expected at most 300 e/A2"),
]


@pytest.mark.parametrize(("text", "wrong", "why"), IMPOSSIBLE)
def test_an_impossible_value_is_not_used_and_reported(tmp_path, text, wrong, why):
    (tmp_path / "m.mdoc").write_text(MDOC.replace(text, wrong))
    movie = write_movie(tmp_path / "m.mrcs")

    values, said = parameters_of(movie)

    assert len(values) == 2
    assert f"m.mdoc: not used: {why}" in said[0]


@pytest.mark.parametrize("text", ["Voltage = 3", "PixelSpacing = 0", "PixelSpacing = 9e99"])
def test_a_run_over_movies_with_an_impossible_value_goes_on(tmp_path, flexalign, text):
    for number, mdoc in enumerate((MDOC, f"{text}\n\n[FrameSet = 0]\nNumSubFrames = 4\n")):
        movie = write_movie(tmp_path / "in" / f"m{number}.mrcs", pixel_size_A=1.5)
        movie.with_suffix(".mdoc").write_text(mdoc)

    code, _, err = flexalign("align", tmp_path / "in", "--out", tmp_path / "out", *QUICK)

    assert code == 0
    assert len(list((tmp_path / "out").glob("*_record.json"))) == 2
    assert "Traceback" not in err


def test_a_file_that_comes_late_does_not_repeat_its_movie(tmp_path, flexalign):
    movie = write_movie(tmp_path / "in" / "m.mrcs", pixel_size_A=1.5)
    words = ("align", tmp_path / "in", "--out", tmp_path / "out", *QUICK)
    flexalign(*words)
    record = tmp_path / "out" / "m_record.json"
    before = record.stat().st_mtime_ns
    movie.with_suffix(".mdoc").write_text(MDOC)

    code, _, err = flexalign(*words)

    assert (code, record.stat().st_mtime_ns) == (0, before)
    assert "aligned before the file with its pixel size, voltage or dose came" in err
    assert flexalign(*words, "--overwrite")[0] == 0
    assert json.loads(record.read_text())["parameters"]["voltage_kV"] == 200
