"""Names, docstrings, messages and pages use the terms of the glossary in conventions.md."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "flexalign"

# Names that stay because they are keys of records or of other files that users have.
KEYS = {"busy_part", "computing_part", "drift_part", "hot_pixel_part", "lost_part"}

RETIRED_NAMES = {
    r"(^|_)(MOST|LARGEST|LONGEST|HIGHEST)(_|$)": "MAX_",
    r"(^|_)(FEWEST|LEAST|SMALLEST|SHORTEST|LOWEST)(_|$)": "MIN_",
    r"(^|_)PARTS?(_|$)|_part$": "RATIO or SHARE",
    r"^(most|fewest|least)($|_(?!common))": "max_ or min_",
    r"(^|_)rest(_|$)": "residual, remaining",
    r"(^|_)chance(_|$)": "noise_sd",
    r"(^|_)usual(_|$)": "median",
    r"(^|_)rooms?(_|$)": "buffer, free_places",
    r"(^|_)judge(d|ment)?(_|$)": "metrics, verdict",
    r"(^|_)shr(ink|unk|inker|inking)(_|$)": "downsample",
    r"(^|_)mend(s|ed)?(_|$)": "replace, replacements",
    r"(^|_)(strays?|astray)(_|$)": "outlier",
    r"(^|_)habits?(_|$)": "common, hyperparameters",
    r"(^|_|[A-Z])TOGETHER(_|$)": "PER_BATCH",
    r"(^|_)(said|told)(_|$)": "name what it is",
}

RETIRED_WORDS = {
    r"manieth": "step, every n-th",
    r"nobody|somebody|who(m)?ever": "name the function or the user",
    r"(by|of) chance": "noise, significance",
    r"asked for": "requested",
    r"looked (at|for)": "read, checked, searched",
    r"(is|are|be|was|were) (said|told) of": "describe",
    r"the usual": "median, default",
    r"room (for|to)": "buffer, memory",
    r"weigh(s|ed)?": "weight(ed)",
    r"shr(ink|inks|unk)": "down-sample(d)",
    r"a person": "the user",
    r"in the air": "in progress",
}


def _names(tree: ast.Module) -> set[str]:
    """Every name that the module defines: functions, classes, arguments, variables."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.arg):
            found.add(node.arg)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            found.add(node.attr)
    return found - KEYS


def _prose(text: str) -> str:
    """The docstrings, comments and messages of a module."""
    constants = (n.value for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Constant))
    parts = [value for value in constants if isinstance(value, str)]
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return "\n".join(parts + [t.string for t in tokens if t.type == tokenize.COMMENT])


def _retired(words: set[str] | str) -> list[str]:
    """What is retired among some names, or in a text, with what to write instead."""
    if isinstance(words, set):
        found = {n: new for n in words for old, new in RETIRED_NAMES.items() if re.search(old, n)}
    else:
        plain = " ".join(words.replace("#", " ").split())
        found = {
            match.group(): new
            for old, new in RETIRED_WORDS.items()
            for match in re.finditer(rf"\b({old})\b", plain, flags=re.IGNORECASE)
        }
    return sorted(f"{old!r}: write {new}" for old, new in found.items())


def _cases(paths: list[Path], folder: Path) -> list[object]:
    """Parameters of a test, named by their paths from `folder`."""
    return [pytest.param(path, id=path.relative_to(folder).as_posix()) for path in paths]


MODULES = sorted(SOURCE.rglob("*.py"))
PAGES = [
    *(path for path in sorted(ROOT.glob("*.md")) if path.name != "CHANGELOG.md"),
    *(path for path in sorted((ROOT / "docs").rglob("*.md")) if path.parent.name != "decisions"),
]


@pytest.mark.parametrize("path", _cases(MODULES, SOURCE))
def test_a_module_has_no_retired_names_and_words(path):
    text = path.read_text(encoding="utf-8")

    assert _retired(_names(ast.parse(text))) + _retired(_prose(text)) == []


@pytest.mark.parametrize("path", _cases(PAGES, ROOT))
def test_a_page_has_no_retired_words(path):
    text = re.sub(r"```.*?```|`[^`]*`", " ", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    text = text.partition("## Glossary")[0]

    assert _retired(text) == []


def test_retired_names_and_words_are_found():
    assert _retired({"MOST_BYTES", "rest", "by_chance", "most_common", "share", "drift"}) == [
        "'MOST_BYTES': write MAX_",
        "'by_chance': write noise_sd",
        "'rest': write residual, remaining",
    ]
    assert _retired("Every so\n# manieth row.") == ["'manieth': write step, every n-th"]
    assert _retired(_prose("print('there is room for it')")) == ["'room for': write buffer, memory"]


def test_the_glossary_has_every_retired_name():
    page = (ROOT / "docs" / "explanation" / "conventions.md").read_text(encoding="utf-8")
    glossary = page.partition("## Glossary")[2]

    for word in (
        "MOST",
        "FEWEST",
        "PART",
        "rest",
        "chance",
        "usual",
        "room",
        "judge",
        "shrink",
        "mend",
        "stray",
        "habit",
        "TOGETHER",
    ):
        assert f"`{word}`" in glossary, word
