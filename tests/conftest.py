"""What tests of several folders share."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator

import pytest
from scripts import benchmarks

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--no-first-run",
)  # fmt: skip


@pytest.fixture(scope="session")
def make_session() -> Iterator[Callable[..., None]]:
    """Write the records of a made-up session, as `benchmarks/session.py` does."""
    with benchmarks("session") as scripts:
        yield scripts["session"].write_session


@pytest.fixture(scope="session")
def browser() -> Iterator[object]:
    """Chromium with a fresh profile."""
    if CHROMIUM is None:
        pytest.skip("no chromium on the path: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield chromium
        chromium.close()
