"""The documentation as a site: complete, without broken links, and searchable without a network."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").rglob("*.md"))


def build(folder: Path, root: Path = ROOT) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(folder)]
    return subprocess.run(words, cwd=root, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The folder of the site."""
    folder = tmp_path_factory.mktemp("site")
    done = build(folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("hooks", ROOT / "docs" / "site" / "hooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_page_is_on_the_site(site):
    pages = [page.with_name("index.md") if page.stem == "README" else page for page in PAGES]
    names = [page.relative_to(ROOT / "docs").with_suffix(".html") for page in pages]

    assert not [name for name in names if not (site / name).is_file()]


def test_every_page_is_reached_from_the_first(site):
    seen, waiting = set(), {site / "index.html"}
    while waiting:
        page = waiting.pop()
        seen.add(page)
        targets = re.findall(r'<a [^>]*href="([^"#:]+\.html)', page.read_text(encoding="utf-8"))
        waiting |= {(page.parent / target).resolve() for target in targets} - seen

    assert seen == {page.resolve() for page in site.rglob("*.html")} - {site / "404.html"}


def test_a_broken_link_or_anchor_stops_the_build(tmp_path):
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    for path in (ROOT / "mkdocs.yml", *ROOT.glob("*.md")):
        shutil.copy(path, tmp_path)
    page = tmp_path / "docs" / "how-to" / "choose-frames.md"
    page.write_text("# Frames\n\n[a](nowhere.md) [b](../reference/flags.md#no-such-flag)\n")

    done = build(tmp_path / "site", tmp_path)

    assert done.returncode != 0
    assert "'nowhere.md'" in done.stderr
    assert "'#no-such-flag'" in done.stderr


def test_no_page_loads_anything_from_the_network(site):
    loading = re.compile(
        r"<(?:script|img|iframe|source|object|embed)[^>]* (?:src|data)=\"?(?:https?:)?//[^\" >]+"
        r"|<link[^>]* rel=\"?(?:stylesheet|preconnect|preload|icon)[^>]*href=\"?(?:https?:)?//[^>]+"
    )
    styles = re.compile(r"url\([\"']?(?:https?:)?//[^)]+|@import [\"'](?:https?:)?//[^\"']+")
    pages = [found for page in site.rglob("*.html") for found in loading.findall(page.read_text())]
    sheets = [found for page in site.rglob("*.css") for found in styles.findall(page.read_text())]

    assert pages + sheets == []


def test_lists_and_tables_of_the_pages_are_lists_and_tables_of_the_site(site):
    marks = re.compile(r"^\s*(?:[-*|]|\d+\.) ", flags=re.MULTILINE)
    left = []
    for page in site.rglob("*.html"):
        article = page.read_text(encoding="utf-8").partition("<article")[2]
        text = re.sub(r"<(pre|code)\b.*?</\1>", "", article, flags=re.DOTALL)
        left += [p for p in re.findall(r"<p>(.*?)</p>", text, flags=re.DOTALL) if marks.search(p)]

    assert left == []


def test_line_breaks_of_the_pages_are_line_breaks_of_the_site(site):
    page = (site / "reference" / "parameters.html").read_text(encoding="utf-8")
    breaks = (ROOT / "docs" / "reference" / "parameters.md").read_text(encoding="utf-8")

    assert page.count("<br>") + page.count("<br />") == breaks.count("\\\n") > 0


@pytest.mark.parametrize(
    ("address", "link", "adapted"),
    [
        ("index.md", "[flags](docs/reference/flags.md#jump)", "[flags](reference/flags.md#jump)"),
        ("index.md", "![demo](docs/images/demo.png)", "![demo](images/demo.png)"),
        ("reference/flags.md", "[start](../../README.md)", "[start](../index.md)"),
        ("reference/flags.md", "[code](../../src/flexalign/align.py)", "code"),
        ("reference/flags.md", "[broken](nowhere.md)", "[broken](nowhere.md)"),
        (
            "reference/flags.md",
            "[away](https://example.org/a.md)",
            "[away](https://example.org/a.md)",
        ),
    ],
)
def test_links_of_the_repository_become_links_of_the_site(hooks, address, link, adapted):
    addresses = {"index.md", "reference/flags.md", "images/demo.png"}

    assert hooks.adapt_links(link, address, addresses) == adapted


def test_a_word_is_found_in_a_page_opened_from_disk(site, browser):
    requests, complaints = [], []
    page = browser.new_page()
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto((site / "tutorial" / "first-movie.html").as_uri())

    page.locator("input.md-search__input").click()
    page.get_by_text("Type to start searching").wait_for(timeout=60_000)
    page.locator("input.md-search__input").press_sequentially("vibration")
    page.locator(".md-search-result__link").first.click(timeout=60_000)
    page.wait_for_url(lambda url: "/tutorial/" not in url, timeout=60_000)

    assert "vibration" in page.locator("article").inner_text().lower()
    assert not [url for url in requests if not url.startswith((site.as_uri(), "data:", "about:"))]
    assert complaints == []
    page.close()
