"""Import and alignment without what only Linux has, as on macOS, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import textwrap

# Run before anything else is imported: what macOS lacks is removed.
WITHOUT_LINUX = """
import builtins, errno, os, pathlib
for module, name in [
    (os, "sched_getaffinity"), (os, "sched_setaffinity"), (os, "posix_fadvise"),
    (os, "posix_fallocate"), (os, "copy_file_range"), (os, "memfd_create"), (os, "getrandom"),
    (os, "eventfd"), (os, "splice"), (os, "O_DIRECT"), (os, "O_TMPFILE"), (os, "O_PATH"),
    (errno, "EREMOTEIO"), (errno, "ENOMEDIUM"), (errno, "ERESTART"),
]:
    if hasattr(module, name):
        delattr(module, name)

def refuse(path):
    if isinstance(path, (str, os.PathLike)) and os.fspath(path).startswith(("/proc", "/sys")):
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(path))

def guarded(function):
    def call(path, *args, **options):
        refuse(path)
        return function(path, *args, **options)
    return call

import io
builtins.open = io.open = guarded(io.open)
os.open, os.stat, os.listdir = guarded(os.open), guarded(os.stat), guarded(os.listdir)
os.scandir = guarded(os.scandir)
"""

ALIGN = """
import pathlib, sys
import flexalign
from flexalign import AlignParams, align_movie, align_movies, simulate_movie
from flexalign.batch import clusters, dask_executor, local_processes, resources, watching, worker
from flexalign.cli import app
folder = pathlib.Path(sys.argv[1])
movie = simulate_movie(shape_px=(64, 64), frame_count=4, particles=0, threads=1)
params = AlignParams(pixel_size_A=1.5, local=False, threads=1)
align_movie(movie.counts, params, gain=movie.gain).save(folder / "one", "m")
movie.save(folder, "m")
run = align_movies([folder / "m.mrc"], folder / "many", params, jobs=0)
assert not pathlib.Path("/proc/self/status").exists()
print(len(run.record_paths), len(run.failures), resources.free_memory_bytes() > 0)
"""


def test_a_movie_is_aligned_without_anything_that_only_linux_has(tmp_path):
    code = textwrap.dedent(WITHOUT_LINUX + ALIGN)
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout == "1 0 True\n"
    assert (tmp_path / "one" / "m_record.json").exists()
    assert (tmp_path / "many" / "m_record.json").exists()
