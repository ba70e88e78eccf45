"""Starting costs little: no numerical library is loaded before a command runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest

HEAVY = (
    "numpy",
    "scipy",
    "numba",
    "matplotlib",
    "tifffile",
    "imagecodecs",
    "mrcfile",
    "pandas",
    "cupy",
)
LOADED = """
import json, sys
try:
    sys.argv = ["flexalign", *{words}]
    {code}
except SystemExit:
    pass
sys.stderr.write(json.dumps(sorted(sys.modules)))
"""


def _modules_after(code: str, words: tuple[str, ...] = ()) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after `code`."""
    script = LOADED.format(words=words, code=code)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return {name.partition(".")[0] for name in json.loads(done.stderr)}


@pytest.mark.parametrize("words", [("--help",), ("--version",), ("align", "--help")])
def test_help_and_version_load_no_numerical_library(words):
    loaded = _modules_after("from flexalign.cli import main; main()", words)

    assert "flexalign" in loaded
    assert loaded.isdisjoint(HEAVY)


def test_a_report_is_made_without_the_libraries_that_compute_and_draw(tmp_path):
    (tmp_path / "failed.tsv").write_text("movie\ttype\treason\twhat to do\nm\tinput\tr\ta\n")
    loaded = _modules_after("from flexalign.cli import main; main()", ("report", str(tmp_path)))

    assert (tmp_path / "report.html").exists()
    assert loaded.isdisjoint({"numba", "cupy", "matplotlib"})


def test_importing_the_package_loads_nothing_but_itself():
    loaded = _modules_after("import flexalign; flexalign.__version__, flexalign.AlignParams")

    assert loaded.isdisjoint((*HEAVY, "typer", "rich"))


def test_the_version_comes_sooner_than_the_heavy_libraries_would_load():
    def fastest_s(*words: str) -> float:
        seconds = []
        for _ in range(3):
            start = time.perf_counter()
            subprocess.run([sys.executable, *words], check=True, capture_output=True)
            seconds.append(time.perf_counter() - start)
        return min(seconds)

    version_s = fastest_s(
        "-c", "import sys; sys.argv[1:] = ['--version']; import flexalign.cli as f; f.main()"
    )
    heavy_s = fastest_s("-c", "import numba, scipy.fft, scipy.linalg, matplotlib.figure, tifffile")

    assert version_s < 0.6 * heavy_s


def test_the_version_is_that_of_the_package(run):
    import flexalign

    assert run("--version").out == f"flexalign {flexalign.__version__}\n"


def test_help_names_every_command(run):
    text = run("--help").out

    assert all(command in text for command in ("align", "plan", "simulate", "demo"))


def test_without_words_help_is_shown(run):
    outcome = run()

    assert "Usage" in outcome.out + outcome.err


@pytest.mark.slow
def test_processes_that_start_at_once_share_one_cache_of_compiled_loops(tmp_path):
    """As the workers of a run do on the first day; none may find what another has half written."""
    work = (
        "import numpy as np, zlib;"
        "from flexalign.arrays import resample; from flexalign.arrays.kernels import warp;"
        "image = np.random.default_rng(0).random((64, 64), dtype=np.float32);"
        "found = resample.spline_coefficients(image);"
        "print(zlib.crc32(found.tobytes()), sum(warp.filter_tile.stats.cache_hits.values()))"
    )
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}

    def start():
        return subprocess.Popen(
            [sys.executable, "-c", work], env=environment, stdout=subprocess.PIPE, text=True
        )

    said = [process.communicate()[0].split() for process in [start() for _ in range(4)]]
    later = start().communicate()[0].split()

    assert len({words[0] for words in [*said, later]}) == 1
    assert later[1] == "1"


@pytest.mark.parametrize("command", ["align", "watch"])
def test_a_command_alone_shows_the_first_options_and_where_the_others_are(run, command):
    alone, whole = run(command), run(command, "--help")

    shown = alone.out + alone.err
    first = ("--out", "--pixel-size", "--voltage", "--dose-per-frame", "--gain ")
    assert all(option in shown for option in first)
    assert "--max-shift" not in shown
    assert f"more options, in groups: flexalign {command} --help" in shown
    places = [whole.out.index(option) for option in (*first, "--jobs", "--max-shift")]
    assert max(places[:5]) < min(places[5:])
