"""The table by which a series is handed over, and the stacks that come of it."""

import doctest

import mrcfile
import numpy as np
import pytest

tomo = pytest.importorskip("tomo.objects")

from scipion_flexalign.protocols import series_table, stacks  # noqa: E402


def tilt(order, angle, accumulated, dose=3.0, enabled=True):
    made = tomo.TiltImageM(location="raw/t%d.tif" % order, tiltAngle=angle, acquisitionOrder=order)
    made.setObjId(100 - order)
    made.setEnabled(enabled)
    made.setAcquisition(
        tomo.TomoAcquisition(accumDose=accumulated, dosePerFrame=dose, doseInitial=0.0)
    )
    return made


def facts(tilts):
    exposures, initial = series_table.exposures_of(tilts)
    return [(e.number, e.angle, e.dose, e.movie) for e in exposures], initial


def test_the_examples_are_true():
    assert doctest.testmod(series_table).attempted >= 1
    assert doctest.testmod(series_table).failed == 0


def test_exposures_are_in_order_with_their_own_dose():
    found, initial = facts([tilt(2, 3.0, 6.0), tilt(1, 0.0, 3.0), tilt(3, -3.0, 10.0, 4.0)])

    assert found == [
        (1, 0.0, 3.0, "raw/t1.tif"), (2, 3.0, 3.0, "raw/t2.tif"), (3, -3.0, 4.0, "raw/t3.tif")
    ]  # fmt: skip
    assert initial == 0


def test_the_dose_before_the_first_tilt_is_said():
    assert facts([tilt(1, 0.0, 8.0)]) == ([(1, 0.0, 3.0, "raw/t1.tif")], 5.0)


def test_what_a_subset_lacks_still_counts():
    """Orders 1, 2 and 4 are not in the set; the specimen has had their dose."""
    found, initial = facts([tilt(5, 6.0, 15.0), tilt(3, -3.0, 9.0)])

    assert [(number, dose) for number, _, dose, _ in found] == [(n, 3.0) for n in (1, 2, 3, 4, 5)]
    assert [movie for *_, movie in found] == ["", "", "raw/t3.tif", "", "raw/t5.tif"]
    assert initial == 0


def test_a_disabled_tilt_counts_but_is_not_aligned():
    found, _ = facts([tilt(1, 0.0, 3.0), tilt(2, 3.0, 6.0, enabled=False), tilt(3, 6.0, 9.0)])

    assert [(dose, movie) for _, _, dose, movie in found] == [
        (3.0, "raw/t1.tif"), (3.0, ""), (3.0, "raw/t3.tif")
    ]  # fmt: skip


def test_an_unknown_dose_is_not_made_up():
    exposures, _ = series_table.exposures_of([tilt(1, 0.0, None, None), tilt(2, 3.0, None, None)])

    assert "Dose" not in series_table.mdoc_text(exposures, 1.0, 300.0, None)


@pytest.fixture
def source(tmp_path):
    path = str(tmp_path / "source.mrc")
    with mrcfile.new(path) as file:
        file.set_data(np.arange(3 * 4 * 5, dtype=np.float32).reshape(3, 4, 5))
        file.set_image_stack()
        file.voxel_size = 1.8
    return path


@pytest.mark.parametrize("places", [(0, None, 1, 2), (None, 0, 1, 2), (0, 1, 2, None)])
def test_blank_images_keep_the_places(source, tmp_path, places):
    path = str(tmp_path / "stack.mrcs")
    stacks.write_stack(path, source, places)

    with mrcfile.open(path) as made:
        assert made.is_image_stack() and made.voxel_size.x == pytest.approx(1.8)
        images = np.array(made.data)
    original = mrcfile.read(source)
    blank = places.index(None)
    np.testing.assert_array_equal(np.delete(images, blank, axis=0), original)
    assert np.ptp(images[blank]) == 0
    assert images[blank, 0, 0] == original[max(blank - 1, 0)].mean()


def test_a_whole_stack_takes_no_second_place_on_the_disk(source, tmp_path):
    path = tmp_path / "stack.mrcs"
    for _ in range(2):  # also over an earlier one
        stacks.write_stack(str(path), source, [0, 1, 2])

    assert path.samefile(source)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["source.mrc", "stack.mrcs"]
