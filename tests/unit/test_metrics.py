"""What is said of a movie that needs no pixels to be aligned: dose, curves, what is unknown."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from flexalign.arrays.detector import make_correction
from flexalign.arrays.power_spectrum import power_spectrum
from flexalign.estimate.result import given_motion
from flexalign.model import EerInfo, MovieInfo, SignalBand
from flexalign.motion import Motion
from flexalign.params import AlignParams
from flexalign.passes import FirstPass
from flexalign.plan import make_plan
from flexalign.quality.metrics import curves, quality_of

SHAPE = (160, 192)
FRAMES = 6
MOVIE = MovieInfo("movie.tiff", "tiff", FRAMES, *SHAPE, "uint8", 2.0, 1000)


def first_pass(gain=None, mean_counts=4.0, bad_frames=None, dark=None):
    bad = bad_frames or {}
    counts = np.array([np.nan if i in bad else mean_counts for i in range(FRAMES)])
    none = np.zeros(SHAPE, np.bool_)
    image = np.random.default_rng(0).normal(mean_counts, 0.1, SHAPE).astype(np.float32)
    return FirstPass(image, make_correction(gain, dark, none), none, bad, {}, mean_counts, counts)


def measured(movie=MOVIE, first=None, estimate=None, **typed):
    params = AlignParams(**{"dose_per_frame_e_A2": 1.0, "local": False, **typed})
    motion = estimate or given_motion(Motion.still(movie.frame_count))
    lines = (math.nan, math.nan)
    return quality_of(
        make_plan(movie, params), params, first or first_pass(), motion, None, None, lines
    )


def test_the_dose_is_counts_by_the_area_of_a_pixel():
    quality = measured()

    assert quality.measured_dose_e_A2 == pytest.approx(4.0 / 2.0**2)
    assert quality.declared_dose_e_A2 == 1.0


def test_the_scale_of_the_gain_does_not_change_the_dose():
    gain = np.full(SHAPE, 50.0, np.float32)

    assert measured(first=first_pass(gain, 200.0)).measured_dose_e_A2 == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("changes", "is_measured"),
    [
        ({}, True),
        ({"pixel_dtype": "int8"}, True),
        ({"pixel_dtype": "uint16"}, False),
        ({"pixel_dtype": "float32"}, False),
        ({"file_format": "eer", "pixel_dtype": "uint16", "eer": EerInfo(60, 10, 0, 1)}, True),
        ({"file_format": "bz2 mrc"}, True),
    ],
    ids=str,
)
def test_the_dose_is_measured_only_where_counts_are_electrons(changes, is_measured):
    quality = measured(replace(MOVIE, **changes))

    assert math.isnan(quality.measured_dose_e_A2) != is_measured


def test_without_a_declared_dose_there_is_nothing_to_compare():
    quality = measured(dose_per_frame_e_A2=None)

    assert math.isnan(quality.declared_dose_e_A2)
    assert quality.measured_dose_e_A2 == pytest.approx(1.0)
    assert "dose-mismatch" not in quality.flag_names


def test_a_dark_reference_means_that_counts_are_no_electrons():
    assert math.isnan(measured(first=first_pass(dark=np.zeros(SHAPE))).measured_dose_e_A2)


def test_a_motion_that_was_given_has_no_errors_and_no_signal_by_band():
    quality = measured()

    assert quality.chosen == "given"
    assert math.isnan(quality.trajectory_error_A)
    assert math.isnan(quality.field_error_A)
    assert math.isnan(quality.track_residual_A)
    assert math.isnan(quality.ring_score)
    assert math.isnan(quality.fixed_pattern_pull)
    assert quality.signal_bands == ()


def test_signal_before_is_unknown_where_a_pattern_was_taken_out():
    band = SignalBand(30.0, 15.0, 0.5, 0.7, 0.01)
    estimate = replace(given_motion(Motion.still(FRAMES)), signal=(band,))

    clean, pattern = (
        measured(estimate=estimate),
        measured(estimate=replace(estimate, has_fixed_pattern=True)),
    )

    assert clean.signal_bands == (band,)
    assert math.isnan(pattern.signal_bands[0].before)
    assert pattern.signal_bands[0].after == 0.7


def test_bad_frames_are_counted_and_have_no_counts():
    first = first_pass(bad_frames={2: "it is blank"})

    assert measured(first=first).bad_frame_count == 1
    assert [math.isnan(value) for value in curves(first, None, None).mean_counts] == [
        False, False, True, False, False, False,
    ]  # fmt: skip


def test_curves_hold_the_radial_profiles_with_few_digits():
    image = np.random.default_rng(0).normal(size=(256, 256))
    spectrum = power_spectrum(image, 1.2)

    found = curves(first_pass(), spectrum, spectrum)

    np.testing.assert_allclose(found.power_after, spectrum.radial_power, rtol=1e-3)
    np.testing.assert_allclose(found.frequency_per_A, spectrum.frequency_per_A, rtol=1e-3)
    assert max(len(repr(value)) for value in found.power_after) < 12
    assert found.spectrum_edge_per_A == pytest.approx(1 / 3)
    assert type(found).from_dict(found.to_dict()) == found
