"""Measurements on one movie, and their tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from peers import Watched
from steps import OUTSIDE, Step

from flexalign.model import MovieRecord


@dataclass(frozen=True, slots=True)
class Account:
    """Measurements on one movie, run by run.

    Attributes
    ----------
    ours, relion : what the programs cost; `relion` is empty where it was not asked
    alike : what ours costs when it makes what RELION makes and no more
    records : of our runs
    floors_s : the least two passes can take
    inner : steps of each stage, measured alone
    """

    name: str
    about: str
    ours: list[Watched] = field(default_factory=list)
    records: list[MovieRecord] = field(default_factory=list)
    floors_s: list[float] = field(default_factory=list)
    relion: list[Watched] = field(default_factory=list)
    alike: list[Watched] = field(default_factory=list)
    inner: dict[str, list[Step]] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """Elapsed time of our run."""
        return _median_s(self.ours)

    @property
    def floor_s(self) -> float:
        """Lower bound of the time of two passes."""
        return float(np.median(self.floors_s))

    def over_floor(self, runs: Sequence[Watched]) -> float:
        """Ratio of the time of our runs to the floor, run by run."""
        pairs = zip(runs, self.floors_s, strict=True)
        return float(np.median([run.seconds / floor_s for run, floor_s in pairs]))

    def relion_over(self, runs: Sequence[Watched]) -> float:
        """Ratio of the time of RELION to that of our runs, run by run."""
        pairs = zip(self.relion, runs, strict=True)
        return float(np.median([theirs.seconds / ours.seconds for theirs, ours in pairs]))

    @property
    def peak_bytes(self) -> int:
        """Peak memory of our runs."""
        return max(run.peak_memory_bytes for run in self.ours)

    @property
    def planned_bytes(self) -> int:
        """Peak memory estimated by the plan."""
        return int(self.records[0].decisions["memory_bytes"])

    def stages(self) -> dict[str, float]:
        """Seconds of each stage of the record, and outside the stages; their sum is the total."""
        names = self.records[0].timings_s
        seconds = {
            name: float(np.median([record.timings_s.get(name, 0.0) for record in self.records]))
            for name in names
        }
        return {**seconds, OUTSIDE: self.seconds - sum(seconds.values())}


def stage_table(account: Account) -> str:
    """Table of the seconds of each stage and of its steps."""
    lines = [
        account.about,
        "",
        "| stage, and its steps alone | s | share | cores | GB | GB/s |",
        "| --- | --: | --: | --: | --: | --: |",
    ]
    for stage, seconds in account.stages().items():
        lines.append(f"| **{stage}** | {seconds:.2f} | {seconds / account.seconds:.0%} | | | |")
        inner = account.inner.get(stage, [])
        lines += [_step_row(step) for step in inner]
        if inner:
            unaccounted = seconds - sum(step.seconds for step in inner)
            lines.append(f"| - unaccounted | {unaccounted:.2f} | | | | |")
    busy = float(np.median([run.cpu_s / run.seconds for run in account.ours]))
    lines.append(f"| **total** | {account.seconds:.2f} | 100% | {busy:.1f} | | |")
    return "\n".join([*lines, "", *_remarks(account)])


def _step_row(step: Step) -> str:
    touched = ["", ""]
    if step.bytes_touched is not None:
        gigabytes = step.bytes_touched / 1e9
        touched = [f"{gigabytes:.2f}", f"{gigabytes / max(step.seconds, 1e-9):.1f}"]
    cells = [f"- {step.name}", f"{step.seconds:.2f}", "", f"{step.cores:.1f}", *touched]
    return "| " + " | ".join(cells) + " |"


def _remarks(account: Account) -> list[str]:
    """Remarks below the table."""
    record = account.records[-1]
    again = ", estimated twice for a fixed pattern" if "fixed pattern" in record.timings_s else ""
    y, x = record.patches
    return [
        f"Floor {account.floor_s:.2f} s; total / floor {account.over_floor(account.ours):.2f}. "
        f"Peak memory {account.peak_bytes / 1e9:.2f} GB, "
        f"planned {account.planned_bytes / 1e9:.2f} GB. "
        f"Kept: {record.quality.chosen}, {x} x {y} patches{again}. "
        f"Runs: {_spread([run.seconds for run in account.ours])} s.",
    ]


def _median_s(runs: Sequence[Watched]) -> float:
    """Median of the seconds of some runs."""
    return float(np.median([run.seconds for run in runs]))


def _spread(values: Sequence[float]) -> str:
    """Minimum and maximum of numbers."""
    return f"{min(values):.2f} to {max(values):.2f}"


def summary(accounts: Iterable[Account]) -> str:
    """Table of all classes."""
    lines = [
        "| class | s | floor s | total / floor | RELION s | RELION / ours | alike s "
        "| alike / floor | RELION / alike | GB | planned GB | RELION GB |",
        "| --- |" + " --: |" * 11,
    ]
    for account in accounts:
        theirs_s, than_ours, than_alike, memory_GB = ["-"] * 4
        if account.relion:
            theirs_s = f"{_median_s(account.relion):.1f}"
            than_ours, than_alike = (
                f"{account.relion_over(runs):.2f}" for runs in (account.ours, account.alike)
            )
            memory_GB = f"{max(run.peak_memory_bytes for run in account.relion) / 1e9:.2f}"
        cells = [
            account.name, f"{account.seconds:.1f}", f"{account.floor_s:.1f}",
            f"{account.over_floor(account.ours):.2f}", theirs_s, than_ours,
            f"{_median_s(account.alike):.1f}", f"{account.over_floor(account.alike):.2f}",
            than_alike, f"{account.peak_bytes / 1e9:.2f}", f"{account.planned_bytes / 1e9:.2f}",
            memory_GB,
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
