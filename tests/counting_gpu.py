"""A simulated GPU that counts transfers, launches and waits, and rejects arrays of the host."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from flexalign.arrays import fourier
from flexalign.arrays.device import Device
from flexalign.arrays.gpu import kernels


@dataclass
class Counts:
    """What a GPU was asked to do.

    Attributes
    ----------
    kernels : launches of our own kernels
    operations : array operations of CuPy, each of which launches one kernel or a few
    transforms : Fourier transforms of an image, or of several together
    bytes_up, bytes_down : copied to the device and from it
    waits : times that the host waits for the device
    """

    kernels: int = 0
    operations: int = 0
    transforms: int = 0
    bytes_up: int = 0
    bytes_down: int = 0
    waits: int = 0


class DeviceArray(np.ndarray):
    """An array that counts its operations and, as CuPy's, takes no array of the host."""

    counts: Counts

    def __array_finalize__(self, other: Any) -> None:
        self.counts = getattr(other, "counts", None)

    def __array_ufunc__(self, ufunc, method, *inputs, out=(), **options):
        if out:
            options["out"] = tuple(_plain(array) for array in out)
        found = self._operate(getattr(ufunc, method), inputs, options)
        return out[0] if out else found

    def __array_function__(self, function, types, args, kwargs):
        return self._operate(function, args, kwargs)

    def _operate(self, function: Callable[..., Any], args: Any, options: Any) -> Any:
        for array in args:
            if type(array) is np.ndarray and array.ndim:
                raise TypeError("expected arrays on the device, found one of the host")
        self.counts.operations += 1
        return on_device(function(*map(_plain, args), **options), self.counts)

    def astype(self, *args: Any, **options: Any) -> Any:
        return self._operate(np.ndarray.astype, (self, *args), options)

    def copy(self) -> Any:
        return self._operate(np.ndarray.copy, (self,), {})

    def __getitem__(self, key: Any) -> Any:
        self.counts.operations += isinstance(key, np.ndarray)  # others are views
        return super().__getitem__(key)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.counts.operations += 1
        super().__setitem__(key, value)


def _plain(array: Any) -> Any:
    if isinstance(array, list | tuple):
        return type(array)(map(_plain, array))
    return array.view(np.ndarray) if isinstance(array, DeviceArray) else array


def on_device(array: Any, counts: Counts) -> Any:
    """`array` as one of the device."""
    found = np.asarray(array).view(DeviceArray)
    found.counts = counts
    return found


class _Library:
    """NumPy in the place of CuPy."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts

    def empty(self, *args: Any) -> Any:
        return on_device(np.empty(*args), self._counts)

    def zeros(self, *args: Any) -> Any:
        self._counts.operations += 1
        return on_device(np.zeros(*args), self._counts)

    def arange(self, *args: Any, **options: Any) -> Any:
        self._counts.operations += 1
        return on_device(np.arange(*args, **options), self._counts)

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)


@dataclass(frozen=True)
class CountingDevice(Device):
    """A simulated GPU that counts; `patch` makes the launchers count for it.

    Attributes
    ----------
    free : free memory in bytes; None = unlimited
    """

    counts: Counts = field(default_factory=Counts)
    free: int | None = None

    def free_bytes(self) -> int | None:
        return self.free

    @property
    def xp(self) -> Any:
        return _Library(self.counts)

    def upload(self, array: Any, dtype: Any = None) -> Any:
        copy = np.array(array, dtype)
        self.counts.bytes_up += copy.nbytes
        return on_device(copy, self.counts)

    def holds(self, array: Any) -> bool:
        return isinstance(array, DeviceArray)

    def host(self, array: Any) -> Any:
        if not self.holds(array):
            return np.asarray(array)
        self.counts.waits += 1
        self.counts.bytes_down += array.nbytes
        return np.array(_plain(array))

    def fetch(self, array: Any, out: Any) -> None:
        self.counts.bytes_down += array.nbytes
        out[...] = _plain(array)

    def mark(self) -> Callable[[], object]:
        def wait() -> None:
            self.counts.waits += 1

        return wait

    def finish(self) -> None:
        self.counts.waits += 1

    def patch(self, monkeypatch: Any) -> None:
        """Count launches and transforms; they compute as before."""
        launch = kernels.launch

        def counting_launch(kernel: Any, width: int, height: int, *arguments: Any) -> None:
            self.counts.kernels += 1
            launch(kernel, width, height, *map(_plain, arguments))

        def counting(transform: Callable[..., Any]) -> Callable[..., Any]:
            def counted(images: Any, *args: Any, **options: Any) -> Any:
                if not isinstance(images, DeviceArray):  # part of one that is counted
                    return transform(images, *args, **options)
                self.counts.transforms += 1
                return on_device(transform(_plain(images), *args, **options), self.counts)

            return counted

        monkeypatch.setattr(kernels, "launch", counting_launch)
        for name in ("rfft2", "rfft2_cropped", "irfft2", "irfft2_near"):
            monkeypatch.setattr(fourier, name, counting(getattr(fourier, name)))
