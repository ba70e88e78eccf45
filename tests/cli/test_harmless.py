"""Nothing that is not ours is replaced or removed, by any command that writes."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from flexalign import naming
from flexalign.align import align_and_write
from flexalign.batch import gain_gate, tables
from flexalign.compat.xmipp import PROGRAMS
from flexalign.io import relion_project
from flexalign.io.star import star_loop, write_star
from flexalign.params import AlignParams
from flexalign.report import live

FAST = ("--pixel-size", "2", "--no-psd", "--no-refine", "--no-local")
SUFFIXES = {
    *naming.SUFFIXES.values(),
    *naming.relion_suffixes(dose_weighted=True).values(),
    *naming.relion_suffixes(dose_weighted=False).values(),
    ".mrc.mdoc", ".log", ".star", "_comparison.png", ".tiff", "_gain.mrc", ".gain", "_truth.npz",
}  # fmt: skip
TABLES = (
    *tables.NAMES, "run.json", gain_gate.CHECK_NAME, gain_gate.PICTURE_NAME, live.PAGE, live.CSV,
    live.JSON, relion_project.RELION_TABLE, relion_project.NODES, "out.xmd", "gain.mrc", "plot.png",
    "given_comparison.png", "RELION_JOB_EXIT_SUCCESS", f"{live.DATA}/notes.js",
    f"{live.DATA}/m0.js", *(f"bin/{name}" for name in PROGRAMS), ".m0-abcd1234/notes",
    ".flexalign-m0-abcd1234/notes", *(f"demo{s}" for s in (".tiff", "_gain.mrc", "_truth.npz")),
)  # fmt: skip
WORDS = {
    "align": ("align", "m0.mrc", "--out", ".", *FAST),
    "align again": ("align", "m0.mrc", "--out", ".", *FAST, "--overwrite"),
    "run": ("align", "m0.mrc", "m1.mrc", "--out", ".", "--jobs", 0, *FAST),
    "run again": ("align", "m0.mrc", "m1.mrc", "--out", ".", "--jobs", 0, *FAST, "--overwrite"),
    "watch": ("watch", "in", "--out", ".", "--idle", 0.03, "--settle", 0.01, "--jobs", 0, *FAST),
    "apply": ("apply", "m0.mrc", "--motion", "given_motion.json", "--out", ".", "--overwrite"),
    "relion-job": ("relion-job", "--in_movies", "movies.star", "--o", "job/"),
    "export": ("export", "done", "--to", "relion,motioncor,warp"),
    "report": ("report", "done"),
    "xmipp": ("xmipp-movie-alignment", "-i", "m0.mrc"),
    "xmipp-install": ("xmipp-install", "."),
    "estimate-gain": ("estimate-gain", "m0.mrc", "--out", "gain.mrc"),
    "check-gain": ("check-gain", "m0.mrc", "--gain", "flat.mrc", "--plot", "plot.png"),
    "compare": ("compare", "given_motion.json", "given_motion.json", "--plot", "."),
    "simulate": ("simulate", "--out", ".", "--name", "m0", "--size", 64, 64),
    "demo": ("demo", "--out", "."),
}


def write_movie(path: Path, seed: int = 0) -> Path:
    """A movie of 4 frames of 64 x 64 pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frames = np.random.default_rng(seed).poisson(8, (4, 64, 64)).astype(np.int16)
    with mrcfile.new(path, data=frames) as file:
        file.set_image_stack()
        file.voxel_size = 2.0
    return path


def list_movies(path: Path, *names: str) -> None:
    """RELION's list of movies."""
    optics = {
        "rlnOpticsGroup": [1], "rlnOpticsGroupName": ["one"], "rlnVoltage": [300.0],
        "rlnMicrographOriginalPixelSize": [2.0], "rlnSphericalAberration": [2.7],
        "rlnAmplitudeContrast": [0.1],
    }  # fmt: skip
    rows = {"rlnMicrographMovieName": list(names), "rlnOpticsGroup": [1] * len(names)}
    write_star(path, [star_loop("optics", optics), star_loop("movies", rows)])


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A folder with movies, a flat reference, ``done`` with results, and a motion by itself."""
    folder = tmp_path_factory.mktemp("made")
    for seed, name in enumerate(("m0.mrc", "m1.mrc", "in/m0.mrc", "Movies/m0.mrc")):
        write_movie(folder / name, seed)
    with mrcfile.new(folder / "flat.mrc", data=np.ones((64, 64), np.float32)):
        pass
    params = AlignParams(pixel_size_A=2.0, psd=False, refine=False, local=False)
    align_and_write(folder / "m0.mrc", params, folder / "done")
    shutil.copy(folder / "done" / "m0_motion.json", folder / "given_motion.json")
    list_movies(folder / "movies.star", "Movies/m0.mrc")
    return folder


@pytest.fixture
def folder(made, tmp_path, monkeypatch) -> Path:
    """The current folder, a copy of what was made."""
    shutil.copytree(made, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def put(folder: Path, names) -> dict[Path, tuple[bytes, int]]:
    """Write somebody's files of these names where nothing is; what all files there are then."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.write_text(f"somebody's {name}")
    return snapshot(folder)


def snapshot(folder: Path) -> dict[Path, tuple[bytes, int]]:
    """Content and time of all files."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def assert_kept(before: dict[Path, tuple[bytes, int]], folder: Path) -> None:
    after = snapshot(folder)
    assert {path.name for path in before if after.get(path) != before[path]} == set()


@pytest.mark.parametrize("command", WORDS)
def test_files_of_others_in_the_way_of_everything_stay_and_are_named(run, folder, command):
    """In every folder there are files of every name that any command gives."""
    names = [f"m0{suffix}" for suffix in SUFFIXES] + list(TABLES)
    before = {}
    for place in (".", "done", "job", "job/Movies"):
        before |= put(folder / place, names)

    outcome = run(*WORDS[command])

    assert outcome.code == 3, outcome.err
    assert "expected" in outcome.err
    assert_kept(before, folder)


@pytest.mark.parametrize("command", ["align again", "run", "watch", "apply", "relion-job"])
def test_one_file_of_somebody_in_the_way_of_a_movie_is_named(run, folder, command):
    place = folder / "job" / "Movies" if command == "relion-job" else folder
    before = put(place, ["m0_motion.json"])

    outcome = run(*WORDS[command])

    assert outcome.code in (1, 3)  # 1: the other movie of a run was done
    assert "m0_motion.json: move them away" in outcome.err
    assert_kept(before, place)


def test_a_movie_is_done_by_the_next_run_when_nothing_is_in_the_way_any_more(run, folder):
    put(folder, ["m0_motion.json"])
    first = run(*WORDS["run"])
    (folder / "m0_motion.json").unlink()

    second = run(*WORDS["run"])

    assert (first.code, second.code) == (1, 0)
    assert (folder / "m0_record.json").exists()


@pytest.mark.parametrize("command", ["align", "align again", "run", "watch"])
def test_files_of_others_that_are_not_in_the_way_do_not_matter(run, folder, command):
    """With names that are given when other formats or images are asked for."""
    names = ["m0.xml", "m0.aln", "m0-Full.log", "m0-Patch-Patch.log", "m0_motion.star",
             "m0_PS.mrc", "m0_psd.png", "m0_aligned_movie.mrcs", "m0.mrc.mdoc"]  # fmt: skip
    before = put(folder, names)

    for _ in range(2):
        outcome = run(*WORDS[command])

    assert outcome.code == 0, outcome.err
    assert (folder / "m0_aligned_mic.mrc").exists()
    assert_kept({folder / name: before[folder / name] for name in names}, folder)


def test_results_in_the_folder_of_the_movies_are_no_movies(run, folder):
    words = ("align", "in", "--out", "in", "--jobs", 0, *FAST)
    first = run(*words)

    second = run(*words)

    assert (first.code, second.code) == (0, 0), second.err
    assert len(list((folder / "in").glob("*_record.json"))) == 1


@pytest.mark.parametrize("is_run", [False, True])
def test_a_result_that_somebody_changed_is_theirs(run, folder, is_run):
    words = WORDS["run again" if is_run else "align again"]
    run(*words, "--binning", 2)
    micrograph = folder / "m0_aligned_mic.mrc"
    micrograph.write_bytes(micrograph.read_bytes() + b"masked")
    before = snapshot(folder)

    outcome = run(*words)

    assert outcome.code in (1, 3)
    assert "m0_aligned_mic.mrc: move them away" in outcome.err
    assert_kept({micrograph: before[micrograph]}, folder)


def test_a_table_that_somebody_changed_is_theirs(run, folder):
    run(*WORDS["run"])
    table = folder / "micrographs.csv"
    table.write_text(table.read_text().replace("m1_aligned_mic.mrc", "bad"))
    before = snapshot(folder)

    outcome = run(*WORDS["run"])

    assert outcome.code == 3
    assert "micrographs.csv: move them away" in outcome.err
    assert_kept(before, folder)


def test_a_run_goes_on_in_a_copy_without_hidden_files(run, folder, tmp_path, monkeypatch):
    run(*WORDS["run"])
    shutil.copytree(folder, tmp_path / "copy", ignore=shutil.ignore_patterns(".*"))
    monkeypatch.chdir(tmp_path / "copy")

    outcome = run(*WORDS["run again"])

    assert outcome.code == 0, outcome.err


# What is read, as it is typed, and then the command with its place among the outputs.
READ = {
    "align": ("m0_shifts.xmd", lambda p: ("align", "m0.mrc", "--gain", p, "--out", ".", *FAST)),
    "run": ("m0_shifts.xmd", lambda p: (*WORDS["run again"], "--gain", p)),
    "watch": ("m0_shifts.xmd", lambda p: (*WORDS["watch"], "--dark", p)),
    "settings": ("m0_record.json", lambda p: (*WORDS["align again"], "--settings", p)),
    "settings of a run": ("m0_record.json", lambda p: (*WORDS["run again"], "--settings", p)),
    "apply": ("m0_motion.json", lambda p: ("apply", "m0.mrc", "--motion", p, "--out", ".",
                                           "--overwrite")),
    "relion-job": ("job/Movies/m0_shifts.xmd", lambda p: (*WORDS["relion-job"], "--gain", p)),
    "list": ("job/corrected_micrographs.star", lambda p: ("relion-job", "--in_movies", p,
                                                          "--o", "job/")),
    "xmipp": ("m1.mrc", lambda p: ("xmipp-movie-alignment", "-i", p, "-o", "s.xmd",
                                   "--oavg", "m1.mrc")),
    "estimate-gain": ("m1.mrc", lambda p: ("estimate-gain", "m0.mrc", p, "--out", "m1.mrc",
                                           "--overwrite")),
    "estimate-gain of a folder": ("in/m0.mrc", lambda p: ("estimate-gain", str(Path(p).parent),
                                                          "--out", "in/m0.mrc", "--overwrite")),
    "check-gain": ("m1.mrc", lambda p: ("check-gain", p, "--gain", "flat.mrc", "--plot", "m1.mrc",
                                        "--overwrite")),
}  # fmt: skip
SPELLINGS = {
    "the same": lambda path: path,
    "dots": lambda path: path.parent / "in" / ".." / path.name if path.parent == Path()
    else path.parent / ".." / path.parent.name / path.name,
    "absolute": lambda path: path.absolute(),
    "link": lambda path: alias(path, os.symlink),
    "hard link": lambda path: alias(path, os.link),
}  # fmt: skip


def alias(path: Path, link) -> Path:
    """Another name for a file, in another folder."""
    other = Path("other") / path.name
    other.parent.mkdir()
    link(path.absolute(), other)
    return other


@pytest.mark.parametrize(
    ("command", "spelling"),
    [(c, s) for c in READ for s in SPELLINGS if c != "watch" or s == "hard link"],  # it waits
)
def test_an_output_in_the_place_of_an_input_is_refused(run, folder, command, spelling):
    name, words = READ[command]
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    if command.startswith("settings"):
        run(*WORDS["align"])
    elif command == "list":
        shutil.copy("movies.star", path)
    elif command == "apply":
        shutil.copy("given_motion.json", path)
    elif not path.exists():
        shutil.copy("flat.mrc", path)
    typed = SPELLINGS[spelling](path)
    before = snapshot(folder)

    outcome = run(*words(typed))

    assert outcome.code == 3, outcome.err
    assert "would replace" in outcome.err
    assert_kept(before, folder)


@pytest.mark.parametrize("spelling", ["the same", "a linked folder", "a hard link"])
def test_a_job_of_relion_in_the_folder_of_the_project_is_refused(run, folder, spelling):
    """Its micrograph would have the name of the movie."""
    if spelling == "a linked folder":
        (folder / "Raw").symlink_to("Movies")
    elif spelling == "a hard link":
        (folder / "Raw").mkdir()
        os.link(folder / "Movies" / "m0.mrc", folder / "Raw" / "m0.mrc")
    else:
        (folder / "Movies").rename(folder / "Raw")
    list_movies(folder / "movies.star", "Raw/m0.mrc")
    before = snapshot(folder)

    outcome = run("relion-job", "--in_movies", "movies.star", "--o", "./")

    assert outcome.code == 3
    assert "would replace" in outcome.err
    assert_kept(before, folder)


def test_movies_that_relion_would_call_the_same_are_both_done(run, folder):
    names = ["Movies/x.a.mrc", "Movies/x_a.mrc", "Movies/y.mrc", "Movies/y.mrcs"]
    for seed, name in enumerate(names):
        write_movie(folder / name, seed)
    list_movies(folder / "movies.star", *names)
    first = run(*WORDS["relion-job"])
    roots = sorted(path.name for path in (folder / "job/Movies").glob("*_record.json"))
    before = snapshot(folder / "job" / "Movies")
    list_movies(folder / "movies.star", *reversed(names))

    second = run(*WORDS["relion-job"])

    assert (first.code, second.code) == (0, 0), first.err + second.err
    assert roots == sorted(f"{root}_record.json" for root in ("x_a", "x_a_2", "y", "y_2"))
    assert_kept(before, folder / "job" / "Movies")
    table = (folder / "job" / "corrected_micrographs.star").read_text()
    assert all(f"job/Movies/{root}.mrc" in table for root in ("x_a", "x_a_2", "y", "y_2"))


def test_other_settings_are_reason_for_relions_job_to_do_a_movie_again(run, folder):
    record = folder / "job" / "Movies" / "m0_record.json"
    run(*WORDS["relion-job"])
    first = record.read_bytes()

    run(*WORDS["relion-job"])
    same = record.read_bytes()
    outcome = run(*WORDS["relion-job"], "--binning", 2)

    assert outcome.code == 0, outcome.err
    assert same == first
    assert '"binning": 2' in record.read_text()


@pytest.mark.parametrize("other", ["in/../m0.mrc", "again/m0.mrc", "link.mrc"])
def test_a_movie_that_is_reached_in_two_ways_is_one(run, folder, other):
    (folder / "again").symlink_to(".")
    (folder / "link.mrc").symlink_to("m0.mrc")
    common = ("--out", "run", "--jobs", 0, *FAST)

    together = run("align", "m0.mrc", other, *common)
    later = run("align", other, *common)

    assert (together.code, later.code) == (0, 0), together.err + later.err
    assert [path.name for path in (folder / "run").glob("*_record.json")] == ["m0_record.json"]
    assert len((folder / "run" / "micrographs.csv").read_text().splitlines()) == 2
