"""Whole series through the command line, read back with the readers of other programs."""

from __future__ import annotations

import csv
import json
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import mdocfile
import mrcfile
import numpy as np
import pytest
from tilts_data import (
    AXIS_DEG,
    DOSE,
    PIXEL_A,
    SHAPE_PX,
    Section,
    angle_of,
    dose_symmetric,
    write_mdoc,
    write_movie,
    write_series,
)


def read_stack(path: Path) -> tuple[np.ndarray, list[float]]:
    """The images, and the angles as IMOD finds them in the extended header."""
    with mrcfile.open(path) as file:
        assert file.header.exttyp == b"SERI"
        raw = path.read_bytes()
        assert struct.unpack_from("<2h", raw, 128) == (2, 1)
        count = int(file.header.nz)
        angles = struct.unpack_from(f"<{count}h", raw, 1024)
        images = np.array(file.data).reshape(count, *file.data.shape[-2:])
        return images, [angle / 100 for angle in angles]


def left_out(out: Path) -> dict[str, str]:
    """Kind of each exposure that is left out, by the name of its movie."""
    with (out / "left_out.csv").open() as file:
        return {Path(row["movie"]).name: row["kind"] for row in csv.DictReader(file)}


def check_tables(out: Path, name: str, angles: list[float], orders: list[int]) -> None:
    """All that a stack says of itself, in each format: angles, order of exposure and dose."""
    stack, in_header = read_stack(out / f"{name}.mrc")
    rawtlt = [float(word) for word in (out / f"{name}.rawtlt").read_text().split()]
    aretomo = [line.split() for line in (out / f"{name}_TLT.txt").read_text().splitlines()]
    mdoc = mdocfile.read(out / f"{name}.mrc.mdoc")

    assert in_header == rawtlt == [float(row[0]) for row in aretomo] == angles
    assert mdoc["TiltAngle"].tolist() == angles == sorted(angles)
    assert mdoc["ZValue"].tolist() == list(range(len(angles)))
    assert [int(row[1]) for row in aretomo] == orders
    assert [float(row[2]) for row in aretomo] == [DOSE] * len(angles)
    assert mdoc["PriorRecordDose"].tolist() == [DOSE * (order - 1) for order in orders]
    assert mdoc["ExposureDose"].tolist() == [DOSE] * len(angles)
    assert set(map(str, mdoc["ImageFile"])) == {f"{name}.mrc"}
    assert set(mdoc["PixelSpacing"]) == {PIXEL_A}
    assert len(stack) == len(angles)
    # Each image is that of its angle: its mean counts say so.
    assert [angle_of(image) for image in stack] == pytest.approx(angles, abs=1.4)
    of_movies = [float(Path(path.name).stem.split("_")[-1]) for path in mdoc["SubFramePath"]]
    assert of_movies == pytest.approx(angles, abs=0.05)


@pytest.mark.parametrize("layout", ["serialem", "tomo5", "pace"])
def test_a_series_in_each_layout_becomes_a_stack_sorted_by_angle(tmp_path, run, layout):
    mdoc = write_series(tmp_path / "in", layout=layout)

    code, _, err = run(mdoc, "--out", tmp_path / "out")

    assert code == 0, err
    check_tables(tmp_path / "out", "TS_1", [-9, -6, -3, 0, 3, 6, 9], [7, 4, 3, 1, 2, 5, 6])
    even, _ = read_stack(tmp_path / "out" / "TS_1_EVN.mrc")
    odd, _ = read_stack(tmp_path / "out" / "TS_1_ODD.mrc")
    whole, _ = read_stack(tmp_path / "out" / "TS_1.mrc")
    np.testing.assert_allclose((even + odd) / 2, whole, rtol=1e-4, atol=1e-3)
    with mrcfile.open(tmp_path / "out" / "TS_1.mrc") as file:
        assert file.voxel_size.x == pytest.approx(PIXEL_A)
        assert file.data.dtype == np.float32
        labels = [label.decode().strip() for label in file.header.label]
        assert mrcfile.validate(tmp_path / "out" / "TS_1.mrc", print_file=sys.stderr)
    assert f"Tilt axis angle = {AXIS_DEG}, binning = 1" in labels
    assert not (tmp_path / "out" / "TS_1_DW.mrc").exists()
    # The files of the single movies are gone, as the stack has them.
    assert not list((tmp_path / "out" / "tilts").glob("*.mrc"))


def damaged_series(folder: Path) -> Path:
    """A dose-symmetric series that was resumed, with one tilt of each kind of trouble.

    The entries are out of order in the file, paths are those of Windows in another folder, and some
    optional items are missing.
    """
    sections = []
    for number, angle in enumerate(dose_symmetric(11)):
        name = f"TS_{number + 1:03}_{angle:.1f}.mrcs"
        write_movie(folder / "frames" / name, angle, counts=3.0)
        # The second half was written after a break, with numbers from 0 on.
        later = number >= 6
        seconds = 60.0 * number + (7200 if later else 0)
        sections.append(Section(angle, name, number - 6 * later, seconds))
    again = write_movie(folder / "frames" / "TS_012_3.0.mrcs", 3.02)
    sections.append(Section(3.02, again.name, 5, 60 * 12 + 7200))
    frames = folder / "frames"
    (frames / sections[4].name).unlink()  # 6: missing
    broken = frames / sections[5].name  # 9: cut short by a third
    broken.write_bytes(broken.read_bytes()[: broken.stat().st_size * 2 // 3])
    write_movie(frames / sections[8].name, sections[8].angle, counts=0.05)  # 12: dark
    return write_mdoc(folder / "TS.mdoc", sections[::-1], leave=("StagePosition", "MinMaxMean"))


def test_each_trouble_costs_its_tilt_alone_and_is_named(tmp_path, run):
    mdoc = damaged_series(tmp_path / "in")
    angles = dose_symmetric(11)
    names = [f"TS_{i + 1:03}_{a:.1f}.mrcs" for i, a in enumerate(angles)]

    code, _, err = run(mdoc, "--out", tmp_path / "out")

    assert code == 1  # tilts are lost
    kinds = {names[1]: "re-shot", names[4]: "missing", names[5]: "unreadable", names[8]: "dark"}
    assert left_out(tmp_path / "out") == kinds
    for name, kind in kinds.items():
        assert f"left out, {kind}: exposure {names.index(name) + 1}" in err
        assert name in err
    used = {angle: order for order, angle in enumerate(angles, 1) if names[order - 1] not in kinds}
    used[3.02] = 12
    kept = sorted(used)
    check_tables(tmp_path / "out", "TS", kept, [used[angle] for angle in kept])
    record = json.loads((tmp_path / "out" / "TS_record.json").read_text())
    assert {t["movie_name"]: t["left_out"] for t in record["series"]["tilts"]
            if t["left_out"]} == kinds  # fmt: skip
    assert [t["pre_exposure_e_A2"] for t in record["series"]["tilts"]] == [
        DOSE * i for i in range(12)
    ]


def test_dry_run_says_how_the_series_was_understood_and_reads_no_pixel(tmp_path, run):
    mdoc = damaged_series(tmp_path / "in")

    code, out, _ = run(mdoc, "--out", tmp_path / "out", "--dry-run")

    rows = [line for line in out.splitlines() if "TS_0" in line]
    assert code == 1  # as of the run itself: tilts are lost
    assert [float(row.split()[4]) for row in rows] == [*dose_symmetric(11), 3.02]
    assert [float(row.split()[6]) for row in rows] == [DOSE * i for i in range(12)]
    assert [row.split()[0] for row in rows] == [str(i) for i in range(1, 13)]
    assert sum("[left out, " in row for row in rows) == 3
    assert not (tmp_path / "out").exists()


def test_a_failed_tilt_shifts_no_angle_and_ends_nothing(tmp_path, run):
    """A movie whose header is whole and whose frames are blank fails only when it is aligned."""
    mdoc = write_series(tmp_path / "in")
    with mrcfile.open(tmp_path / "in" / "TS_1_003_-3.0.mrcs", "r+") as file:
        file.data[:] = 0
    write_series(tmp_path / "in", "TS_2", [0.0, 3.0])

    code, _, err = run(tmp_path / "in", "--out", tmp_path / "out")

    assert code == 1, err
    assert left_out(tmp_path / "out") == {"TS_1_003_-3.0.mrcs": "failed"}
    check_tables(tmp_path / "out", "TS_1", [-9, -6, 0, 3, 6, 9], [7, 4, 1, 2, 5, 6])
    check_tables(tmp_path / "out", "TS_2", [0, 3], [1, 2])
    _, _, err = run(mdoc, "--out", tmp_path / "out")
    assert "TS_1: done before" in err
    code, _, err = run(mdoc, "--out", tmp_path / "out", "--retry-failed")
    assert code == 1
    assert "TS_1: 6 images" in err


def test_a_series_that_cannot_be_read_costs_no_other(tmp_path, run):
    write_series(tmp_path / "in")
    (tmp_path / "in" / "TS_0.mdoc").write_text("[ZValue = 0]\nTiltAngle = no\n")
    write_mdoc(
        tmp_path / "in" / "TS_9.mdoc", [Section(0, "gone.mrc", 0, 0), Section(3, "g.mrc", 1, 9)]
    )

    code, _, err = run(tmp_path / "in", tmp_path / "in" / "TS_0.mdoc", "--out", tmp_path / "out")

    assert code == 1
    check_tables(tmp_path / "out", "TS_1", [-9, -6, -3, 0, 3, 6, 9], [7, 4, 3, 1, 2, 5, 6])
    failed = (tmp_path / "out" / "failed.tsv").read_text().splitlines()[1:]
    assert sorted(Path(line.split("\t")[0]).name for line in failed) == ["TS_0.mdoc", "TS_9.mdoc"]
    assert "TS_9.mdoc" in err


def test_a_series_that_is_done_is_not_done_again_and_a_changed_one_is(tmp_path, run):
    mdoc = write_series(tmp_path / "in", angles=[0.0, 3.0, -3.0])
    run(mdoc, "--out", tmp_path / "out")
    stack = tmp_path / "out" / "TS_1.mrc"
    before = stack.stat().st_mtime_ns

    code, _, err = run(mdoc, "--out", tmp_path / "out")
    assert (code, stack.stat().st_mtime_ns) == (0, before)
    assert "TS_1: done before" in err

    mdoc.write_text(mdoc.read_text().replace("TiltAngle = 3\n", "TiltAngle = 4\n"))
    assert run(mdoc, "--out", tmp_path / "out")[0] == 0
    assert read_stack(stack)[1] == [-3.0, 0.0, 4.0]


def test_a_run_that_was_killed_goes_on_with_the_tilts_that_are_left(tmp_path, run):
    mdoc = write_series(tmp_path / "in", angles=dose_symmetric(9))
    words = ["tilt-series", mdoc, "--out", tmp_path / "out", "--jobs", "1", "--no-refine"]
    tilts = tmp_path / "out" / "tilts"
    with subprocess.Popen(
        [sys.executable, "-m", "flexalign", *map(str, words)], stderr=subprocess.DEVNULL
    ) as process:
        while len(list(tilts.glob("*_record.json"))) < 3:
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    done = {path: path.stat().st_mtime_ns for path in tilts.glob("*_record.json")}
    assert 3 <= len(done) < 9

    code, _, err = run(mdoc, "--out", tmp_path / "out")

    assert code == 0, err
    assert all(path.name.removesuffix("_record.json") + ".mrcs: " not in err for path in done)
    check_tables(tmp_path / "out", "TS_1", sorted(dose_symmetric(9)), [8, 7, 4, 3, 1, 2, 5, 6, 9])


def test_a_file_of_somebody_else_stays_and_fails_its_series_alone(tmp_path, run):
    write_series(tmp_path / "in", "A", [0.0, 3.0])
    write_series(tmp_path / "in", "B", [0.0, 3.0])
    (tmp_path / "out").mkdir()
    foreign = tmp_path / "out" / "A.rawtlt"
    foreign.write_text("mine")

    code, _, err = run(tmp_path / "in", "--out", tmp_path / "out")

    assert code == 1
    assert foreign.read_text() == "mine"
    assert not (tmp_path / "out" / "A.mrc").exists()
    assert "A.rawtlt" in err
    check_tables(tmp_path / "out", "B", [0, 3], [1, 2])


def test_what_is_asked_for_is_written_and_what_is_not_is_not(tmp_path, run):
    mdoc = write_series(tmp_path / "in", angles=[0.0, 3.0])

    code, _, err = run(
        mdoc, "--out", tmp_path / "out", "--dose-weight", "--no-odd-even", "--float16",
        "--save-tilts", "--tilt-axis", "-12.5", "--binning", "2",
    )  # fmt: skip

    assert code == 0, err
    out = tmp_path / "out"
    assert not list(out.glob("*_EVN.mrc")) + list(out.glob("*_ODD.mrc"))
    weighted, _ = read_stack(out / "TS_1_DW.mrc")
    assert weighted.dtype == np.float16
    assert weighted.shape == (2, SHAPE_PX[0] // 2, SHAPE_PX[1] // 2)
    with mrcfile.open(out / "TS_1.mrc") as file:
        assert file.voxel_size.x == pytest.approx(2 * PIXEL_A)
    assert "Tilt axis angle = -12.5" in (out / "TS_1.mrc.mdoc").read_text()
    assert (out / "tilts" / "TS_1_001_0.0_aligned_mic.mrc").exists()


def test_weights_follow_the_dose_of_all_earlier_exposures(tmp_path, run):
    mdoc = damaged_series(tmp_path / "in")

    run(mdoc, "--out", tmp_path / "out", "--dose-weight")

    record = json.loads((tmp_path / "out" / "TS_record.json").read_text())
    by_movie = {t["movie"]: t["order"] for t in record["series"]["tilts"]}
    for movie, kept in record["movies"].items():
        assert kept["parameters"]["pre_exposure_e_A2"] == DOSE * (by_movie[movie] - 1)
        assert kept["parameters"]["dose_per_frame_e_A2"] == pytest.approx(DOSE / 4)


@pytest.mark.parametrize("option", ["--gain", "--dark", "--defects", "--eer-groups"])
def test_a_reference_that_is_missing_leaves_no_folder(tmp_path, run, option):
    mdoc = write_series(tmp_path / "in", angles=[0.0, 3.0])

    code, _, err = run(mdoc, "--out", tmp_path / "out", option, tmp_path / "nowhere.mrc")

    assert code == 3
    assert "nowhere.mrc: no such file" in err
    assert not (tmp_path / "out").exists()


def test_a_typed_dose_wins(tmp_path, run):
    mdoc = write_series(tmp_path / "in", angles=[0.0, 3.0], leave=("ExposureDose",))

    _, unknown, _ = run(mdoc, "--out", tmp_path / "out", "--dry-run")
    _, typed, _ = run(mdoc, "--out", tmp_path / "out", "--dry-run", "--tilt-dose", "2.5")

    assert "the dose is not known" in unknown
    assert typed.splitlines()[3].split()[5:7] == ["2.50", "2.50"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--tilt-dose", "0"], 2, "--tilt-dose: expected more than 0"),
        (["--tilt-axis", "999"], 2, "--tilt-axis: expected"),
        (["--name-pattern", "{series}_x"], 2, "--name-pattern: expected"),
        (["--eer-dose-per-frame", "-1"], 2, "--eer-dose-per-frame"),
        (["--movies", "gone"], 3, "gone: no such folder of movies"),
    ],
)
def test_a_wrong_option_is_said_and_nothing_written(tmp_path, run, words, code, said):
    write_series(tmp_path / "in", angles=[0.0, 3.0])

    found, _, err = run(tmp_path / "in", "--out", tmp_path / "out", *words)

    assert found == code
    assert said in err
    assert "Traceback" not in err
    assert not (tmp_path / "out").exists()


def test_a_folder_without_series_is_an_error(tmp_path, run):
    code, _, err = run(tmp_path, "--out", tmp_path / "out")

    assert code == 3
    assert "expected tilt series" in err


def twice_shot(folder: Path, break_later: Callable[[Path], object]) -> Path:
    """A series of five tilts whose third angle was shot three times, the last movie broken."""
    sections = []
    for number, angle in enumerate([*dose_symmetric(5), -3.0, -3.01]):
        name = f"TS_{number + 1:03}_{angle:.1f}.mrcs"
        write_movie(folder / name, angle)
        sections.append(Section(angle, name, number, 60.0 * number))
    break_later(folder / sections[-1].name)
    return write_mdoc(folder / "TS.mdoc", sections)


def cut_short(path: Path) -> None:
    """Leave half of the header."""
    path.write_bytes(path.read_bytes()[:500])


def without_signal(path: Path) -> None:
    """Leave all frames blank."""
    with mrcfile.open(path, "r+") as file:
        file.data[:] = 0


@pytest.mark.parametrize("refine", [False, True])
@pytest.mark.parametrize(
    ("broken", "kind", "exit_code"),
    [
        (Path.unlink, "missing", 0),
        (cut_short, "unreadable", 0),
        (without_signal, "failed", 1),
        (lambda path: write_movie(path, -3.01, counts=0.05), "dark", 0),
    ],
)
def test_an_earlier_exposure_replaces_a_later_one_that_is_lost(
    tmp_path, run, broken, kind, exit_code, refine
):
    mdoc = twice_shot(tmp_path / "in", broken)

    code, _, err = run(mdoc, "--out", tmp_path / "out", refine=refine)

    assert code == exit_code, err
    check_tables(tmp_path / "out", "TS", [-6, -3, 0, 3, 6], [4, 6, 1, 2, 5])
    assert left_out(tmp_path / "out") == {"TS_003_-3.0.mrcs": "re-shot", "TS_007_-3.0.mrcs": kind}
    assert "exposure 6 of this angle is used instead" in err
    assert run(mdoc, "--out", tmp_path / "out", refine=refine)[2].startswith("TS: done before")


def test_an_earlier_exposure_that_was_used_is_aligned_again_once_it_has_changed(tmp_path, run):
    mdoc = twice_shot(tmp_path / "in", without_signal)
    words = (mdoc, "--out", tmp_path / "out")
    run(*words)
    before = read_stack(tmp_path / "out" / "TS.mrc")[0]
    write_movie(tmp_path / "in" / "TS_006_-3.0.mrcs", -3.0, counts=6.0)

    _, _, err = run(*words)

    assert "TS_006_-3.0.mrcs: motion" in err
    after = read_stack(tmp_path / "out" / "TS.mrc")[0]
    assert [image.mean() for image in after] == pytest.approx(
        [image.mean() * (2 if n == 1 else 1) for n, image in enumerate(before)], rel=0.05
    )


def test_tilts_are_kept_of_a_series_that_was_done_without_them(tmp_path, run):
    mdoc = write_series(tmp_path / "in", angles=[0.0, 3.0])
    run(mdoc, "--out", tmp_path / "out")
    tilts = tmp_path / "out" / "tilts"
    assert not list(tilts.glob("*_record.json"))

    code, _, err = run(mdoc, "--out", tmp_path / "out", "--save-tilts")
    assert code == 0, err
    assert len(list(tilts.glob("*_mic.mrc"))) == 2
    assert (tilts / "report.html").exists()
    assert "done before" in run(mdoc, "--out", tmp_path / "out", "--save-tilts")[2]
    assert "done before" in run(mdoc, "--out", tmp_path / "out")[2]
    assert len(list(tilts.glob("*_mic.mrc"))) == 2


def test_other_outputs_of_a_series_that_is_done_are_written(tmp_path, run):
    mdoc = write_series(tmp_path / "in", angles=[0.0, 3.0])
    out = tmp_path / "out"
    run(mdoc, "--out", out, "--no-odd-even")
    assert not (out / "TS_1_EVN.mrc").exists()

    assert run(mdoc, "--out", out, "--float16", "--dose-weight")[0] == 0

    for name in ("TS_1", "TS_1_EVN", "TS_1_ODD", "TS_1_DW"):
        assert read_stack(out / f"{name}.mrc")[0].dtype == np.float16
    assert run(mdoc, "--out", out, "--no-odd-even")[0] == 0
    assert not (out / "TS_1_EVN.mrc").exists()
    assert not (out / "TS_1_DW.mrc").exists()


def test_the_exit_code_is_that_of_the_series_that_were_named(tmp_path, run):
    lacking = write_series(tmp_path / "in", "A", [0.0, 3.0])
    whole = write_series(tmp_path / "in", "B", [0.0, 3.0])
    (tmp_path / "in" / "A_002_3.0.mrcs").unlink()

    named = ([lacking], [whole], [lacking, whole])

    found = [run(*words, "--out", tmp_path / "out") for words in named]

    assert [code for code, _, _ in found] == [1, 0, 1]
    assert found[2][2].splitlines()[:2] == [
        "A: done before, tilts that are lost: 1, see left_out.csv", "B: done before",
    ]  # fmt: skip


def test_events_say_how_each_series_went(tmp_path, run):
    write_series(tmp_path / "in", "A", [0.0, 3.0])
    damaged = damaged_series(tmp_path / "in2")
    (tmp_path / "in" / "B.mdoc").write_text("[ZValue = 0]\nTiltAngle = no\n")
    words = (tmp_path / "in", tmp_path / "in" / "B.mdoc", damaged, "--out", tmp_path / "out")

    def series_events() -> dict[str, list[dict]]:
        found: dict[str, list[dict]] = {}
        for line in run(*words, "--json")[1].splitlines():
            event = json.loads(line)
            found.setdefault(event["event"], []).append(event)
        return found

    first, second = series_events(), series_events()

    assert list(first)[-1] == list(second)[-1] == "finished"

    done = {event["series"]: event for event in first["series-done"]}
    assert done["A"]["images"] == done["A"]["exposures"] == 2
    assert done["A"]["outputs"]["stack"] == "A.mrc"
    assert {row["kind"] for row in done["TS"]["left_out"]} == {
        "re-shot", "missing", "unreadable", "dark"
    }  # fmt: skip
    assert done["TS"]["lost"] == 2
    (failed,) = first["series-failed"]
    assert failed["source"].endswith("B.mdoc")
    assert failed["type"] == "input"
    assert {event["series"]: event["lost"] for event in second["series-skipped"]} == {
        "A": 0, "TS": 2,
    }  # fmt: skip


def test_results_beside_the_source_are_no_series_and_hide_none(tmp_path, run):
    write_series(tmp_path, angles=[0.0, 3.0])

    first = run(tmp_path, "--out", tmp_path)
    again = run(tmp_path, "--out", tmp_path)

    assert (first[0], again[0]) == (0, 0), first[2] + again[2]
    check_tables(tmp_path, "TS_1", [0, 3], [1, 2])
    assert "TS_1: done before" in again[2]


def test_where_nothing_can_be_read_nothing_is_written(tmp_path, run):
    code, _, err = run(tmp_path / "gone.mdoc", "--out", tmp_path / "out")

    assert code == 3
    assert err.count("gone.mdoc") == 1
    assert not (tmp_path / "out").exists()
