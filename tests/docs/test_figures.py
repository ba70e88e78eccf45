"""The figures of the documents are those that their script draws."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(("page", "names"), [("estimation", "NAMES"), ("scores", "SCORE_NAMES")])
def test_a_page_shows_what_its_script_draws(page, names, monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS))
    spec = importlib.util.spec_from_file_location("make_figures", DOCS / "make_figures.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    text = (DOCS / "explanation" / f"{page}.md").read_text(encoding="utf-8")

    shown = re.findall(r"!\[[^\]]+\]\(\.\./images/([^)]+)\)", text)

    assert sorted(shown) == sorted(getattr(script, names))
    assert sorted(shown) == sorted(path.name for path in script.IMAGES.glob(f"{page}-*.png"))
