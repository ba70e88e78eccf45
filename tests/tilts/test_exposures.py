"""Order, dose and repeats of exposures, from what mdoc files say."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexalign.io.mdoc import Mdoc, MdocSection, base_name, read_mdoc, time_of, write_mdoc
from flexalign.tilts.exposures import in_order, section_dose_e_A2, tilts_of, without_repeats
from flexalign.tilts.model import Exposure
from flexalign.tilts.reading import mdoc_source
from flexalign.tilts.unfit import is_dark
from flexalign.tilts.writing import write_aretomo

START = datetime(2023, 11, 6, 18, 0, 0)


def exposure(number: int, angle: float, minutes: float | None, **items: object) -> Exposure:
    time = None if minutes is None else START + timedelta(minutes=minutes)
    return Exposure(number, angle, f"m{number}.tif", time, **{"dose_e_A2": 3.0, **items})


@pytest.mark.parametrize(
    "word",
    ["06-Nov-23  18:21:44", "06-Nov-2023 18:21:44", "6-Nov-23 18:21:44", "2023-11-06 18:21:44",
     "06-NOV-2023  18:21:44", "2023-11-06T18:21:44.000", "06-Nov-23  18:21:44 (local)"],
)  # fmt: skip
def test_times_are_read_in_all_the_layouts_of_the_microscopes(word):
    assert time_of(word) == datetime(2023, 11, 6, 18, 21, 44)


@pytest.mark.parametrize("word", [None, "", "yesterday", "31-Feb-23 10:00:00", "06-Xyz-23 1:00:00"])
def test_what_is_no_time_is_none(word):
    assert time_of(word) is None


def test_the_order_is_that_of_time_in_a_scheme_that_was_resumed():
    """ZValue is that of the file: the second half was appended with numbers from 0 on again."""
    exposures = [
        exposure(0, 0.0, 0), exposure(1, 3.0, 1), exposure(2, -3.0, 2),
        exposure(0, 6.0, 40), exposure(1, -6.0, 41),
    ]  # fmt: skip

    tilts, _ = tilts_of(in_order(exposures[::-1]).exposures)

    assert [tilt.angle_deg for tilt in tilts] == [0.0, 3.0, -3.0, 6.0, -6.0]
    assert [tilt.pre_exposure_e_A2 for tilt in tilts] == [0.0, 3.0, 6.0, 9.0, 12.0]
    assert [tilt.order for tilt in tilts] == [1, 2, 3, 4, 5]


def test_without_any_time_zvalue_decides_and_is_said_to():
    found = in_order(
        [exposure(i, a, None, section={"x": "y"}) for i, a in ((2, 3), (0, 0), (1, -3))]
    )

    assert [e.number for e in found.exposures] == [0, 1, 2]
    assert "ZValue" in found.notes[0]


def test_one_without_time_follows_its_zvalue_and_is_named():
    exposures = [exposure(0, 0, 0), exposure(1, 3, 1), exposure(2, -3, None), exposure(3, 6, 3)]

    found = in_order(exposures[::-1])

    assert [e.number for e in found.exposures] == [0, 1, 2, 3]
    assert found.notes == ["no DateTime for ZValue 2: assumed to follow the preceding ZValue"]


def test_an_exposure_listed_twice_counts_once():
    found = in_order([exposure(0, 0, 0), exposure(1, 3, 1), exposure(1, 3, 1)])

    assert [tilt.pre_exposure_e_A2 for tilt in tilts_of(found.exposures)[0]] == [0.0, 3.0]
    assert "twice" in found.notes[0]


@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=60))
def test_pre_exposure_is_the_dose_of_all_earlier_exposures_and_never_its_own(doses):
    exposures = [exposure(i, 2.0 * i, i, dose_e_A2=dose) for i, dose in enumerate(doses)]

    tilts, _ = tilts_of(in_order(exposures).exposures)

    expected = [math.fsum(doses[:i]) for i in range(len(doses))]
    assert [tilt.pre_exposure_e_A2 for tilt in tilts] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("section", "dose"),
    [
        ({"ExposureDose": "2.5", "FrameDosesAndNumber": "0.5 6"}, 2.5),
        ({"ExposureDose": "0", "FrameDosesAndNumber": "0.5 6"}, 3.0),
        ({"FrameDosesAndNumber": "0.5 2 0.25 4"}, 2.0),
        ({"DoseRate": "8", "ExposureTime": "1.5", "PixelSpacing": "2"}, 3.0),
        ({"DoseRate": "8", "ExposureTime": "1.5", "PixelSpacing": "4", "Binning": "2"}, 3.0),
        ({"DoseRate": "8", "ExposureTime": "1.5"}, 12 / 1.5**2),
        ({"DoseRate": "8"}, None),
        ({"ExposureTime": "1.5"}, None),
        ({}, None),
    ],
)
def test_the_dose_of_an_exposure_is_found_where_the_mdoc_has_it(section, dose):
    assert section_dose_e_A2(section, 1.5) == (None if dose is None else pytest.approx(dose))


def test_what_was_typed_wins_and_an_unknown_dose_is_the_median():
    exposures = [exposure(0, 0, 0), exposure(1, 3, 1, dose_e_A2=None), exposure(2, -3, 2)]

    assert [t.dose_e_A2 for t in tilts_of(exposures, 2.0)[0]] == [2.0, 2.0, 2.0]
    tilts, notes = tilts_of(exposures)
    assert [t.pre_exposure_e_A2 for t in tilts] == [0.0, 3.0, 6.0]
    assert notes == ["no dose for exposure 2: taken as 3 e/A2, the median"]


def test_without_any_dose_nothing_is_made_up():
    tilts, notes = tilts_of([exposure(0, 0, 0, dose_e_A2=None), exposure(1, 3, 1, dose_e_A2=None)])

    assert all(math.isnan(tilt.dose_e_A2) for tilt in tilts)
    assert "--tilt-dose" in notes[0]


def test_of_an_angle_that_was_shot_twice_the_later_is_used_and_the_dose_of_both_counts():
    exposures = [
        exposure(0, 0.0, 0),
        exposure(1, 3.02, 1),
        exposure(2, 2.97, 2),
        exposure(3, -3, 3),
    ]

    tilts = without_repeats(tilts_of(in_order(exposures).exposures)[0])

    assert [tilt.left_out for tilt in tilts] == ["", "re-shot", "", ""]
    assert "exposure 3" in tilts[1].why
    assert tilts[3].pre_exposure_e_A2 == 9.0


def test_steps_of_one_degree_are_no_repeats():
    exposures = [exposure(i, 1.0 * i, i) for i in range(9)]

    assert all(t.is_used for t in without_repeats(tilts_of(in_order(exposures).exposures)[0]))


def test_another_sum_in_the_mdoc_is_told():
    exposures = [exposure(i, 3.0 * i, i, section={"PriorRecordDose": str(p)}) for i, p in
                 enumerate((0, 3, 99))]  # fmt: skip

    assert tilts_of(exposures)[1][0].startswith("PriorRecordDose of ZValue 2 differs")


def test_a_section_with_only_what_is_needed_is_a_tilt(tmp_path):
    """None of the optional items is missed, and three tilts are a series."""
    lines = ["[ZValue = 0]", "TiltAngle = 0", "SubFramePath = a.tif", "[ZValue = 1]",
             "TiltAngle=3.0", "SubFramePath=/x/y/b.tif", "[ZValue = 2]", "TiltAngle = -3",
             "SubFramePath = D:\\x\\c d.tif", "DateTime = 06-Nov-23  18:21:44"]  # fmt: skip
    path = tmp_path / "a.mdoc"
    path.write_text("\n".join(lines))

    source = mdoc_source(path)

    assert [base_name(e.movie_name) for e in source.exposures] == ["a.tif", "b.tif", "c d.tif"]
    assert [e.angle_deg for e in source.exposures] == [0.0, 3.0, -3.0]


@given(
    st.dictionaries(
        st.from_regex(r"[A-Z][A-Za-z]{0,12}", fullmatch=True),
        st.from_regex(r"[!-~]([ -~]{0,20}[!-~])?", fullmatch=True),
        max_size=5,
    )
)
def test_an_mdoc_comes_back_as_it_was_written(tmp_path_factory, items):
    path = tmp_path_factory.mktemp("mdoc") / "a.mdoc"
    mdoc = Mdoc({"Voltage": "300"}, ("a title",), (MdocSection("ZValue", 3, items),))

    write_mdoc(path, mdoc)

    assert read_mdoc(path) == mdoc


SERIALEM, TOMO5 = "    Tilt axis angle = 85.3, binning = 1", "   TiltAxisAngle = {}  Binning = 1"


@pytest.mark.parametrize(
    ("titles", "rotation", "axis"),
    [
        ([SERIALEM], "175.3", 85.3),
        ([SERIALEM], None, 85.3),
        (["SerialEM: K3"], "175.3", 85.3),
        ([], "-95", 175.0),
        # RotationAngle decides what TiltAxisAngle means.
        ([TOMO5.format("-175.3")], "85.3", 85.3),
        ([TOMO5.format("-4.7")], "85.3", -4.7),
        ([TOMO5.format("4.7")], "85.3", -4.7),
        ([TOMO5.format("174.2")], "95.8", 95.8),
        ([TOMO5.format("-175.3")], None, None),
        ([TOMO5.format("33")], "85.3", None),
        (["Tomography: TITAN    13-Jan-2025  17:15:32"], "86.2", 86.2),
        (["Tilt axis angle = unknown"], None, None),
        ([], None, None),
    ],
)
def test_the_tilt_axis_is_found_in_each_layout(titles, rotation, axis):
    items = {} if rotation is None else {"RotationAngle": rotation}
    sections = (MdocSection("ZValue", 0, {}), MdocSection("ZValue", 1, items))

    assert Mdoc({}, tuple(titles), sections).tilt_axis_deg == axis


def test_dark_images_are_told_from_those_of_steep_tilts():
    """Counts of a slab of one mean free path fall to a third at 60 degrees, which is not dark."""
    angle = [-60.0, -54, -30, 0, 30, 54, 60]
    counts = [math.exp(-1 / math.cos(math.radians(a))) for a in angle]
    counts[5] *= 0.05

    assert is_dark(counts, angle).tolist() == [False] * 5 + [True, False]


def test_a_whole_end_of_a_series_behind_a_grid_bar_is_dark():
    angle = list(range(-60, 61, 3))
    counts = [10 * math.exp(-0.5 / math.cos(math.radians(a))) for a in angle]
    counts[-6:] = [0.02] * 6

    assert is_dark(counts, angle).tolist() == [False] * 35 + [True] * 6


def test_aretomos_table_is_as_aretomo_3_writes_and_reads_it(tmp_path):
    """``"%8.2f  %4d  %8.2f"`` in CTsPackage.cpp; the order counts the exposure that is left out."""
    exposures = [exposure(0, 0.0, 0), exposure(1, 3.005, 1), exposure(2, -60.0, 2)]
    tilts, _ = tilts_of(in_order(exposures).exposures)
    unknown, _ = tilts_of([exposure(3, 6.0, None, dose_e_A2=None)])

    write_aretomo(tmp_path / "ts_TLT.txt", [tilts[2], tilts[0], *unknown])

    assert (tmp_path / "ts_TLT.txt").read_bytes() == (
        b"  -60.00     3      3.00\n    0.00     1      3.00\n    6.00     1      0.00\n"
    )
