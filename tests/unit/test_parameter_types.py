"""Values of parameters as Python programs have them: of NumPy, lists, paths."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from flexalign.errors import ParameterError
from flexalign.params import AlignParams


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("gain", Path("folder") / "gain.mrc", str(Path("folder") / "gain.mrc")),
        ("pixel_size_A", np.float64(1.5), 1.5),
        ("pixel_size_A", np.float32(1.5), 1.5),
        ("pixel_size_A", 2, 2.0),
        ("align_first", np.int64(2), 2),
        ("reference_frame", 3, "3"),
        ("control_points", [4, 5, 6], (4, 5, 6)),
        ("control_points", np.array([4, 5, 6]), (4, 5, 6)),
        ("dose_per_frame_e_A2", [1, 2.5], (1.0, 2.5)),
        ("dose_per_frame_e_A2", np.array([1, 2.5]), (1.0, 2.5)),
    ],
)
def test_values_become_those_of_python(name, value, expected):
    params = AlignParams(**{name: value})

    assert getattr(params, name) == expected
    assert type(getattr(params, name)) is type(expected)
    assert params.hash() == AlignParams(**{name: expected}).hash()


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("pixel_size_A", "1.3", "expected a number, found '1.3'"),
        ("pixel_size_A", [1.3], "expected a number, found"),
        ("pixel_size_A", np.array([1.3, 1.3]), "expected a number, found"),
        ("voltage_kV", None, "expected a number, found None"),
        ("align_first", 1.5, "expected a whole number, found 1.5"),
        ("local", "yes", "expected true or false, found 'yes'"),
        ("gain", 3, "expected a text, found 3"),
        ("device", 0, "expected a text, found 0"),
        ("write", ("relion",), "expected a text, found"),
        ("patches", (4, 4, 4), "expected 2 whole numbers, found"),
    ],
)
def test_a_value_of_another_type_is_an_error_that_names_the_parameter(name, value, problem):
    with pytest.raises(ParameterError, match=rf"`{name}`: {problem}"):
        AlignParams(**{name: value})
