"""The figures of the documents are those that their script draws."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_on_estimation_shows_what_its_script_draws(monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS))
    spec = importlib.util.spec_from_file_location("make_figures", DOCS / "make_figures.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    page = (DOCS / "explanation" / "estimation.md").read_text(encoding="utf-8")

    shown = re.findall(r"!\[[^\]]+\]\(\.\./images/([^)]+)\)", page)

    assert sorted(shown) == sorted(script.NAMES)
    assert sorted(shown) == sorted(path.name for path in script.IMAGES.glob("estimation-*.png"))
