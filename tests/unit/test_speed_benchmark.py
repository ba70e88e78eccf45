"""The accounts of benchmarks/speed.py are what they say."""

from __future__ import annotations

import sys

import mrcfile
import numpy as np
import pytest
from scripts import benchmarks

from flexalign.align import align_movie
from flexalign.io.movies.open_movie import open_movie
from flexalign.params import AlignParams
from flexalign.simulate import SimulationSettings, motion_error_px
from flexalign.simulate.motions import make_motion, truth_lattice

NAMES = ("account", "accuracy", "drifting", "peers", "scoring", "speed", "steps")
MB = 1_000_000
SETTINGS = SimulationSettings(shape_px=(384, 448), frame_count=6, local_motion_px=1.0)


@pytest.fixture(scope="module")
def modules():
    """The scripts, which are no package."""
    with benchmarks(*NAMES) as scripts:
        yield scripts


@pytest.fixture(scope="module")
def movies(modules, tmp_path_factory):
    """The same drifting texture in each format."""
    folder = tmp_path_factory.mktemp("movies")
    return {
        kind: modules["drifting"].make_movie(SETTINGS, folder / kind, kind, 8, threads=1)
        for kind in ("mrc", "tiff", "eer")
    }


def test_the_drifting_texture_moves_as_the_simulator_says(movies):
    params = AlignParams(pixel_size_A=1.0, gain=str(movies["mrc"].gain), threads=1)
    y, x = truth_lattice(SETTINGS.shape_px)
    motion = make_motion(SETTINGS)
    truth = {"displacement_px": motion.on_lattice(y, x), "lattice_y_px": y, "lattice_x_px": x}

    found = align_movie(movies["mrc"].movie, params)

    assert found.quality.chosen == "refined"
    assert motion_error_px(found.motion, truth).rms_px < 0.5


def test_a_drifting_texture_is_the_same_in_each_format(movies):
    frames = {}
    for kind, files in movies.items():
        with open_movie(files.movie, eer_fractions=SETTINGS.frame_count) as reader:
            frames[kind] = np.stack([raw.pixels for raw in reader.frames()]).astype(int)

    np.testing.assert_array_equal(frames["tiff"], frames["mrc"])
    # An electron is lost where another one falls into the same pixel and raw frame.
    assert 0.9 < frames["eer"].sum() / frames["mrc"].sum() < 1
    assert (frames["eer"] <= frames["mrc"]).all()


def test_the_gain_of_an_eer_movie_divides(movies):
    with mrcfile.open(movies["eer"].gain) as divides, mrcfile.open(movies["mrc"].gain) as times:
        np.testing.assert_allclose(divides.data * times.data, 1, rtol=1e-5)


def test_the_memory_of_a_program_is_not_that_of_the_one_that_starts_it(modules, tmp_path):
    of_the_starter = np.ones(200 * MB, np.uint8)
    watched = modules["peers"].watched

    small = watched([sys.executable, "-S", "-c", ""], tmp_path)
    large = watched([sys.executable, "-S", "-c", f"b'x' * {150 * MB}"], tmp_path)

    assert of_the_starter.all()
    assert small.peak_memory_bytes < 100 * MB
    assert 150 * MB < large.peak_memory_bytes < 200 * MB


def test_time_asleep_is_on_the_wall_only(modules, tmp_path):
    cost = modules["peers"].watched(["sleep", "0.5"], tmp_path)

    assert cost.seconds >= 0.5
    assert cost.cpu_s < 0.25


def test_a_program_that_fails_is_an_error_with_its_words(modules, tmp_path):
    peers = modules["peers"]

    with pytest.raises(peers.PeerError, match=r"code 3: out of luck"):
        peers.watched(["sh", "-c", "echo out of luck >&2; exit 3"], tmp_path)


@pytest.fixture(scope="module")
def account(modules, movies, tmp_path_factory):
    """One run on the MRC movie, without RELION."""
    speed, steps = modules["speed"], modules["steps"]
    files = movies["mrc"]
    params = speed.params_of(files, SETTINGS, threads=1)
    cost, record = speed.run_flexalign(files.movie, params)
    return modules["account"].Account(
        "small",
        "a small movie",
        [cost],
        [record],
        [steps.floor_s(files.movie, params, threads=1)],
        alike=[cost],
        inner=steps.inner_steps(files.movie, params, record, threads=1),
    )


def test_stages_add_up_to_the_whole_run(modules, account):
    stages = account.stages()

    assert {"first pass", "second pass", "pairwise", "refinement"} < set(stages)
    assert sum(stages.values()) == pytest.approx(account.seconds)
    assert stages[modules["steps"].OUTSIDE] > 0


def test_inner_steps_belong_to_stages_and_are_counted_once(account):
    assert set(account.inner) <= set(account.stages())
    names = [step.name for step in account.inner["second pass"]]
    assert len(set(names)) == len(names)
    assert {"weighted sum of the sums, and back", "correct, prefilter, sample, sums"} < set(names)
    assert "correct, filter, sum" in [step.name for step in account.inner["first pass"]]


def test_a_run_takes_longer_than_its_floor(account):
    assert 0 < account.floor_s < account.seconds


def test_the_plan_foresees_about_the_memory_that_is_held(account):
    assert 0.5 < account.peak_bytes / account.planned_bytes < 2


def test_programs_are_compared_run_by_run(modules, account):
    watched = modules["peers"].Watched
    # The machine is slower in the second run: medians taken apart would say 4.
    slow = modules["account"].Account(
        "x",
        "",
        ours=[watched(seconds, 1.0, MB) for seconds in (1.0, 10.0, 2.0)],
        records=account.records,
        floors_s=[0.5, 5.0, 1.0],
        relion=[watched(seconds, 1.0, 2 * MB) for seconds in (3.0, 20.0, 8.0)],
        alike=[watched(seconds, 1.0, MB) for seconds in (0.5, 5.0, 2.0)],
    )

    assert slow.relion_over(slow.ours) == 3.0
    assert slow.over_floor(slow.ours) == 2.0
    assert "| x | 2.0 | 1.0 | 2.00 | 8.0 | 3.00 | 2.0 | 1.00 | 4.00 |" in modules[
        "account"
    ].summary([slow])


def test_the_tables_show_every_stage_and_step(modules, account):
    text = modules["account"].stage_table(account)

    for stage, steps in account.inner.items():
        assert f"| **{stage}** |" in text
        assert all(f"| - {step.name} |" in text for step in steps)
    assert "| small |" in modules["account"].summary([account])


def test_movies_of_the_accuracy_benchmark_are_taken_when_complete(modules, tmp_path):
    accuracy, speed = modules["accuracy"], modules["speed"]
    code = accuracy.code_of(accuracy.settings_of("k2", 102))
    folder = tmp_path / f"k2_102_{code}"
    folder.mkdir()
    (folder / "movie.mrc").write_bytes(b"not complete without its truth")

    assert speed.simulated("k2", tmp_path) is None
    (folder / "movie_truth.npz").touch()
    assert speed.movie_of("k2", tmp_path, threads=1).movie == folder / "movie.mrc"
