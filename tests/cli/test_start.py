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


def _modules_after(
    code: str, words: tuple[str, ...] = (), *, whole_names: bool = False
) -> set[str]:
    """Modules that a fresh interpreter has loaded after `code`, by default those of the top."""
    script = LOADED.format(words=words, code=code)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    names = json.loads(done.stderr.splitlines()[-1])
    return set(names) if whole_names else {name.partition(".")[0] for name in names}


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


# What an alignment on the CPU does not need.
OTHERS = {
    "cupy", "cupyx", "dask", "distributed", "pandas", "plotly", "rich", "watchfiles", "ncempy",
    "scipy.integrate", "scipy.interpolate", "scipy.io", "scipy.optimize", "scipy.signal",
    "scipy.stats", "numba.cuda", "matplotlib.pyplot", "flexalign.batch.local_processes",
    "flexalign.compat", "flexalign.scoring", "flexalign.simulate", "flexalign.tilts",
}  # fmt: skip
DRAWING = {"matplotlib", "PIL", "jinja2", "scipy.spatial"}


def test_an_alignment_on_the_cpu_loads_no_library_that_it_does_not_need(movie_folder, tmp_path):
    out = tmp_path / "out"
    words = ("align", str(movie_folder / "a.tiff"), "--out", str(out), "--device", "cpu",
             "--pixel-size", "1.5", "--no-psd", "--no-local", "--no-refine")  # fmt: skip
    loaded = _modules_after("from flexalign.cli import main; main()", words, whole_names=True)

    assert (out / "a_record.json").exists()
    assert {"numba", "scipy.fft", *DRAWING} <= loaded
    assert loaded.isdisjoint(OTHERS)


def test_a_plan_loads_no_library_that_computes_or_draws(movie_folder):
    words = ("plan", str(movie_folder / "a.tiff"), "--pixel-size", "1.5")
    loaded = _modules_after("from flexalign.cli import main; main()", words, whole_names=True)

    assert loaded.isdisjoint(OTHERS | DRAWING)


def test_the_start_of_the_program_is_shown_apart_from_the_alignment(run, movie_folder, tmp_path):
    outcome = run("align", movie_folder / "a.tiff", "--out", tmp_path, "--pixel-size", "1.5")

    timings_s = json.loads((tmp_path / "a_record.json").read_text())["timings_s"]
    total_s = sum(seconds for stage, seconds in timings_s.items() if stage != "start-up")
    assert timings_s["start-up"] > 0
    assert f", {total_s:.1f} s, start-up {timings_s['start-up']:.1f} s" in outcome.err
