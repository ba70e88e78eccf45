"""Every CUDA kernel in numba's simulator, on tiny arrays; no GPU is needed.

The simulator replaces `numba.cuda` when it is imported, so it has a process of its own:
``NUMBA_ENABLE_CUDASIM=1 pytest tests/simulated_gpu``, which tests/unit/test_gpu_kernels.py starts.
"""

from __future__ import annotations

import os

import pytest
from counting_gpu import CountingDevice

from flexalign.arrays.device import Device, resolve

if os.environ.get("NUMBA_ENABLE_CUDASIM") != "1":
    collect_ignore_glob = ["test_*.py"]


def pytest_configure(config: pytest.Config) -> None:
    """Unsigned numbers of a hash overflow on purpose; only NumPy, in the simulator, warns."""
    if os.environ.get("NUMBA_ENABLE_CUDASIM") == "1":
        config.addinivalue_line("filterwarnings", "ignore:.*overflow encountered in scalar")


@pytest.fixture
def device() -> Device:
    """The simulated GPU."""
    found = resolve("cuda")
    assert found.is_simulated
    return found


@pytest.fixture
def counting_device(monkeypatch: pytest.MonkeyPatch) -> CountingDevice:
    """The simulated GPU, which counts launches, bytes each way and waits."""
    found = CountingDevice("cuda:0", is_simulated=True)
    found.patch(monkeypatch)
    return found
