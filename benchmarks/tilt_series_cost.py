"""Time and memory of the command `tilt-series`, by number and size of the tilts.

One series is simulated, and its first tilts in order of time are a shorter series each.  The memory
is that of all processes of the command at once, sampled; pages that they share count once.  The
rows are Markdown::

    python benchmarks/tilt_series_cost.py --size 2048 2048 --tilts 11 41
    python benchmarks/tilt_series_cost.py --size 4092 5760 --tilts 1 --jobs 1
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path

from store import CACHE

from flexalign.io.mdoc import read_mdoc, write_mdoc
from flexalign.simulate import SimulationSettings, TiltSeriesSettings
from flexalign.simulate.tilt_files import save_tilt_series

_SAMPLED_EVERY_S = 0.1
_HEAD = (
    "| tilts | size, px | shared prior | jobs | s | core s | core s for each tilt | "
    "GB, all processes | GB, main process |\n"
    "| --: | --- | --- | --: | --: | --: | --: | --: | --: |"
)


@dataclass(slots=True)
class Cost:
    """Time and memory (bytes) of a command."""

    seconds: float = 0.0
    cpu_s: float = 0.0
    all_bytes: int = 0
    main_bytes: int = 0


def simulated(settings: TiltSeriesSettings, cache: Path) -> Path:
    """The mdoc of a series in the cache; missing movies are simulated."""
    height, width = settings.movie.shape_px
    folder = cache / f"cost_{width}x{height}_{settings.tilt_count}_{settings.movie.frame_count}"
    if not (folder / "ts.mdoc").exists():
        save_tilt_series(settings, folder, "ts", "tiff")
    return folder / "ts.mdoc"


def first_tilts(mdoc: Path, count: int) -> Path:
    """An mdoc with the first tilts of a series."""
    read = read_mdoc(mdoc)
    path = mdoc.with_name(f"ts_{count}.mdoc")
    write_mdoc(path, replace(read, sections=read.sections[:count]))
    return path


def measured(command: list[str]) -> Cost:
    """Run a command and sample the memory of all its processes."""
    cost, before, started = Cost(), os.times(), time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        watcher = threading.Thread(target=_watch, args=(process, cost))
        watcher.start()
        code = process.wait()
        watcher.join()
    if code:
        raise SystemExit(f"{' '.join(command)}: ended with code {code}")
    after = os.times()
    cost.seconds = time.perf_counter() - started
    cost.cpu_s = after[2] + after[3] - before[2] - before[3]
    return cost


def _watch(process: subprocess.Popen[bytes], cost: Cost) -> None:
    """Record the peaks until the process ends."""
    while process.poll() is None:
        sizes = {pid: _shared_out_bytes(pid) for pid in _tree(process.pid)}
        cost.all_bytes = max(cost.all_bytes, sum(sizes.values()))
        cost.main_bytes = max(cost.main_bytes, sizes.get(process.pid, 0))
        time.sleep(_SAMPLED_EVERY_S)


def _tree(pid: int) -> list[int]:
    """A process and its descendants."""
    found = [pid]
    for parent in found:
        for tasks in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                found += map(int, tasks.read_text().split())
            except OSError:
                continue
    return found


def _shared_out_bytes(pid: int) -> int:
    """Proportional set size of a process."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


def main() -> None:
    """Simulate, run, and print a row for each number of tilts, with the prior and without."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--size", type=int, nargs=2, default=(2048, 2048), metavar=("H", "W"))
    parser.add_argument("--tilts", type=int, nargs="+", default=[11, 41])
    parser.add_argument("--frames", type=int, default=6)
    parser.add_argument("--priors", nargs="+", default=["shared-prior", "no-shared-prior"])
    parser.add_argument("--jobs", type=int, nargs="+", default=[2])
    parser.add_argument("--cache", type=Path, default=CACHE)
    chosen = parser.parse_args()
    movie = SimulationSettings(
        shape_px=tuple(chosen.size), frame_count=chosen.frames, pixel_size_A=1.35, defocus_um=3.0,
        global_motion_px=4.0, local_motion_px=1.0, seed=101,
    )  # fmt: skip
    mdoc = simulated(
        TiltSeriesSettings(movie=movie, tilt_count=max(chosen.tilts), fiducials=True), chosen.cache
    )
    print(f"Load of the machine before: {os.getloadavg()[0]:.1f}.\n\n{_HEAD}", flush=True)
    for count in chosen.tilts:
        path = first_tilts(mdoc, count)
        for prior in (f"--{name}" for name in chosen.priors):
            for jobs in chosen.jobs:
                with tempfile.TemporaryDirectory() as out:
                    cost = measured([
                        sys.executable, "-m", "flexalign", "tilt-series", str(path),
                        "--gain", str(mdoc.with_name("ts_gain.mrc")), "--out", out,
                        "--jobs", str(jobs), "--threads", str(max(1, 2 // jobs)), prior,
                    ])  # fmt: skip
                print(
                    f"| {count} | {movie.shape_px[0]} x {movie.shape_px[1]} | "
                    f"{'no' if 'no' in prior else 'yes'} | {jobs} | {cost.seconds:.0f} | "
                    f"{cost.cpu_s:.0f} | {cost.cpu_s / count:.1f} | "
                    f"{cost.all_bytes / 1e9:.2f} | {cost.main_bytes / 1e9:.2f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
