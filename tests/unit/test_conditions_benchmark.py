"""benchmarks/conditions.py makes the movies that it names and counts what goes wrong."""

from __future__ import annotations

import json

import pytest
from scripts import benchmarks

from flexalign.simulate import OBJECTS, SPECIMENS


@pytest.fixture(scope="module")
def conditions():
    with benchmarks("conditions") as scripts:
        yield scripts["conditions"]


@pytest.fixture
def tiny(conditions, monkeypatch):
    """A condition that is made and aligned at once."""
    changes = {"shape_px": (128, 128), "frame_count": 4, "objects": ("gold-beads",),
               "electrons_per_px": 4.0, "pixel_size_A": 3.0}  # fmt: skip
    monkeypatch.setitem(conditions.CONDITIONS, "tiny", changes)
    return conditions.condition("tiny", 7)


def test_every_condition_has_settings_that_differ_and_can_be_made_smaller(conditions):
    made = [conditions.condition(name, 1) for name in conditions.CONDITIONS]

    assert len({one.code for one in made}) == len(made)
    assert conditions.condition("shadow", 1, 512).settings.shape_px == (512, 512)


def test_random_conditions_are_the_same_again_and_within_their_limits(conditions):
    made = [conditions.random_condition(seed, 1024).settings for seed in range(200)]

    assert made[3] == conditions.random_condition(3, 1024).settings
    assert all(512 <= size <= 1024 for one in made for size in one.shape_px)
    assert all(2 <= one.frame_count <= 400 for one in made)
    assert {one.specimen for one in made} == set(SPECIMENS)
    assert {name for one in made for name in one.objects} == set(OBJECTS)


def test_what_has_been_done_is_not_done_again(conditions, tiny, tmp_path):
    methods = ("none", "ours", "ours global")
    conditions.run([tiny], methods[:1], tmp_path, 1, keep=True)
    conditions.run([tiny], methods, tmp_path, 1, keep=False)
    conditions.run([tiny], methods, tmp_path, 1, keep=False)

    results = conditions.Store(tmp_path / "conditions.jsonl", conditions.Result).read()
    row = conditions.latest(results, [tiny])["tiny", 7]
    assert [result.method for result in results] == list(methods)
    assert list(tmp_path.iterdir()) == [tmp_path / "conditions.jsonl"]
    assert row["none"].rms_px > 1
    assert row["ours"].chosen
    assert all(json.loads(line)["code"] == tiny.code for line in open_lines(tmp_path))
    assert f"| tiny | 7 | {row['none'].rms_px:.3f} |" in conditions.table({("tiny", 7): row})


def open_lines(folder):
    return (folder / "conditions.jsonl").read_text().splitlines()


def test_a_program_that_fails_is_a_line_of_its_own(conditions, tiny, tmp_path, monkeypatch):
    def fails(*_):
        raise conditions.peers.PeerError("no micrograph")

    monkeypatch.setattr(conditions.peers, "run_relion", fails)
    conditions.run([tiny], ["RELION global", "RELION 5x5"], tmp_path, 1, keep=False)

    rows = conditions.latest(
        conditions.Store(tmp_path / "conditions.jsonl", conditions.Result).read(), [tiny]
    )
    assert [result.error for result in rows["tiny", 7].values()] == ["no micrograph"] * 2
    assert "| failed | failed |" in conditions.table(rows)


def test_the_attainable_motion_is_near_the_true_one_and_no_copy_of_it(
    conditions, tmp_path, monkeypatch
):
    changes = {"shape_px": (512, 512), "frame_count": 6, "electrons_per_px": 4.0,
               "pixel_size_A": 1.5, "local_motion_px": 0.0}  # fmt: skip
    monkeypatch.setitem(conditions.CONDITIONS, "rigid", changes)
    rigid = conditions.condition("rigid", 7)
    conditions.run([rigid], ["none", "attainable"], tmp_path, 1, keep=False)

    results = conditions.Store(tmp_path / "conditions.jsonl", conditions.Result).read()
    none, attainable = (result.rms_px for result in results)
    assert 1e-3 < attainable < 0.1 * none


@pytest.mark.parametrize(
    ("rms_px", "wrong"),
    [
        ({"none": 1.0, "ours": 0.3, "ours global": 0.4, "RELION 5x5": 0.5}, []),
        ({"none": 1.0, "ours": 1.5}, ["worse than none", "off by more than 5 stated errors"]),
        ({"none": 1.0, "ours": 0.4, "RELION global": 0.2}, ["worse than RELION"]),
        ({"none": 1.0, "ours": 0.4, "RELION global": None, "ours global": 0.2},
         ["worse than our global"]),
        ({"none": 1.0, "ours": 0.4, "attainable": 0.2, "RELION global": 0.5},
         ["over 0.7 of the best other and over 1.3 of the attainable"]),
        ({"none": 1.0, "ours": 0.3, "attainable": 0.2, "RELION global": 0.5}, []),
        ({"none": 1.0, "ours": 0.45, "attainable": 0.4, "RELION global": 0.5}, []),
        ({"none": 1.0, "ours": None}, ["failed"]),
        ({"none": 1.0}, []),
    ],
)  # fmt: skip
def test_what_went_wrong_is_counted(conditions, rms_px, wrong):
    row = {
        method: conditions.Result("x", 1, "", method, "", value, value, 0.1)
        for method, value in rms_px.items()
    }

    assert conditions.faults_of(row) == wrong
    said = conditions.summary({("x", 1): row})
    assert all(f"- {fault}: 1 of 1 (100.0%): x 1" in said for fault in wrong)
    assert said.count(": x 1") == len(wrong)


def test_only_movies_that_can_tell_are_counted(conditions):
    def row(**rms_px):
        return {
            method: conditions.Result("x", 1, "", method, "", value, value)
            for method, value in rms_px.items()
        }

    rows = {("x", 1): row(none=1.0, ours=2.0), ("x", 2): row(none=1.0, ours=0.5)}
    rows["x", 3] = {"none": rows["x", 1]["none"]}

    said = conditions.summary(rows)
    assert "Of 3 movies" in said
    assert "- worse than none: 1 of 2 (50.0%): x 1" in said
    assert "RELION" not in said
    assert "stated errors" not in said


def test_movies_of_too_many_samples_are_left_out(conditions, monkeypatch, tmp_path, capsys):
    asked = []
    monkeypatch.setattr(conditions, "run", lambda wanted, *_, **__: asked.extend(wanted))
    monkeypatch.setattr(
        "sys.argv",
        ["conditions", "--random", "40", "--max-samples", "0.05", "--cache", str(tmp_path)],
    )
    conditions.main()

    assert 0 < len(asked) < 40
    assert all(conditions.samples_Gpx(made) <= 0.05 for made in asked)
    assert "Of 0 movies" in capsys.readouterr().out
