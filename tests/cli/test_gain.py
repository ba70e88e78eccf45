"""The commands about gain references, and what a run does with one that does not fit."""

from __future__ import annotations

import json

import mrcfile
import numpy as np
import pytest

from flexalign.io.movies.open_movie import open_movie
from flexalign.io.reference_images import read_image
from flexalign.io.references import load_references
from flexalign.io.star import star_loop, write_star
from flexalign.simulate import simulate_movie

SHAPE = (160, 192)
FAST = ("--pixel-size", 1.5, "--no-local", "--no-refine", "--no-psd", "--threads", 1)


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """A folder with three movies of one detector, and its gain flipped upside-down."""
    folder = tmp_path_factory.mktemp("session")
    movie = simulate_movie(
        shape_px=SHAPE, frame_count=4, seed=7, pixel_size_A=1.5, electrons_per_px=4.0,
        global_motion_px=2.0, local_motion_px=0.0,
    )  # fmt: skip
    sensitivity = 1 / movie.gain
    rng = np.random.default_rng(1)
    for i in range(3):
        counts = movie.counts if i == 0 else rng.poisson(4 * np.stack([sensitivity] * 4))
        with mrcfile.new(folder / f"m{i}.mrcs", data=counts.astype(np.int8)) as file:
            file.set_image_stack()
    mrcfile.write(folder / "right.mrc", movie.gain)
    mrcfile.write(folder / "flipped.mrc", np.ascontiguousarray(movie.gain[::-1]))
    other = np.exp(0.25 * rng.standard_normal(SHAPE)).astype(np.float32)
    mrcfile.write(folder / "other.mrc", other)
    return folder


def movies(session):
    return [session / f"m{i}.mrcs" for i in range(3)]


def test_check_gain_says_that_it_fits(run, session):
    outcome = run("check-gain", *movies(session), "--gain", session / "right.mrc")

    assert outcome.code == 0
    assert "the gain reference fits (unrotated, multiplies)" in outcome.out
    assert "<- as given" in outcome.out


def test_check_gain_says_how_to_turn_it_and_draws_it(run, session, tmp_path):
    plot = tmp_path / "check.png"

    outcome = run(
        "check-gain", session / "m0.mrcs", "--gain", session / "flipped.mrc", "--plot", plot
    )

    assert outcome.code == 3
    assert "use it with: --gain-rotate 0 --gain-flip upside-down\n" in outcome.out
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_check_gain_speaks_json(run, session):
    outcome = run("check-gain", session, "--gain", session / "flipped.mrc", "--json")

    found = json.loads(outcome.out)
    assert (found["verdict"], found["found"]["flip"]) == ("other", "upside-down")
    assert len(found["candidates"]) == 8


def test_check_gain_needs_a_gain_and_a_movie_that_can_be_read(run, session, tmp_path):
    (tmp_path / "x.mrcs").write_bytes(b"nothing" * 500)

    assert run("check-gain", session / "m0.mrcs").code == 2
    outcome = run("check-gain", tmp_path / "x.mrcs", "--gain", session / "right.mrc")
    assert outcome.code == 3
    assert "x.mrcs" in outcome.err


@pytest.mark.parametrize("count", [1, 3])
def test_a_gain_that_lies_otherwise_stops_the_run(run, session, tmp_path, count):
    out = tmp_path / "out"

    outcome = run(
        "align", *movies(session)[:count], "--out", out, "--gain", session / "flipped.mrc", *FAST,
        "--gain-check", "on",
    )  # fmt: skip

    assert outcome.code == 3
    assert outcome.err.count("does not fit as given") == 1
    assert "Give --gain-rotate 0 --gain-flip upside-down, or --gain-check auto" in outcome.err
    assert not list(out.glob("*_aligned_mic.mrc"))
    assert json.loads((out / "gain_check.json").read_text())["verdict"] == "other"
    assert (out / "gain_check.png").read_bytes().startswith(b"\x89PNG")


def test_a_gain_that_fits_nowhere_stops_the_run_unless_one_insists(run, session, tmp_path):
    out = tmp_path / "out"
    words = ("align", session / "m1.mrcs", "--out", out, "--gain", session / "other.mrc", *FAST)

    stopped = run(*words)
    insisted = run(*words, "--gain-check", "off")

    assert stopped.code == 3
    assert "fits in no orientation" in stopped.err
    assert "--gain-check off" in stopped.err
    assert insisted.code == 0


def test_auto_takes_the_orientation_found_and_goes_on_with_it_later(run, session, tmp_path):
    out = tmp_path / "out"
    words = ("align", *movies(session)[:2], "--out", out, "--gain", session / "flipped.mrc", *FAST)
    words = (*words, "--jobs", 0, "--gain-check", "auto")

    first = run(*words)
    again = run(*words, "--json")

    assert first.code == 0
    assert "continuing as with --gain-rotate 0 --gain-flip upside-down" in first.err
    record = json.loads((out / "m0_record.json").read_text())
    assert record["parameters"]["gain_flip"] == "upside-down"
    events = [json.loads(line) for line in again.out.splitlines()]
    assert [e["event"] for e in events if e["event"] == "gain"] == []
    assert events[-1]["done_before"] == 2


def test_events_tell_what_the_check_found(run, session, tmp_path):
    outcome = run(
        "align", *movies(session)[:2], "--out", tmp_path / "out", "--gain", session / "right.mrc",
        *FAST, "--jobs", 0, "--json",
    )  # fmt: skip

    event = next(e for e in map(json.loads, outcome.out.splitlines()) if e["event"] == "gain")
    assert event["verdict"] == "fits"
    assert "fits" in event["text"]


def test_what_was_found_is_not_kept_for_another_gain(run, session, tmp_path):
    words = ("align", session / "m0.mrcs", "--out", tmp_path, *FAST, "--overwrite")

    assert run(*words, "--gain", session / "right.mrc").code == 0
    assert run(*words, "--gain", session / "flipped.mrc").code == 3


def test_estimate_gain_makes_a_reference_that_fits(run, session, tmp_path):
    gain = tmp_path / "made.mrc"

    made = run("estimate-gain", *movies(session), "--out", gain, "--json")
    found = json.loads(made.out)
    image = read_image(gain)

    assert made.code == 0
    assert found["sense"] == "multiply"
    assert found["frame_count"] == 12
    assert image[image > 0].mean() == pytest.approx(1, abs=1e-3)
    assert run("check-gain", session / "m0.mrcs", "--gain", gain).code == 0


def test_estimate_gain_says_how_many_movies_it_needs(run, session, tmp_path):
    outcome = run("estimate-gain", session / "m1.mrcs", "--out", tmp_path / "made.mrc")

    assert "number of such movies for an error of: 2 %" in outcome.out
    assert "warning: too few movies" in outcome.out


def test_estimate_gain_keeps_files_and_refuses_names(run, session, tmp_path):
    taken = tmp_path / "made.mrc"
    taken.write_bytes(b"mine")

    assert run("estimate-gain", session / "m1.mrcs", "--out", taken).code == 3
    assert taken.read_bytes() == b"mine"
    assert run("estimate-gain", session / "m1.mrcs", "--out", tmp_path / "made.png").code == 2
    assert run("estimate-gain", session / "m1.mrcs", "--out", tmp_path / "made.gain").code == 2
    assert run("estimate-gain", session / "m1.mrcs", "--out", tmp_path / "no" / "x.mrc").code == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made.mrc"]


@pytest.mark.parametrize("suffix", [".gain", ".mrc", ".tif"])
def test_a_reference_made_of_eer_movies_is_used_as_programs_expect(run, tmp_path, suffix):
    movie = simulate_movie(
        shape_px=SHAPE, frame_count=4, seed=7, pixel_size_A=1.5, electrons_per_px=4.0
    )
    path = movie.save(tmp_path, "m", "eer")["movie"]
    out = tmp_path / f"made{suffix}"

    outcome = run("estimate-gain", path, "--out", out, "--eer-fractions", 4)

    assert outcome.code == 0
    assert ("divides" if suffix != ".gain" else "multiplies") in outcome.out
    with open_movie(path, eer_fractions=4) as reader:
        found = load_references(reader.info, gain=out).gain
    mean = movie.counts.mean(axis=0)
    assert np.corrcoef(found.ravel(), (1 / np.maximum(mean, 0.3)).ravel())[0, 1] > 0.9


def test_a_watched_folder_is_checked_when_its_first_movies_come(run, session, tmp_path):
    outcome = run(
        "watch", session, "--out", tmp_path / "out", "--pattern", "*.mrcs", "--settle", 0.1,
        "--poll", 0.2, "--idle", 1, "--gain", session / "flipped.mrc", "--jobs", 0, *FAST,
    )  # fmt: skip

    assert outcome.code == 3
    assert "Give --gain-rotate 0 --gain-flip upside-down" in outcome.err
    assert not list((tmp_path / "out").glob("*_record.json"))


def test_a_relion_job_is_checked_and_fails_as_relion_knows(run, session, tmp_path, monkeypatch):
    monkeypatch.chdir(session)
    optics = {"rlnOpticsGroup": [1], "rlnMicrographOriginalPixelSize": [1.5], "rlnVoltage": [300]}
    rows = {"rlnMicrographMovieName": ["m0.mrcs", "m1.mrcs"], "rlnOpticsGroup": [1, 1]}
    write_star(tmp_path / "movies.star", [star_loop("optics", optics), star_loop("movies", rows)])
    job = tmp_path / "job"

    outcome = run(
        "relion-job", "--in_movies", tmp_path / "movies.star", "--o", job, "--gain", "flipped.mrc"
    )

    assert outcome.code == 3
    assert "--gain-flip upside-down" in outcome.err
    assert (job / "RELION_JOB_EXIT_FAILURE").exists()
    assert not list(job.glob("*_record.json"))


def test_movies_of_which_too_little_is_known_stop_nothing(run, session, tmp_path):
    rng = np.random.default_rng(0)
    with mrcfile.new(
        tmp_path / "weak.mrcs", data=rng.poisson(0.3, (3, *SHAPE)).astype(np.int8)
    ) as f:
        f.set_image_stack()

    outcome = run(
        "align", tmp_path / "weak.mrcs", "--out", tmp_path / "out", *FAST,
        "--gain", session / "flipped.mrc",
    )  # fmt: skip

    assert outcome.code == 0
    assert "it is uncertain whether the gain reference fits" in outcome.err
    assert "movies like these are needed" in outcome.err
