"""The device of arrays: the CPU, or one GPU.  The only module that detects hardware.

A `Device` is passed as an argument.  CuPy and numba-cuda are imported only when a GPU is used.  In
numba's CUDA simulator (``NUMBA_ENABLE_CUDASIM=1``) there is one GPU with arrays of
NumPy: slow, but every kernel can be debugged.
"""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt

from flexalign.errors import DeviceError, FailedGpuError, ParameterError

_DRIVER = "libcuda.so.1"
# Versions of CUDA for which the package has extras.
_EXTRAS = {12: "cuda12", 13: "cuda13"}
_ON_CPU = "or choose `device` cpu"
# Environment variable of a worker process, set by its parent: the device that it has to use in the
# place of "auto" or of several GPUs. "cpu" may be followed by a space and the reason.
PROCESS_VARIABLE = "FLEXALIGN_DEVICE"


@dataclass(frozen=True, slots=True)
class Hardware:
    """The GPUs of this machine, their driver and libraries.

    Attributes
    ----------
    driver_cuda : newest CUDA (major, minor) that the NVIDIA driver can run; None = no driver
    gpu_count : number of GPUs that this process may use
    library_cuda : major version of CUDA that CuPy was built for; None = the extra is not installed
    is_simulated : whether the GPU is numba's simulator
    """

    driver_cuda: tuple[int, int] | None = None
    gpu_count: int = 0
    library_cuda: int | None = None
    is_simulated: bool = False


@dataclass(frozen=True, slots=True)
class Device:
    """The CPU or one GPU.

    Attributes
    ----------
    name : "cpu", or "cuda:" and the number of the GPU, from 0
    note : why "auto" selected no GPU, "" otherwise
    is_simulated : whether it is numba's simulator
    """

    name: str
    note: str = ""
    is_simulated: bool = False

    @property
    def is_gpu(self) -> bool:
        """Whether it is a GPU."""
        return self.name != "cpu"

    @property
    def xp(self) -> Any:
        """The library of its arrays: numpy or cupy."""
        if self._has_own_memory:
            import cupy

            return cupy
        return np

    @property
    def _has_own_memory(self) -> bool:
        return self.is_gpu and not self.is_simulated

    def describe(self) -> str:
        """The name, with the model of a GPU."""
        if not self._has_own_memory:
            return self.name + (" (simulated)" if self.is_simulated else "")
        facts = self.xp.cuda.runtime.getDeviceProperties(int(self.name.partition(":")[2]))
        return f"{self.name} ({facts['name'].decode()})"

    @property
    def announcement(self) -> str:
        """What is said when "auto" has chosen it."""
        return f"computing on {self.describe()}{f': {self.note}' if self.note else ''}"

    def upload(self, array: npt.NDArray[Any], dtype: Any = None) -> Any:
        """A copy of a host `array` on the device."""
        return self.xp.array(array, dtype)

    def host(self, array: Any) -> npt.NDArray[Any]:
        """`array` on the host, after all queued work is done."""
        found: npt.NDArray[Any] = array.get() if hasattr(array, "get") else np.asarray(array)
        return found

    def at(self, array: Any, *index: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The elements of `array` at an `index` from the host, on the host."""
        return self.host(array[tuple(map(self.upload, index)) if self.is_gpu else index])

    def holds(self, array: Any) -> bool:
        """Whether `array` is in the memory of a GPU."""
        return self._has_own_memory and isinstance(array, self.xp.ndarray)

    def fetch(self, array: Any, out: npt.NDArray[Any]) -> None:
        """Copy `array` to `out`, from `empty_on_host`; it is there after `mark` or `finish`."""
        if self._has_own_memory:
            array.get(out=out, blocking=False)
        else:
            out[...] = array

    def empty_on_host(
        self, shape: tuple[int, ...], dtype: npt.DTypeLike = np.float32
    ) -> npt.NDArray[Any]:
        """An array on the host; pinned for a GPU, so that copies are asynchronous."""
        if self._has_own_memory:
            from cupyx import empty_pinned

            buffer: npt.NDArray[Any] = empty_pinned(shape, dtype)
            return buffer
        return np.empty(shape, dtype)

    def mark(self) -> Callable[[], object]:
        """A function that waits until all work queued before this call is done."""
        if not self._has_own_memory:
            return lambda: None
        event = self.xp.cuda.Event(disable_timing=True)
        event.record()
        wait: Callable[[], object] = event.synchronize
        return wait

    def finish(self) -> None:
        """Wait until all queued work is done."""
        if self._has_own_memory:
            self.xp.cuda.get_current_stream().synchronize()

    def free_bytes(self) -> int | None:
        """Free memory of a GPU for arrays; None on the CPU."""
        if not self._has_own_memory:
            return None
        free, _ = self.xp.cuda.runtime.memGetInfo()
        return int(free + self.xp.get_default_memory_pool().free_bytes())

    @contextmanager
    def active(self) -> Iterator[None]:
        """In a ``with`` block: compute here.

        Raises
        ------
        DeviceError
            When the GPU has no memory left.
        FailedGpuError
            After any other error of CUDA: the GPU is of no use to this process any more.
        """
        with _reported_errors(self.name):
            if not self._has_own_memory:
                yield
                return
            # numba's launches go to the device that CuPy has made the current one.
            with self.xp.cuda.Device(int(self.name.partition(":")[2])):
                self.xp.cuda.runtime.free(0)
                try:
                    yield
                except self.xp.cuda.memory.OutOfMemoryError as error:
                    # The traceback would keep arrays alive whose memory the next movie needs.
                    message = str(error.with_traceback(None))
                    self.xp.cuda.runtime.deviceSynchronize()
                    raise DeviceError(
                        f"{self.name}: expected more memory than it has free ({message}): end "
                        f"other programs on it, choose a larger `binning`, {_ON_CPU}"
                    ) from None


CPU = Device("cpu")
# Classes of the errors of CUDA in CuPy and numba-cuda, of which no module is loaded for this.
_CUDA_ERRORS = ("CUDARuntimeError", "CUDADriverError", "CuFFTError", "CudaAPIError")


@contextmanager
def _reported_errors(name: str) -> Iterator[None]:
    """Raise `FailedGpuError` for errors of CUDA, such as an illegal address or a lost device."""
    try:
        yield
    except Exception as error:
        if not any(kind.__name__ in _CUDA_ERRORS for kind in type(error).__mro__):
            raise
        raise FailedGpuError(
            f"{name}: expected it to compute, found {type(error).__name__}: {error}: see "
            f"nvidia-smi and the system log, {_ON_CPU}"
        ) from error


def find_hardware() -> Hardware:
    """The hardware that the driver reports; no GPU library is loaded."""
    if os.environ.get("NUMBA_ENABLE_CUDASIM") == "1":
        return Hardware((max(_EXTRAS), 0), 1, max(_EXTRAS), is_simulated=True)
    try:
        driver = ctypes.CDLL(_DRIVER)
    except OSError:
        return Hardware(library_cuda=_library_cuda())
    number, count = ctypes.c_int(0), ctypes.c_int(0)
    driver.cuDriverGetVersion(ctypes.byref(number))
    if driver.cuInit(0) == 0:
        driver.cuDeviceGetCount(ctypes.byref(count))
    kernels = (number.value // 1000, number.value % 1000 // 10)
    return Hardware(kernels, count.value, _library_cuda())


def _library_cuda() -> int | None:
    """Major version of CUDA that the CuPy installed is for; None without CuPy or numba-cuda."""
    if find_spec("cupy") is None or find_spec("numba_cuda") is None:
        return None
    for major in sorted(_EXTRAS, reverse=True):
        try:
            version(f"cupy-cuda{major}x")
        except PackageNotFoundError:
            continue
        return major
    return min(_EXTRAS)  # of an incompatible build


def resolve(
    word: str, needed_bytes: int = 0, hardware: Hardware | None = None, *, cpu_is_faster: str = ""
) -> Device:
    """The device that "auto", "cpu", "cuda" (the first GPU) or "cuda:1" stands for.

    A GPU is tried on a few pixels, once in a process, before it is used. In a worker process its
    parent has chosen the device (`PROCESS_VARIABLE`) for "auto" and of several GPUs.

    Parameters
    ----------
    needed_bytes : memory that a GPU has to have free
    hardware : default: what `find_hardware` finds
    cpu_is_faster : for "auto", why a GPU is not used that could be; "" = it is

    Returns
    -------
    Device
        For "auto" a GPU if it can be used, else the CPU with a note that says why not.

    Raises
    ------
    DeviceError
        If the requested GPU cannot be used; the message says what to install or change.
    FailedGpuError
        If that is the GPU which the parent process has chosen.
    ParameterError
        If the word names several GPUs, or a list of GPUs cannot be understood.

    Examples
    --------
    >>> resolve("auto", hardware=Hardware()).note
    'found no NVIDIA driver (libcuda.so.1)'
    """
    if word == "cpu":
        return CPU
    chosen, _, reason = os.environ.get(PROCESS_VARIABLE, "").partition(" ")
    if chosen == "cpu":
        return Device("cpu", note=reason)
    hardware = hardware or find_hardware()
    number = gpu_number(chosen or word)
    gpu = Device(f"cuda:{number}", is_simulated=hardware.is_simulated)
    problem, advice = _problem_with(hardware, number)
    if not problem and word == "auto" and cpu_is_faster and not chosen:
        return Device("cpu", note=cpu_is_faster)
    if not problem and not hardware.is_simulated:
        problem, advice = _test_run(gpu)
    if problem and chosen:  # the parent process chooses another device
        raise FailedGpuError(f"`device` {chosen}: {problem}: {advice}, {_ON_CPU}")
    if not problem and needed_bytes:
        problem, advice = _memory_problem(gpu, needed_bytes)
    if not problem:
        return gpu
    if word == "auto":
        return Device("cpu", note=problem)
    raise DeviceError(f"`device` {word}: {problem}: {advice}, {_ON_CPU}")


def check_gpu(word: str) -> None:
    """Raise the error of `resolve` if `word` is not "auto" and cannot be used."""
    if word != "auto":
        resolve(word)


def _problem_with(hardware: Hardware, number: int) -> tuple[str, str]:
    """Why GPU `number` cannot be used and what to do about it; both "" when it can."""
    if hardware.driver_cuda is None:
        return f"found no NVIDIA driver ({_DRIVER})", "install one"
    major, minor = hardware.driver_cuda
    if major < min(_EXTRAS):
        needed = min(_EXTRAS)
    elif hardware.library_cuda is None:
        extra = _EXTRAS[min(major, max(_EXTRAS))]
        return "expected CuPy and numba-cuda, found not both", f"pip install 'flexalign[{extra}]'"
    else:
        needed = hardware.library_cuda
    if major < needed:
        older = _EXTRAS.get(major)
        instead = f" or pip install 'flexalign[{older}]' instead" if older else ""
        return (
            f"expected an NVIDIA driver for CUDA {needed}, found one for CUDA {major}.{minor}",
            f"update it{instead}",
        )
    if hardware.gpu_count == 0:
        return "found a driver but no GPU", "check nvidia-smi and CUDA_VISIBLE_DEVICES"
    if number >= hardware.gpu_count:
        return (
            f"expected a GPU from 0 to {hardware.gpu_count - 1}, found {number}",
            "choose one of these",
        )
    return "", ""


def _memory_problem(gpu: Device, needed_bytes: int) -> tuple[str, str]:
    """As `_problem_with`, for the memory of a GPU that is there."""
    with gpu.active():
        free = gpu.free_bytes()
    if free is None or free >= needed_bytes:
        return "", ""
    return (
        f"expected {needed_bytes / 1e9:.1f} GB of free memory on {gpu.name}, "
        f"found {free / 1e9:.1f} GB",
        "end other programs on it, choose a larger `binning`",
    )


@cache
def _test_run(gpu: Device) -> tuple[str, str]:
    """As `_problem_with`, once a few pixels have been corrected and transformed on the GPU."""
    pixels = np.arange(32 * 48, dtype=np.uint16).reshape(32, 48)
    try:
        from flexalign.arrays import fourier
        from flexalign.arrays.gpu import kernels

        with gpu.active():
            frame = gpu.xp.empty(pixels.shape, np.float32)
            kernels.correct(gpu.xp.array(pixels), None, None, frame)
            found = gpu.host(fourier.irfft2(fourier.rfft2(frame), pixels.shape))
        if np.abs(found - pixels).max() < 1:
            return "", ""
        what = "wrong numbers"
    except Exception as error:  # incompatible versions raise errors of any type
        what = f"{type(error).__name__}: {error}"
    return (
        f"expected {gpu.name} to compute, found {what}",
        "install versions of CuPy, numba-cuda and numpy that fit each other, as the extras do",
    )


def gpu_number(word: str) -> int:
    """Number of the GPU that "auto", "cuda" or "cuda:1" stands for.

    Raises
    ------
    ParameterError
        If it names several, or a list of GPUs cannot be understood.
    """
    first, *others = gpus_named(word)
    if others:
        raise ParameterError(
            f"`device` {word}: expected one GPU for one movie, found {len(others) + 1}; several "
            "share the movies of a run, with a process for each"
        )
    return first


def gpus_named(word: str) -> tuple[int, ...]:
    """Numbers of the GPUs that "auto", "cuda" (both the first), "cuda:1" or "cuda:0-3" stands for.

    Raises
    ------
    ParameterError
        If a list of GPUs cannot be understood.
    """
    return gpu_numbers(word.partition(":")[2] or "0")


def gpu_numbers(text: str) -> tuple[int, ...]:
    """The GPUs in a list in Scipion's notation.

    Raises
    ------
    ParameterError
        If it is no such list, or names a GPU twice.

    Examples
    --------
    >>> gpu_numbers("0 1"), gpu_numbers("0,2"), gpu_numbers("0-3")
    ((0, 1), (0, 2), (0, 1, 2, 3))
    """
    numbers: list[int] = []
    for part in re.split(r"[\s,]+", text.strip()):
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if last < first:
            raise ParameterError(f"expected GPUs such as '0 1', '0,1' or '0-3', found '{text}'")
        numbers += range(first, last + 1)
    if len(set(numbers)) != len(numbers):
        raise ParameterError(f"expected each GPU once, found '{text}'")
    return tuple(numbers)
