"""The pages of tilt series in a real browser."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from tilts_data import write_series

PAGES = ["report.html", "report_data/TS_1.html"]


@pytest.fixture(scope="module")
def series_run(tmp_path_factory) -> Path:
    """The folder of a run on two tilt series."""
    folder = tmp_path_factory.mktemp("series")
    for name in ("TS_1", "TS_2"):
        write_series(folder / "in", name, [0.0, 3.0, -3.0, 6.0])
    words = [folder / "in", "--out", folder / "out", "--threads", "1", "--jobs", "1"]
    subprocess.run(
        [sys.executable, "-m", "flexalign", "tilt-series", *map(str, words), "--no-refine"],
        check=True, capture_output=True, env={**os.environ, "COLUMNS": "200"},
    )  # fmt: skip
    return folder / "out"


@pytest.mark.parametrize("size", ["laptop", "phone"])
@pytest.mark.parametrize("name", PAGES)
def test_nothing_is_wider_than_the_screen(open_page, series_run, name, size):
    page = open_page(series_run / name, size=size, has_scripts=False).page

    assert page.evaluate("document.documentElement.scrollWidth") == page.evaluate("innerWidth")


def test_on_a_phone_the_names_of_the_series_stay_while_their_numbers_scroll(open_page, series_run):
    page = open_page(series_run / "report.html", size="phone", has_scripts=False).page
    row = page.locator("tbody tr", has_text="TS_2").first
    name, box = row.locator("th, td").first, page.locator(".scroll", has=row)
    before = name.bounding_box()["x"]

    box.evaluate("box => box.scrollTo(10000, 0)")

    assert box.evaluate("box => box.scrollLeft") > 0
    assert name.bounding_box()["x"] == pytest.approx(before, abs=1)


@pytest.mark.parametrize(("size", "scheme"), [("laptop", "light"), ("phone", "dark")])
@pytest.mark.parametrize("name", PAGES)
def test_assistive_technology_finds_nothing_wrong(open_page, series_run, name, size, scheme):
    page = open_page(series_run / name, size=size, scheme=scheme, has_scripts=False).page
    found = Axe().run(page)

    assert len(found.response["passes"]) > 10
    assert found.response["violations"] == [], found.generate_report()
