"""Which device is chosen, and what is said when it cannot be the one asked for."""

from __future__ import annotations

import pytest

from flexalign.arrays.device import (
    CPU,
    PROCESS_VARIABLE,
    Hardware,
    find_hardware,
    gpu_number,
    gpu_numbers,
    resolve,
)
from flexalign.errors import DeviceError, ParameterError

TWO_GPUS = Hardware((12, 4), 2, 12)

UNUSABLE = [
    (Hardware(), "no NVIDIA driver", "install one"),
    (Hardware((11, 8), 1), "CUDA 12, found one for CUDA 11.8", "update it"),
    (Hardware((12, 4), 1), "CuPy and numba-cuda", "flexalign[cuda12]"),
    (Hardware((13, 0), 1), "CuPy and numba-cuda", "flexalign[cuda13]"),
    (Hardware((14, 0), 1), "CuPy and numba-cuda", "flexalign[cuda13]"),
    (Hardware((12, 4), 1, 13), "CUDA 13, found one for CUDA 12.4", "flexalign[cuda12]"),
    (Hardware((12, 4), 0, 12), "no GPU", "CUDA_VISIBLE_DEVICES"),
]


@pytest.mark.parametrize(("hardware", "found", "advice"), UNUSABLE)
def test_a_gpu_that_cannot_be_used_is_refused_with_what_to_do(hardware, found, advice):
    with pytest.raises(DeviceError) as error:
        resolve("cuda", hardware=hardware)

    assert found in str(error.value)
    assert advice in str(error.value)
    assert "`device` cpu" in str(error.value)


@pytest.mark.parametrize(("hardware", "found", "advice"), UNUSABLE)
def test_auto_falls_back_to_the_cpu_and_says_why(hardware, found, advice):
    device = resolve("auto", hardware=hardware)

    assert not device.is_gpu
    assert found in device.note


@pytest.mark.parametrize(("word", "number"), [("auto", 0), ("cuda", 0), ("cuda:1", 1)])
def test_a_gpu_is_named_by_its_number(word, number):
    assert gpu_number(word) == number


def test_of_several_gpus_each_process_takes_its_own(monkeypatch):
    assert gpu_number("cuda:1,3") == 1

    def of_process(number):
        monkeypatch.setenv(PROCESS_VARIABLE, str(number))
        return gpu_number("cuda:1,3")

    assert [of_process(n) for n in range(4)] == [1, 3, 1, 3]


def test_a_gpu_that_does_not_compute_is_not_used():
    """No machine has this one, though the driver is said to know it."""
    with pytest.raises(DeviceError, match=r"expected cuda:98 to compute, found .*: install"):
        resolve("cuda:98", hardware=Hardware((12, 4), 99, 12))


def test_a_gpu_that_is_not_there_is_refused():
    with pytest.raises(DeviceError, match="from 0 to 1, found 2"):
        resolve("cuda:2", hardware=TWO_GPUS)


def test_the_cpu_asks_nobody():
    assert resolve("cpu", hardware=TWO_GPUS) is CPU


def test_the_simulator_is_one_gpu(monkeypatch):
    monkeypatch.setenv("NUMBA_ENABLE_CUDASIM", "1")

    assert resolve("cuda").is_simulated
    with pytest.raises(DeviceError, match="from 0 to 0"):
        resolve("cuda:1")


def test_hardware_is_counted_by_the_driver(monkeypatch):
    """Whatever this machine has: without a driver there is no GPU."""
    monkeypatch.delenv("NUMBA_ENABLE_CUDASIM", raising=False)

    found = find_hardware()

    assert not found.is_simulated
    assert found.driver_cuda is not None or found.gpu_count == 0


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("0", (0,)), ("0 1", (0, 1)), ("0,1", (0, 1)), ("0-3", (0, 1, 2, 3)), ("1, 4-5", (1, 4, 5))],
)
def test_gpus_are_listed_as_scipion_lists_them(text, numbers):
    assert gpu_numbers(text) == numbers


@pytest.mark.parametrize("text", ["", "a", "-1", "3-1", "0 0", "0-2 1", "1.5"])
def test_what_is_no_list_of_gpus_is_refused(text):
    with pytest.raises(ParameterError, match="found"):
        gpu_numbers(text)
