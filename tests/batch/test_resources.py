"""What the machine has, and files that are in memory before they are needed."""

from __future__ import annotations

import os
import shutil
import subprocess
import time

import pytest

from flexalign.batch.resources import ReadAhead, free_memory_bytes
from flexalign.machine import core_count


def test_memory_and_cores_are_those_of_the_system():
    lines = subprocess.run(["free", "-b"], capture_output=True, text=True, check=True).stdout
    total = int(lines.splitlines()[1].split()[1])

    assert 0 < free_memory_bytes() <= total
    assert core_count() == len(os.sched_getaffinity(0))


@pytest.mark.skipif(not shutil.which("fincore"), reason="fincore, of util-linux, is not installed")
def test_a_file_is_in_memory_after_it_was_read_ahead(tmp_path):
    path = tmp_path / "movie.mrc"
    path.write_bytes(os.urandom(32 << 20))
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def cached_bytes() -> int:
        words = ["fincore", "--bytes", "--noheadings", "--output", "RES", str(path)]
        return int(subprocess.run(words, capture_output=True, check=True).stdout)

    if cached_bytes() > 1 << 20:
        pytest.skip("the file system keeps all of its files in memory")
    ahead, until = ReadAhead(), time.monotonic() + 30
    ahead.request(str(tmp_path / "gone.mrc"))
    ahead.request(str(path))
    while cached_bytes() < 32 << 20:
        assert time.monotonic() < until
        time.sleep(0.05)
    ahead.close()
