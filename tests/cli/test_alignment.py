"""Aligning and planning from the command line: outputs, errors, exit codes."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from terminal import read_all

from flexalign.cli.console import run_each
from flexalign.errors import DeviceError, InputError, ParameterError
from flexalign.io.writing.ledger import LEDGER_NAME
from flexalign.naming import SUFFIXES
from flexalign.quality.flags import DEFINITIONS

PIXEL_SIZE = ("--pixel-size", "1.5")


@pytest.fixture
def gain(movie_folder) -> tuple[str, str]:
    return "--gain", str(movie_folder / "a_gain.mrc")


def test_a_movie_gives_outputs_lines_of_result_and_flags_and_a_report(
    run, movie_folder, gain, tmp_path
):
    out = tmp_path / "new" / "folder"

    outcome = run("align", movie_folder / "a.tiff", "--out", out, *PIXEL_SIZE, *gain)

    assert (outcome.code, outcome.out) == (0, "")
    result, *lines, report = outcome.err.splitlines()
    warnings = [line for line in lines if line.startswith("  warning: ")]
    flags = [line for line in lines if line not in warnings]
    assert any("no dose-weighted micrograph" in line for line in warnings)
    assert report == f"report: {out / 'report.html'}"
    assert result.startswith("a.tiff: motion ")
    assert " A (early " in result
    named = re.search(r"flags: ([a-z -]+)", result)[1].split()
    assert [flag.split(":")[0].strip() for flag in flags] == named
    assert all(DEFINITIONS[name].remedy in line for name, line in zip(named, flags, strict=True))
    assert {path.name for path in out.iterdir()} - {"gain_check.json"} == {
        LEDGER_NAME, "report.html", "report.csv", "report.json", "report_data",
    } | {
        "a" + SUFFIXES[kind]
        for kind in (
            "micrograph", "shifts", "motion", "plot", "spectra", "amplitudes", "record",
            "thumbnail", "spectra_thumbnail",
        )
    }  # fmt: skip


def test_the_record_has_the_parameters_that_were_typed(run, movie_folder, gain, tmp_path):
    (tmp_path / "run.toml").write_text("max-shift = 20\nbinning = 2\npixel-size = 1.4\n")

    run(
        "align", movie_folder / "a.tiff", "--out", tmp_path, *gain,
        "--settings", tmp_path / "run.toml", "--pixel-size", "1.5", "--no-local",
    )  # fmt: skip

    record = json.loads((tmp_path / "a_record.json").read_text())
    kept = {name: record["parameters"][name] for name in ("pixel_size_A", "max_shift_A", "local")}
    assert kept == {"pixel_size_A": 1.5, "max_shift_A": 20.0, "local": False}
    assert record["decisions"]["output_shape_px"] == [80, 96]


def test_a_record_repeats_its_run(run, movie_folder, gain, tmp_path):
    words = ("--binning", "2", "--no-refine", "--no-psd")
    run("align", movie_folder / "a.tiff", "--out", tmp_path / "1", *PIXEL_SIZE, *gain, *words)

    outcome = run(
        "align", movie_folder / "a.tiff", "--out", tmp_path / "2",
        "--settings", tmp_path / "1" / "a_record.json",
    )  # fmt: skip

    assert outcome.code == 0
    first, second = (tmp_path / n / "a_aligned_mic.mrc" for n in "12")
    assert first.read_bytes()[1024:] == second.read_bytes()[1024:]


def test_a_movie_that_fails_has_a_line_and_the_others_go_on(run, movie_folder, tmp_path):
    broken = tmp_path / "broken.tiff"
    broken.write_bytes((movie_folder / "a.tiff").read_bytes()[:5000])

    outcome = run(
        "align", broken, movie_folder / "b.mrc", "--out", tmp_path / "out", *PIXEL_SIZE
    )  # fmt: skip

    lines = outcome.err.splitlines()
    assert outcome.code == 1
    assert sum(line.startswith("error: ") and "broken.tiff" in line for line in lines) == 1
    assert sum(line.startswith("b.mrc: motion") for line in lines) == 1
    assert f"1 of 2 movies failed (1 input): see {tmp_path / 'out' / 'failed.tsv'}" in lines
    assert not list((tmp_path / "out").glob("broken*"))


@pytest.mark.slow
def test_loops_give_the_same_when_just_compiled_and_when_compiled_before(movie_folder, tmp_path):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    images = []
    for name in ("just", "before"):
        words = ["align", movie_folder / "a.tiff", "--out", tmp_path / name, *PIXEL_SIZE]
        subprocess.run(
            [sys.executable, "-m", "flexalign", *map(str, words)], env=environment, check=True
        )
        images.append((tmp_path / name / "a_aligned_mic.mrc").read_bytes()[1024:])

    assert images[0] == images[1]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("nowhere.tiff",), 3, "nowhere.tiff: no such file"),
        (("nowhere.tiff", "nowhere_else.mrc"), 3, "2 of 2 movies failed"),
        (("a.tiff", "--gain", "nowhere.mrc"), 3, "nowhere.mrc"),
        (("a.tiff", "--align-last", "99"), 2, "--align-last"),
        (("a.tiff", "--binning", "0.5"), 2, "--binning: expected at least 1"),
        (("a.tiff", "--gain-flip", "sideways"), 2, "left-right; found sideways"),
        (("a.tiff", "--settings", "nowhere.toml"), 3, "nowhere.toml"),
        (("a.tiff", "--no-such-option"), 2, "--no-such-option"),
        (("nothing*here.tiff",), 3, "found none"),
    ],
)
def test_a_mistake_ends_in_words_and_the_code_of_its_kind(
    run, movie_folder, tmp_path, monkeypatch, words, code, said
):
    monkeypatch.chdir(movie_folder)

    outcome = run("align", *words, "--out", tmp_path / "out", *PIXEL_SIZE)

    assert outcome.code == code
    assert said in outcome.err
    assert "Traceback" not in outcome.err
    assert outcome.out == ""


def test_the_same_command_again_finds_a_movie_done_and_other_options_align_it_again(
    run, movie_folder, gain, tmp_path
):
    words = ("align", movie_folder / "a.tiff", "--out", tmp_path, *PIXEL_SIZE, *gain, "--no-refine")
    run(*words)
    before = (tmp_path / "a_record.json").read_bytes()

    again = run(*words)

    assert again.code == 0
    assert "a.tiff: done before" in again.err
    assert (tmp_path / "a_record.json").read_bytes() == before
    changed = run(*words, "--binning", "2")
    assert (changed.code, "done before" in changed.err) == (0, False)
    assert json.loads((tmp_path / "a_record.json").read_text())["parameters"]["binning"] == 2
    assert "a.tiff: motion" in run(*words, "--binning", "2", "--overwrite").err


def test_results_of_another_movie_of_the_same_name_are_not_replaced(run, movie_folder, tmp_path):
    (tmp_path / "day2").mkdir()
    second = shutil.copy(movie_folder / "b.mrc", tmp_path / "day2" / "a.mrc")
    words = ("--out", tmp_path, *PIXEL_SIZE, "--no-refine")
    run("align", movie_folder / "a.tiff", *words)
    before = (tmp_path / "a_record.json").read_bytes()

    refused = run("align", second, *words)

    assert refused.code == 3
    assert "--overwrite" in refused.err
    assert (tmp_path / "a_record.json").read_bytes() == before


def test_what_is_left_out_is_said_on_the_screen_and_in_the_report(run, movie_folder, tmp_path):
    outcome = run("align", movie_folder / "a.tiff", "--out", tmp_path, *PIXEL_SIZE, "--no-refine")

    said = "no dose-weighted micrograph: the dose per frame is not known (--dose-per-frame)"
    assert f"  warning: {said}" in outcome.err.splitlines()
    assert said in (tmp_path / "report.html").read_text()
    assert json.loads((tmp_path / "report.json").read_text())["warnings"][said] == 1


def test_two_movies_of_one_name_get_two_names(run, movie_folder, tmp_path):
    (tmp_path / "day2").mkdir()
    second = shutil.copy(movie_folder / "b.mrc", tmp_path / "day2" / "a.mrc")
    out = tmp_path / "out"

    outcome = run("align", movie_folder / "a.tiff", second, "--out", out, *PIXEL_SIZE)

    assert outcome.code == 0
    assert {path.name for path in out.glob("*_record.json")} == {
        "a_record.json", "day2_a_record.json"
    }  # fmt: skip


def test_a_dry_run_prints_the_plan_and_writes_nothing(run, movie_folder, gain, tmp_path):
    movie = movie_folder / "a.tiff"

    dry = run("align", movie, "--out", tmp_path / "out", "--dry-run", *PIXEL_SIZE, *gain)

    assert dry == run("plan", movie, *PIXEL_SIZE, *gain)
    assert dry.code == 0
    assert dry.err == ""
    assert "192 x 160 px, 6 frames" in dry.out
    assert not (tmp_path / "out").exists()


def test_the_plan_follows_the_options(run, movie_folder):
    text = run("plan", movie_folder / "a.tiff", *PIXEL_SIZE, "--binning", "2").out

    assert "96 x 80 px, 3 A/px" in text


def test_a_defect_is_one_line_and_debug_shows_where_it_arose(
    run, movie_folder, tmp_path, monkeypatch
):
    def break_down(*_args: object, **_options: object) -> None:
        raise ZeroDivisionError("nothing to divide by")

    monkeypatch.setattr("flexalign.align.align_and_write", break_down)
    words = ("align", movie_folder / "a.tiff", "--out", tmp_path)

    short, long = run(*words), run(*words, "--debug")

    assert short.code == long.code == 1
    assert short.err.count("\n") == 1
    assert "a defect in flexalign, ZeroDivisionError: nothing to divide by" in short.err
    assert "break_down" not in short.err
    assert "Traceback" in long.err
    assert "break_down" in long.err


@pytest.mark.parametrize(
    ("errors", "code"),
    [
        ([None, None], 0),
        ([InputError("x")], 3),
        ([InputError("x"), InputError("y")], 3),
        ([DeviceError("x"), None], 1),
        ([ParameterError("x"), InputError("y")], 1),
        ([OSError("disk full")], 3),
        ([MemoryError()], 4),
        ([ValueError("x")], 1),
    ],
)
def test_the_exit_code_tells_what_failed(capsys, errors, code):
    todo = {Path(f"{i}.mrc"): error for i, error in enumerate(errors)}

    def work(movie: Path) -> None:
        if todo[movie] is not None:
            raise todo[movie]

    found = run_each(list(todo), work, debug=False)

    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert found == code
    assert len(lines) == sum(error is not None for error in errors)


def test_on_a_terminal_a_bar_shows_the_movie_and_the_line_of_result_stays(movie_folder, tmp_path):
    ours, theirs = pty.openpty()
    words = ["align", str(movie_folder / "b.mrc"), "--out", str(tmp_path), *PIXEL_SIZE]
    code = f"import sys; sys.argv[1:] = {words}; from flexalign.cli import main; main()"
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}

    with subprocess.Popen(
        [sys.executable, "-c", code], stderr=theirs, stdout=subprocess.PIPE, env=environment
    ) as process:
        os.close(theirs)
        shown = read_all(ours)
        assert process.stdout.read() == b""
    os.close(ours)

    assert process.returncode == 0
    assert re.search(r"b\.mrc: (measure|estimate|sum)", shown)
    result, *flags, report = shown[shown.index("b.mrc: motion") :].splitlines()
    assert "gain-residual" in result  # it was given no gain
    assert flags[-1].startswith("  gain-residual: ")
    assert report.startswith("report: ")
    assert "b.mrc: sum" not in "".join(flags)
