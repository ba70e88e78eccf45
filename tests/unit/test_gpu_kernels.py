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
# Sums over many numbers, and places between pixels, as on the CPU.
IN_DOUBLE_PRECISION = {"_sum_rings", "_row_tops", "_row_peaks", "_highest_of_rows"}


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
    from numba import boolean, complex64, cuda, float32, float64
    from numba import int16, int32, int64, uint8, uint16, uint32, uint64  # isort: skip

    from flexalign.arrays.aligned_sum import LATTICE_STEP_PX
    from flexalign.arrays.gpu import event_kernels, pair_kernels, spectra_kernels
    from flexalign.arrays.gpu import kernels as launchers

    # Device functions ask for the GPU that they are compiled for; any will do.
    ampere = SimpleNamespace(compute_capability=(8, 0))
    monkeypatch.setattr("numba.cuda.dispatcher.get_current_device", lambda: ampere)
    pixels, stack, sums = float32[:, ::1], float32[:, :, ::1], float64[:, ::1]
    halves, packed = uint16[:, :, ::1], uint16[:, :, ::1]
    spectrum, spectra, tiled = complex64[:, ::1], complex64[:, :, ::1], complex64[:, :, :, ::1]
    index, table, mask, radius = int64[::1], int64[:, ::1], boolean[::1], float64[::1]
    rings, phases = int32[::1], (spectra, spectra)
    codes = (uint8[::1], int64[:, ::1], int64, int64)
    chunks, begin = (int32[:, :, ::1],) * 2, int64[:, :, ::1]
    signatures = [
        ("_measure_chunks", (*codes, *chunks)),
        ("_join_chunks", (*codes, *chunks, int64, int64, begin, rings)),
        ("_add_events", (*codes, begin, rings, *[int64] * 4, uint32[::1])),
        ("_correct", (uint8[:, ::1], pixels, pixels, int64, int64, pixels)),
        ("_correct", (int16[:, ::1], pixels, pixels, int64, int64, pixels)),
        ("_replace_bad", (float32[::1], index, table, uint64)),
        ("_downsample_down", (pixels, index, pixels, pixels)),
        ("_downsample_across", (pixels, index, pixels, pixels)),
        ("_prefilter_x", (pixels, pixels)),
        ("_prefilter_y", (pixels, pixels)),
        ("sample", (pixels, stack, pixels)),
        ("_add_weighted", (spectrum, spectrum, pixels, float32)),
        ("_store", (pixels, float32, float32, int64, int64, uint16[:, ::1])),
        ("_store", (pixels, float32, float32, int64, int64, pixels)),
        ("_add_scaled", (pixels, float32[::1], int64, halves)),
        ("_add_scaled", (pixels, float32[::1], int64, stack)),
        ("_pack", (spectra, int64, table, index, rings, pixels, packed)),
        ("_time_power", (packed, index, index, pixels)),
        ("_sum_moved", (packed, *phases, index, index, mask, stack)),
        ("_sum_rings", (pixels, index, index, sums)),
        ("_gradient", (packed, *phases, index, index, stack, float32[:, :, :, ::1])),
        ("_cut", (halves, int64, index, table, stack)),
        ("_cut", (stack, int64, index, table, stack)),
        ("_sum_groups", (halves, int64, index, stack)),
        ("_sum_groups", (stack, int64, index, stack)),
        ("_sum_turned", (tiled, spectrum, spectrum, index, tiled)),
        ("_sum_power", (spectra, pixels)),
        ("_pair_products", (spectra, index, index, int64, spectra, stack)),
        ("_row_tops", (stack, radius, pixels)),
        ("_row_peaks", (stack, radius, pixels, float32[::1], float64[:, :, ::1])),
        ("_highest_of_rows", (float64[:, :, ::1], int64, sums)),
    ]
    kernels = {"sample": launchers._sampler(LATTICE_STEP_PX)}
    for module in (launchers, event_kernels, pair_kernels, spectra_kernels):
        kernels |= {name: item for name, item in vars(module).items() if hasattr(item, "py_func")}
    is_called = {name for name in kernels if kernels[name].targetoptions.get("device")}
    assert kernels.keys() - is_called == {name for name, _ in signatures}

    for name, signature in signatures:
        kernel = kernels[name].py_func
        text, _ = cuda.compile(kernel, signature, device=False, abi="numba", cc=(8, 0))
        doubles = re.findall(r"(?:add|mul|fma|sub|div)\.\S*f64", text)
        assert not doubles or name in IN_DOUBLE_PRECISION, (name, doubles)
        assert ".local" not in text or name == "_row_peaks", name
