"""benchmarks/error_rates.py counts what the program says wrongly, and it says little of that."""

from __future__ import annotations

from dataclasses import replace

import pytest
from scripts import benchmarks


@pytest.fixture(scope="module")
def rates():
    with benchmarks("error_rates") as scripts:
        yield scripts["error_rates"]


@pytest.fixture
def verdict(rates):
    """A movie that moved by 5 px and of which the motion was found."""
    return rates.Verdict(
        "moving", 512, 8, 1.0, 1, "", chosen="refined", flags=(), bound_px=None, extent_px=5.0,
        before_px=2.0, after_px=0.3, told_px=0.3, stated_px=0.2,
    )  # fmt: skip


WRONG = [
    ("a motion kept without any specimen", {"situation": "flat"}),
    ("a motion kept of a specimen at rest", {"situation": "still", "before_px": 0.0}),
    ("none kept where RELION found one",
     {"chosen": "none", "after_px": 2.0, "stated_px": None, "peer_px": 0.5}),
    ("the motion kept worse than none", {"after_px": 2.2}),
    ("farther than the bound of *still*",
     {"chosen": "none", "flags": ("still",), "bound_px": 2.0, "stated_px": None}),
    ("off by more than 5 stated errors, not *unsafe-motion*", {"stated_px": 0.04}),
    ("a warning or problem without cause", {"flags": ("fixed-pattern",)}),
]  # fmt: skip
RIGHT = [
    {},
    {"situation": "flat", "chosen": "none", "after_px": 0.0, "flags": ("no-signal",)},
    {"situation": "still", "chosen": "none", "before_px": 0.0, "after_px": 0.0, "bound_px": 1.0,
     "flags": ("still",), "extent_px": 0.0},
    {"chosen": "none", "after_px": 2.0, "peer_px": 1.9, "flags": ("uncorrected",)},
    {"stated_px": 0.04, "flags": ("unsafe-motion",)},
    {"situation": "still-pattern", "chosen": "none", "before_px": 0.0, "after_px": 0.0,
     "flags": ("fixed-pattern",)},
]  # fmt: skip


def faults(rates, verdict):
    return [name for name, is_wrong in rates.WRONG.items() if is_wrong(verdict)]


@pytest.mark.parametrize(("name", "changes"), WRONG, ids=[name for name, _ in WRONG])
def test_what_is_wrong_is_counted(rates, verdict, name, changes):
    wrong = replace(verdict, **changes)
    expected = {name, "a warning or problem without cause"} if "unsafe" in str(changes) else {name}

    assert set(faults(rates, wrong)) == expected
    assert f"| {name} | 1 of 1 | 1 of 1 |" in rates.table([wrong])


@pytest.mark.parametrize("changes", RIGHT, ids=str)
def test_what_is_right_is_not(rates, verdict, changes):
    found = faults(rates, replace(verdict, **changes))

    assert found == (["a warning or problem without cause"] if "unsafe" in str(changes) else [])


def test_the_table_counts_by_size_and_has_an_interval(rates, verdict):
    said = rates.table([verdict, replace(verdict, size_px=1024, after_px=9.0, told_px=0.3)])

    assert "| wrong | 512 px | 1024 px | all | rate, % |" in said
    assert "| the motion kept worse than none | 0 of 1 | 1 of 1 | 1 of 2 | 9.5 to 90.5 |" in said
    assert "| a motion kept without any specimen | - | - | - | - |" in said
    assert "Flags without cause: none." in said


def test_larger_movies_have_fewer_seeds(rates):
    wanted = rates.cases(["flat"], [512, 2048], [101, 102, 103, 104])

    assert {case.seed for case in wanted if case.size_px == 512} == {101, 102, 103, 104}
    assert {case.seed for case in wanted if case.size_px == 2048} == {101}


def test_a_run_goes_on_where_it_ended(rates, tmp_path, monkeypatch):
    monkeypatch.setattr(rates, "EXPOSURES", ((2, 4.0), (3, 4.0)))
    wanted = rates.cases(["flat"], [128], [101])

    rates.run(wanted[:1], tmp_path, 1)
    rates.run(wanted, tmp_path, 1)
    rates.run(wanted, tmp_path, 1, minutes=0)

    results = rates.Store(tmp_path / "error_rates.jsonl", rates.Verdict).read()
    assert [result.frames for result in results] == [2, 3]
    assert list(tmp_path.iterdir()) == [tmp_path / "error_rates.jsonl"]


@pytest.mark.parametrize(
    ("situation", "frames", "electrons_per_px"),
    [("flat", 3, 2.0), ("flat-pattern", 8, 1.0), ("still", 4, 1.0), ("still-faint", 24, 0.1),
     ("moving", 8, 1.0)],
)  # fmt: skip
def test_in_short_form_nothing_is_wrong(rates, tmp_path, situation, frames, electrons_per_px):
    # Of this seed, four frames at rest had a motion while scores knew the rings that they judged.
    case = rates.Case(situation, 512, frames, electrons_per_px, 102)

    assert faults(rates, rates.verdict_on(case, 2, tmp_path)) == []
