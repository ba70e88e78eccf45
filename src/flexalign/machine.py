"""Cores and memory of the machine, also where the system has no Linux interfaces."""

from __future__ import annotations

import os
import resource
import sys
import time
from pathlib import Path

# GPU memory for a batch of images, their transforms and correlations.
GPU_BATCH_BYTES = 2**29
STATUS = Path("/proc/self/status")
STAT = Path("/proc/self/stat")
# Of the words after the name of the program in that file, the time of its start.
_START = 19


def core_count() -> int:
    """Cores that this process may run on; of the machine where the system does not tell."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def physical_memory_bytes() -> int | None:
    """Memory of the machine; None where the system does not tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return None


def peak_memory_bytes() -> int:
    """Peak resident memory of this process so far."""
    try:
        # Unlike `getrusage`, this does not count a large parent process.
        for line in STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def process_age_s() -> float | None:
    """Time since this process began; None where the system does not tell."""
    try:
        words = STAT.read_text().rpartition(")")[2].split()
        started_s = int(words[_START]) / os.sysconf("SC_CLK_TCK")
        return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - started_s)
    except (OSError, AttributeError):
        return None
