"""The CUDA kernels, on a machine that need have no GPU."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_every_launcher_gives_the_numbers_of_the_cpu_in_the_simulator():
    """In a process of its own: the simulator has to be there before numba is imported."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/simulated_gpu"],
        cwd=ROOT, env={**os.environ, "NUMBA_ENABLE_CUDASIM": "1"}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) > 20
    assert "skipped" not in done.stdout


@pytest.mark.skipif(
    find_spec("numba_cuda") is None, reason="needs numba-cuda[cu12] or [cu13], but no GPU"
)
def test_every_kernel_compiles_for_a_gpu_in_single_precision(monkeypatch):
    from numba import boolean, complex64, cuda, float32, float64, int16, int64, uint8

    from flexalign.arrays.aligned_sum import LATTICE_STEP_PX
    from flexalign.arrays.gpu import kernels as launchers

    # Device functions ask for the GPU that they are compiled for; any will do.
    ampere = SimpleNamespace(compute_capability=(8, 0))
    monkeypatch.setattr("numba.cuda.dispatcher.get_current_device", lambda: ampere)
    pixels, stack = float32[:, ::1], float32[:, :, ::1]
    spectrum, phases = complex64[:, ::1], complex64[:, :, ::1]
    index, mask = int64[::1], boolean[::1]
    signatures = [
        ("_correct", (uint8[:, ::1], pixels, pixels, int64, int64, pixels)),
        ("_correct", (int16[:, ::1], pixels, pixels, int64, int64, pixels)),
        ("_downsample_down", (pixels, index, pixels, pixels)),
        ("_downsample_across", (pixels, index, pixels, pixels)),
        ("_prefilter_x", (pixels, pixels)),
        ("_prefilter_y", (pixels, pixels)),
        ("sample", (pixels, stack, pixels)),
        ("_add_weighted", (spectrum, spectrum, pixels, float32)),
        ("_sum_moved", (stack, phases, phases, index, index, mask, stack)),
        ("_ring_power", (stack, index, index, float64[:, ::1])),
        ("_gradient", (stack, phases, phases, index, index, stack, float32[:, :, :, ::1])),
    ]
    kernels = {name: item for name, item in vars(launchers).items() if hasattr(item, "py_func")}
    kernels["sample"] = launchers._sampler(LATTICE_STEP_PX)
    device_functions = {"_filtered", "_reflected", "_cubic_weights", "_coefficient"}
    assert kernels.keys() - device_functions - {"_between"} == {name for name, _ in signatures}

    for name, signature in signatures:
        kernel = kernels[name].py_func
        text, _ = cuda.compile(kernel, signature, device=False, abi="numba", cc=(8, 0))
        doubles = re.findall(r"(?:add|mul|fma|sub|div)\.\S*f64", text)
        assert not doubles or name == "_ring_power", (name, doubles)
        assert ".local" not in text, name
