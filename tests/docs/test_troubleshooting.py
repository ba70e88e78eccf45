"""The page on troubleshooting quotes messages and options that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from flexalign.option_messages import with_options

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "how-to" / "troubleshoot.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def messages() -> str:
    """All text in the code, joined as Python joins it, with the options of the command line."""
    paths = (ROOT / "src" / "flexalign").rglob("*.py")
    nodes = (node for p in paths for node in ast.walk(ast.parse(p.read_text(encoding="utf-8"))))
    constants = (node.value for node in nodes if isinstance(node, ast.Constant))
    return with_options("\n".join(value for value in constants if isinstance(value, str)))


def test_every_message_is_one_of_the_program(messages):
    quoted = re.findall(r"^\| `([^`]+)` \|", PAGE, flags=re.MULTILINE)

    assert len(quoted) > 8
    assert not [text for text in quoted if text not in messages]


def test_every_option_exists():
    pages = "".join(path.read_text() for path in (ROOT / "docs" / "reference").glob("*.md"))
    options = set(re.findall(r"`(--[a-z-]+)", PAGE))

    assert options
    assert not [option for option in options if f"`{option}" not in pages]
