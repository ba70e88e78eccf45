"""Which device is chosen, and what is said when it cannot be the one asked for."""

from __future__ import annotations

import pytest

from flexalign.arrays.device import (
    CPU,
    PROCESS_VARIABLE,
    Device,
    Hardware,
    find_hardware,
    gpu_number,
    gpu_numbers,
    gpus_named,
    resolve,
)
from flexalign.errors import DeviceError, FailedGpuError, ParameterError

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


def test_several_gpus_are_for_a_run_and_not_for_one_movie():
    assert gpus_named("cuda:1,3") == (1, 3)
    with pytest.raises(ParameterError, match="`device` cuda:1,3: expected one GPU for one movie"):
        resolve("cuda:1,3", hardware=Hardware((12, 4), 4, 12))


@pytest.mark.parametrize("word", ["auto", "cuda", "cuda:0-3"])
def test_a_process_uses_the_device_that_its_parent_has_chosen(monkeypatch, word):
    monkeypatch.setenv(PROCESS_VARIABLE, "cuda:1")
    with pytest.raises(FailedGpuError, match=r"`device` cuda:1: .* found 1"):
        resolve(word, hardware=Hardware((12, 4), 1, 12))

    monkeypatch.setenv(PROCESS_VARIABLE, "cpu that GPU is lost")
    assert resolve(word, hardware=TWO_GPUS) == Device("cpu", note="that GPU is lost")


def test_auto_takes_the_cpu_where_it_is_faster_and_says_so():
    device = resolve("auto", hardware=TWO_GPUS, cpu_is_faster="it takes 1 s")

    assert device == Device("cpu", note="it takes 1 s")
    assert device.announcement == "computing on cpu: it takes 1 s"
    with pytest.raises(DeviceError):
        resolve("cuda:2", hardware=TWO_GPUS, cpu_is_faster="it takes 1 s")


@pytest.mark.parametrize("name", ["CUDARuntimeError", "CudaAPIError"])
def test_an_error_of_cuda_is_that_of_its_gpu_and_no_defect(name):
    """The classes of CuPy and numba-cuda cannot be made without their libraries."""
    illegal = type(name, (Exception,), {})("cudaErrorIllegalAddress")
    device = Device("cuda:0", is_simulated=True)

    words = r"cuda:0: .* cudaErrorIllegalAddress: see nvidia-smi"
    with pytest.raises(FailedGpuError, match=words), device.active():
        raise illegal
    with pytest.raises(ZeroDivisionError), device.active():
        raise ZeroDivisionError


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
