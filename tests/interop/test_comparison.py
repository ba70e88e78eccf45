"""RELION's own motion and ours, compared from the files that RELION wrote."""

from __future__ import annotations

import csv
import io
import json

import pytest


def table(flexalign, project, *words):
    """The rows that ``flexalign compare`` prints, by movie."""
    said = flexalign(project.folder, "compare", *words, "--csv")
    lines = [line for line in said.splitlines() if "/" in line or line.startswith("movie,")]
    found = csv.DictReader(io.StringIO("\n".join(lines)))
    return {row["movie"]: row for row in found}


@pytest.mark.parametrize("what", ["", "/corrected_micrographs.star"])
def test_a_job_of_relion_is_compared_with_our_job(project, flexalign, relion_job, our_job, what):
    found = table(flexalign, project, our_job, f"{relion_job}{what}")

    assert set(found) == {"a.b", "c"}
    for row in found.values():
        assert row["frames"] == "10"
        assert float(row["pixel_size_A"]) == pytest.approx(1.8)
        assert 0.05 < float(row["rms_px"]) < 0.6
        assert float(row["motion_rms_px"]) > 2


def test_both_are_near_the_truth_and_ours_is_nearer(project, flexalign, relion_job, our_job):
    ours = table(flexalign, project, our_job, "Movies")
    theirs = table(flexalign, project, relion_job, "Movies")

    for name in ("a.b", "c"):
        assert float(ours[name]["rms_px"]) < 0.15
        assert float(ours[name]["rms_px"]) < float(theirs[name]["rms_px"]) < 0.6


def test_one_file_of_relion_is_compared_with_that_of_another_format(
    project, flexalign, relion_job, our_job
):
    said = flexalign(
        project.folder, "compare", f"{relion_job}/Movies/a_b.star",
        f"{our_job}/Movies/a_b_shifts.xmd", "--json",
    )  # fmt: skip

    (movie,) = json.loads(said)["movies"]
    assert movie["frame"] == list(range(10))
    assert 0.05 < movie["rms_px"] < 0.6
    assert movie["hint"] == ""
