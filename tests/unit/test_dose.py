import numpy as np
import pytest

from flexalign.arrays.dose import critical_exposure_e_A2, dose_tolerance, exposure_weights


def test_critical_exposure_is_the_published_formula_at_300_kV():
    frequency = np.array([0.05, 0.1, 1 / 3])
    expected = [0.24499 * k**-1.6649 + 2.8141 for k in frequency]

    np.testing.assert_allclose(critical_exposure_e_A2(frequency, 300), expected, rtol=1e-12)


def test_critical_exposure_at_10_A_is_14_electrons():
    assert critical_exposure_e_A2(0.1, 300) == pytest.approx(14.14, abs=0.01)


@pytest.mark.parametrize(("voltage_kV", "factor"), [(300, 1.0), (200, 0.8), (100, 1 / 1.57)])
def test_the_published_voltages_are_exact(voltage_kV, factor):
    assert dose_tolerance(voltage_kV) == pytest.approx(factor, abs=1e-11)


def test_tolerance_grows_with_voltage_and_levels_off():
    voltage_kV = np.linspace(60, 1000, 300)
    tolerance = np.array([dose_tolerance(v) for v in voltage_kV])

    assert (np.diff(tolerance) > 0).all()
    assert 0.3 < tolerance[0] < 0.5
    assert 1.3 < tolerance[-1] < 1.6


@pytest.mark.parametrize("voltage_kV", [59.0, 1001.0, float("nan")])
def test_other_voltages_are_refused(voltage_kV):
    with pytest.raises(ValueError, match="60 to 1000"):
        dose_tolerance(voltage_kV)


def test_weight_is_one_at_frequency_zero_and_exp_of_minus_half_at_the_critical_exposure():
    critical = critical_exposure_e_A2(0.2, 200)

    weights = exposure_weights([0.0, 0.2], critical, 200)

    np.testing.assert_allclose(weights, [1.0, np.exp(-0.5)], rtol=1e-6)


def test_no_dose_weighs_everything_one():
    assert (exposure_weights(np.linspace(0, 0.5, 9), 0.0) == 1).all()


def test_doses_broadcast_against_frequencies_and_inputs_stay_untouched():
    frequency = np.linspace(0.0, 0.5, 12).reshape(3, 4)
    frequency.flags.writeable = False
    dose = np.array([1.0, 2.0])[:, None, None]

    weights = exposure_weights(frequency, dose)

    assert weights.shape == (2, 3, 4)
    assert weights.dtype == np.float32
    assert (weights[1] <= weights[0]).all()
