"""Time of an alignment, compared with a lower bound and with RELION.

For each class of movie ``flexalign align`` runs as a user would run it, in a process of its own;
then the floor (every frame decoded and transformed once in each of two passes), RELION, and a run
that makes what RELION makes and no more ("alike") take turns with it.  The stages are those of the
record; their inner steps are measured alone afterwards.
The tables are Markdown::

    python benchmarks/speed.py --quick
    python benchmarks/speed.py --classes k2 falcon-mrc k3-tiff eer

Movies are made once and kept in the cache.  Nothing else should run meanwhile.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import accuracy
import drifting
import mrcfile
import numpy as np
import peers
import steps
from account import Account, stage_table, summary
from drifting import MovieFiles
from peers import Watched
from store import CACHE

import flexalign
from flexalign.io.record import read_record
from flexalign.model import MovieRecord
from flexalign.naming import SUFFIXES, movie_root
from flexalign.params import AlignParams, option_name
from flexalign.simulate import SimulationSettings

# What makes our run one with the outputs of RELION's: its patches, no spectra, no page to look at,
# and no check of the gain, which it does not make.
AS_RELION = ("--patches", "5", "5", "--no-psd", "--no-report", "--gain-check", "off")
# numba loads coverage where it is installed: here it is for the tests, and users have none.
AS_A_USER = "import sys; sys.modules['coverage'] = None; from flexalign.cli import main; main()"
WARM_UP_PX, WARM_UP_FRAMES = 512, 8
# More programs than this that want to run on the average, and the times mean little.
_IDLE_LOAD = 0.3


@dataclass(frozen=True, slots=True)
class Kind:
    """A class of movie.

    Attributes
    ----------
    settings : of the simulator
    file_format : "mrc", "tiff" or "eer"
    simulated : class of accuracy.py whose movie is taken when it is in the cache
    raw_frames_per_frame : of EER movies
    with_relion : whether RELION is asked too; it holds all frames in memory
    """

    settings: dict[str, Any]
    file_format: str = "mrc"
    simulated: str = ""
    raw_frames_per_frame: int = 1
    with_relion: bool = True


CLASSES = {
    "quick": Kind({"shape_px": (1024, 1024), "frame_count": 16}),
    "k2": Kind(accuracy.CLASSES["k2"], simulated="k2"),
    "falcon-mrc": Kind(accuracy.CLASSES["falcon"], simulated="falcon"),
    "k3-tiff": Kind(accuracy.CLASSES["k3"], "tiff", simulated="k3"),
    "eer": Kind(
        {"shape_px": (4096, 4096), "frame_count": 40, "pixel_size_A": 0.95,
         "electrons_per_px": 0.2},
        "eer", raw_frames_per_frame=25,
    ),
    "long": Kind({"shape_px": (2048, 2048), "frame_count": 300, "electrons_per_px": 0.15}),
    "superres": Kind(
        {"shape_px": (8184, 11520), "frame_count": 40, "pixel_size_A": 0.415,
         "electrons_per_px": 0.25},
        with_relion=False,
    ),
}  # fmt: skip


def movie_of(name: str, cache: Path, threads: int) -> MovieFiles:
    """The files of a class: those of accuracy.py where they are, else a drifting texture."""
    kind = CLASSES[name]
    settings = SimulationSettings(**kind.settings)
    folder = cache / "speed" / f"{name}_{accuracy.code_of(settings)}"
    found = simulated(kind.simulated, cache) if kind.simulated else None
    if found is None:
        return drifting.make_movie(
            settings, folder, kind.file_format, kind.raw_frames_per_frame, threads
        )
    if kind.file_format == "mrc":
        return found
    copy = folder / f"simulated.{kind.file_format}"
    if not copy.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with mrcfile.mmap(found.movie) as mrc:
            drifting.write_counts(copy, (frame.view(np.uint8) for frame in mrc.data), settings)
    return MovieFiles(copy, found.gain, found.origin)


def simulated(name: str, cache: Path) -> MovieFiles | None:
    """The first movie of a class of accuracy.py that is complete in the cache, or None."""
    for seed in accuracy.SEEDS:
        code = accuracy.code_of(accuracy.settings_of(name, seed))
        folder = cache / f"{name}_{seed}_{code}"
        if (folder / "movie_truth.npz").exists():
            return MovieFiles(folder / "movie.mrc", folder / "movie_gain.mrc", "simulated protein")
    return None


def params_of(files: MovieFiles, settings: SimulationSettings, threads: int) -> AlignParams:
    """Pixel size, dose and references; all other parameters are defaults."""
    return AlignParams(
        pixel_size_A=settings.pixel_size_A,
        voltage_kV=settings.voltage_kV,
        dose_per_frame_e_A2=settings.dose_e_A2,
        gain=str(files.gain.resolve()),
        eer_fractions=settings.frame_count,
        threads=threads,
    )


def run_flexalign(movie: Path, params: AlignParams, *options: str) -> tuple[Watched, MovieRecord]:
    """Align `movie` in a new process; its time and memory, and the record."""
    typed = params.to_dict()
    names = [name for name, value in AlignParams().to_dict().items() if typed[name] != value]
    given = [word for name in names for word in (option_name(name), str(typed[name]))]
    with tempfile.TemporaryDirectory(dir=movie.parent) as folder:
        command = [sys.executable, "-c", AS_A_USER, "align", str(movie.resolve())]
        cost = peers.watched([*command, *given, *options, "--out", folder], Path(folder))
        return cost, read_record(Path(folder) / (movie_root(movie) + SUFFIXES["record"]))


def warm_up(kind: Kind, cache: Path, threads: int) -> None:
    """Align a small movie of the same format, so that all loops are compiled."""
    settings = SimulationSettings(shape_px=(WARM_UP_PX, WARM_UP_PX), frame_count=WARM_UP_FRAMES)
    folder = cache / "speed" / f"warm-up_{kind.file_format}"
    files = drifting.make_movie(settings, folder, kind.file_format, 2, threads)
    params = params_of(files, settings, threads)
    run_flexalign(files.movie, params)
    steps.floor_s(files.movie, params, threads)


def measure(name: str, cache: Path, threads: int, repeats: int, *, with_peers: bool) -> Account:
    """The measurements of one class of movie."""
    kind = CLASSES[name]
    settings = SimulationSettings(**kind.settings)
    warm_up(kind, cache, threads)
    files = movie_of(name, cache, threads)
    params = params_of(files, settings, threads)
    account = Account(name, describe(name, files, settings))
    drifting.read_through(files.movie)
    for _ in range(repeats):
        cost, record = run_flexalign(files.movie, params)
        account.ours.append(cost)
        account.records.append(record)
        account.floors_s.append(steps.floor_s(files.movie, params, threads))
        account.alike.append(run_flexalign(files.movie, params, *AS_RELION)[0])
        if not (with_peers and kind.with_relion):
            continue
        try:
            grouping = kind.raw_frames_per_frame
            cost = peers.time_relion(files.movie, files.gain, settings, threads, grouping)
            account.relion.append(cost)
        except peers.PeerError as error:
            print(f"\n{name}: {error}", flush=True)
            account.relion.clear()
            with_peers = False
    account.inner.update(steps.inner_steps(files.movie, params, record, threads))
    return account


def describe(name: str, files: MovieFiles, settings: SimulationSettings) -> str:
    """The movie in one line."""
    height, width = settings.shape_px
    size_MB = files.movie.stat().st_size / 1e6
    return (
        f"**{name}**: {width} x {height} px, {settings.frame_count} frames, "
        f"{files.movie.suffix[1:]} of {size_MB:.0f} MB, {files.origin}"
    )


def circumstances(threads: int, repeats: int, relion: str | None) -> str:
    """Versions and properties of the machine, in one paragraph."""
    load = os.getloadavg()[0]
    busy = f" OTHER PROGRAMS WERE RUNNING (load {load:.1f})." if load > _IDLE_LOAD else ""
    return (
        f"flexalign {flexalign.__version__}, {relion or 'no RELION'}; {threads} threads; medians "
        f"of {repeats} runs in turn. One core copies {steps.copied_bytes_per_s() / 1e9:.1f} GB/s, "
        f"read and written.{busy}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--classes", nargs="+", choices=CLASSES, metavar="CLASS",
                        help=f"of {', '.join(CLASSES)}; default: all but quick")  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="only the class quick")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--no-peers", action="store_true", help="without RELION")
    parser.add_argument("--cache", type=Path, default=CACHE)
    chosen = parser.parse_args()
    cache = chosen.cache.resolve()
    names = chosen.classes or (["quick"] if chosen.quick else [n for n in CLASSES if n != "quick"])
    relion = None if chosen.no_peers else peers.relion_version()
    print(circumstances(chosen.threads, chosen.repeats, relion), flush=True)
    accounts = []
    for name in names:
        try:
            account = measure(
                name, cache, chosen.threads, chosen.repeats, with_peers=relion is not None
            )
        except (flexalign.FlexAlignError, peers.PeerError) as error:
            print(f"\n{name}: failed: {error}", flush=True)
            continue
        accounts.append(account)
        print(f"\n{stage_table(account)}", flush=True)
    print(f"\n{summary(accounts)}")


if __name__ == "__main__":
    main()
