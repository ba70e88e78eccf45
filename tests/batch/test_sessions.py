"""Whole sessions: killed, resumed, fed slowly. `make endurance` runs them at full length."""

from __future__ import annotations

import gzip
import json
import os
import random
import signal
import statistics
import threading
import time
import warnings
from collections import Counter
from pathlib import Path

import mrcfile
import numpy as np
import pytest

IS_FULL = bool(os.environ.get("FLEXALIGN_FULL_TESTS"))
OPTIONS = (
    "--pixel-size", "1.5", "--no-psd", "--no-refine", "--align-last", "4",
    "--jobs", "2", "--timeout", "1", "--memory", "2",
)  # fmt: skip
pytestmark = pytest.mark.slow

BAD_KINDS = {
    "empty.mrcs": "input", "text.tiff": "input", "cut.mrcs": "input", "zero.mrcs": "input",
    "nan.mrcs": "input", "size.mrcs": "input", "noise.eer": "input", "half.mrc.gz": "input",
    "few.mrcs": "parameter", "huge.mrcs": "memory",
}  # fmt: skip
if IS_FULL:  # nobody ever writes into this pipe, so it takes the timeout, twice, to find out
    del BAD_KINDS["empty.mrcs"]
    BAD_KINDS["pipe.mrcs"] = "stalled"


def spoil(folder: Path, good: Path) -> None:
    """Write ten bad movies, each bad in its own way."""
    data = good.read_bytes()
    frames = mrcfile.read(good)
    rng = np.random.default_rng(1)
    contents = {
        "empty.mrcs": b"",
        "text.tiff": b"no movie",
        "cut.mrcs": data[:-100],
        "size.mrcs": np.array([-96, 64, 4], np.int32).tobytes() + data[12:],
        "huge.mrcs": np.array([40_000, 40_000, 4, 0], np.int32).tobytes() + data[16:1024],
        "noise.eer": rng.bytes(5000),
        "half.mrc.gz": gzip.compress(data)[: len(data) // 8],
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    os.truncate(folder / "huge.mrcs", 1024 + 4 * 40_000**2)  # takes no room on the disk
    for name, array in (
        ("few.mrcs", frames[:3]),
        ("zero.mrcs", np.zeros_like(frames)),
        ("nan.mrcs", np.full(frames.shape, np.nan, np.float32)),
    ):
        with mrcfile.new(folder / name) as file:
            with warnings.catch_warnings(action="ignore"):  # of values that are not finite
                file.set_data(array)
            file.set_image_stack()
    if IS_FULL:
        (folder / "empty.mrcs").unlink()
        os.mkfifo(folder / "pipe.mrcs")


@pytest.fixture
def session(tmp_path, write_movie) -> Path:
    """A folder of good movies and ten bad ones."""
    folder = tmp_path / "movies"
    for number in range(190 if IS_FULL else 12):
        write_movie(folder / f"m{number:03}.mrcs", number)
    spoil(folder, folder / "m000.mrcs")
    return folder


def records(run: Path) -> dict[str, int]:
    """Time of each record of a run."""
    return {path.name: path.stat().st_mtime_ns for path in run.glob("*_record.json")}


def assert_whole(run: Path) -> None:
    """Where there is a record, everything that it names is there and is what it was."""
    for path in run.glob("*_record.json"):
        outputs = json.loads(path.read_text())["outputs"]
        assert all((run / name).stat().st_size for name in outputs.values())


def assert_same_results(run: Path, other: Path) -> int:
    """Both runs have the same results; how many movies that are."""
    names = sorted(records(run))
    assert names == sorted(records(other))
    for name in names:
        root = name.removesuffix("_record.json")
        first, second = (folder / f"{root}_aligned_mic.mrc" for folder in (run, other))
        assert first.read_bytes()[1024:] == second.read_bytes()[1024:]
        first, second = (folder / f"{root}_motion.json" for folder in (run, other))
        assert first.read_text() == second.read_text()
    return len(names)


def failed(run: Path) -> dict[str, str]:
    """Type of failure of each movie, from the table; no movie is there twice."""
    lines = [line.split("\t") for line in (run / "failed.tsv").read_text().splitlines()[1:]]
    assert len({line[0] for line in lines}) == len(lines)
    assert all(len(line) == 4 and line[3] for line in lines)
    return {Path(line[0]).name: line[1] for line in lines}


def test_a_session_that_is_killed_three_times_ends_as_a_clean_one(
    session, tmp_path, start, flexalign
):
    rng, run = random.Random(7), tmp_path / "run"
    words = ("align", session, "--out", run, *OPTIONS)
    finished: dict[str, int] = {}
    for _ in range(3):
        process = start(*words)
        more = len(finished) + rng.randrange(1, 40 if IS_FULL else 4)
        while process.poll() is None and len(records(run)) < more:
            time.sleep(0.01)
        time.sleep(rng.random() / 2)
        process.kill()
        process.wait()
        assert_whole(run)
        now = records(run)
        assert finished.items() <= now.items()
        finished = now

    code, _, err = flexalign(*words)

    assert code == 1, err
    assert finished.items() <= records(run).items()
    assert failed(run) == BAD_KINDS
    folders = [path.name for path in run.iterdir() if path.is_dir()]
    assert folders == ["report_data"]  # none of those in which results are made
    clean = tmp_path / "clean"
    flexalign("align", session, "--out", clean, *OPTIONS)
    assert assert_same_results(run, clean) == len(list(session.glob("m[0-9]*")))


def test_a_second_run_on_the_folder_is_refused_and_harms_nothing(
    session, tmp_path, start, flexalign
):
    words = ("align", session, "--out", tmp_path / "run", *OPTIONS)
    first = start(*words)
    while not records(tmp_path / "run"):
        time.sleep(0.01)

    code, _, err = flexalign(*words)

    assert code == 3
    assert f"process {first.pid}" in err
    first.communicate()
    assert first.returncode == 1
    assert failed(tmp_path / "run") == BAD_KINDS


def test_ctrl_c_finishes_what_is_under_way_and_the_next_run_the_rest(
    session, tmp_path, start, flexalign
):
    run = tmp_path / "run"
    words = ("align", session, "--out", run, *OPTIONS)
    process = start(*words)
    while not records(run):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()

    assert process.returncode == 130
    assert "movies are left" in err
    index = json.loads((run / "run.json").read_text())
    assert index["done"] == len(records(run))
    assert flexalign(*words)[0] == 1
    assert len(records(run)) == len(list(session.glob("m[0-9]*")))


def resident_bytes(pid: int) -> int:
    """Memory of a process and of those it started, shared pages once.

    Pages of files are left out: the share of one process in them changes when other processes
    that use the same libraries start or end.
    """
    total = 0
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    for number in (str(pid), *children):
        lines = dict(
            line.split(":", 1)
            for line in Path(f"/proc/{number}/smaps_rollup").read_text().splitlines()[1:]
        )
        total += sum(int(lines[name].split()[0]) for name in ("Pss_Anon", "Pss_Shmem")) * 1024
    return total


def test_memory_and_open_files_stay_flat_over_many_movies(tmp_path, write_movie, start):
    # The memory of a worker grows over its first 50 movies or so, until what is freed is enough for
    # what follows: the early part begins after these.
    count = 500 if IS_FULL else 240
    for number in range(count):
        write_movie(tmp_path / "movies" / f"m{number:03}.mrcs", number)
    process = start("align", tmp_path / "movies", "--out", tmp_path / "run", *OPTIONS)
    seen: list[tuple[int, int, int]] = []
    reader = threading.Thread(target=process.stderr.read, daemon=True)
    reader.start()
    while process.poll() is None:
        try:
            handles = len(list(Path(f"/proc/{process.pid}/fd").iterdir()))
            seen.append((len(records(tmp_path / "run")), resident_bytes(process.pid), handles))
        except (OSError, KeyError):
            continue
        time.sleep(0.1)

    early = [s for s in seen if count * 0.45 <= s[0] <= count * 0.6]
    late = [s for s in seen if count * 0.8 <= s[0]][:-2]
    memory = [statistics.median(s[1] for s in part) for part in (early, late)]
    # Those that are open all the time: some more are for a moment, while tables are written.
    handles = [min(s[2] for s in part) for part in (early, late)]
    assert process.returncode == 0
    assert memory[1] < 1.05 * memory[0] + (0 if IS_FULL else 10e6), memory
    assert handles[1] <= handles[0]


def feed(folder: Path, movies: list[bytes], stop: threading.Event) -> None:
    """Write movies as microscopes and networks do: in pieces, renamed into place, in a burst."""
    burst = 50 if IS_FULL else 6
    for number, data in enumerate(movies):
        path = folder / f"m{number:03}.mrcs"
        if number >= len(movies) - burst:
            path.write_bytes(data)
        elif number % 2:
            with path.open("wb") as file:
                for piece in range(0, len(data), len(data) // 4 + 1):
                    file.write(data[piece : piece + len(data) // 4 + 1])
                    file.flush()
                    time.sleep(0.4)
        else:
            part = path.with_suffix(".part")
            part.write_bytes(data)
            time.sleep(0.3)
            part.rename(path)
    stop.set()


def test_a_watched_folder_has_each_movie_done_once_over_a_restart(tmp_path, write_movie, start):
    count = 70 if IS_FULL else 12
    data = [
        write_movie(tmp_path / "all" / f"m{number:03}.mrcs", number).read_bytes()
        for number in range(count)
    ]
    folder, run, is_fed = tmp_path / "in", tmp_path / "run", threading.Event()
    folder.mkdir()
    words = ("watch", folder, "--out", run, "--settle", "2", "--poll", "1", "--json", *OPTIONS)
    writer = threading.Thread(target=feed, args=(folder, data, is_fed))
    writer.start()
    first = start(*words)
    while len(records(run)) < 3:
        time.sleep(0.05)
    first.send_signal(signal.SIGINT)
    out, err = first.communicate()
    second = start(*words, "--idle", "0.15")
    more, more_err = second.communicate()
    writer.join()

    events = [json.loads(line) for line in (out + more).splitlines()]
    done = Counter(Path(e["movie"]).name for e in events if e["event"] == "done")
    assert (first.returncode, second.returncode) == (130, 0), err + more_err
    assert set(done) == {f"m{number:03}.mrcs" for number in range(count)}
    assert set(done.values()) == {1}
    assert_whole(run)
    assert len(records(run)) == count
