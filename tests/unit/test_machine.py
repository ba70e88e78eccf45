"""Cores and memory where Linux's interfaces are absent, as on macOS."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import numpy as np
import pytest

from flexalign import AlignParams, align_movie, machine, simulate_movie
from flexalign.batch import resources


@pytest.fixture
def without_linux(monkeypatch, tmp_path):
    """A system without `sched_getaffinity` and ``/proc``."""
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(machine, "STATUS", tmp_path / "none")
    for name in ("MEMINFO", "CGROUP", "CGROUP_ROOT"):
        monkeypatch.setattr(resources, name, tmp_path / "none")


def test_cores_and_memory_are_those_of_the_machine(without_linux):
    assert machine.core_count() == os.cpu_count()
    assert AlignParams().thread_count == os.cpu_count()
    physical_bytes = machine.physical_memory_bytes()
    assert resources.free_memory_bytes() == physical_bytes // 2
    assert 0 < machine.peak_memory_bytes() < physical_bytes


def test_the_peak_of_macos_is_in_bytes(without_linux, monkeypatch):
    on_linux = machine.peak_memory_bytes()
    monkeypatch.setattr(sys, "platform", "darwin")

    assert machine.peak_memory_bytes() * 1024 == pytest.approx(on_linux, rel=0.5)


def test_a_system_that_tells_nothing_has_no_limit(without_linux, monkeypatch):
    def unknown(name: str) -> int:
        raise ValueError(name)

    monkeypatch.setattr(os, "sysconf", unknown)

    assert machine.physical_memory_bytes() is None
    assert resources.free_memory_bytes() > 1e14


def test_a_movie_is_aligned_all_the_same(without_linux, tmp_path):
    movie = simulate_movie(shape_px=(64, 64), frame_count=4, particles=0, threads=1)
    movie.save(tmp_path, "m", "mrc")

    result = align_movie(tmp_path / "m.mrc", AlignParams(pixel_size_A=1.5, local=False))

    assert np.isfinite(result.sums.plain).all()
    assert result.record.peak_memory_bytes > 0


@pytest.mark.skipif(not machine.STAT.exists(), reason="needs the process table of Linux")
def test_the_age_of_a_process_is_within_the_time_since_it_was_started():
    code = "from flexalign.machine import process_age_s as age; print(age(), age())"
    started_s = time.monotonic()

    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    first_s, second_s = map(float, said.stdout.split())
    ticks_s = 2 / os.sysconf("SC_CLK_TCK")
    assert 0 < first_s <= second_s <= time.monotonic() - started_s + ticks_s
