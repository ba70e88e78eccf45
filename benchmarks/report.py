"""Time to make, update and open the report of a long session.

    python benchmarks/report.py --movies 5000

Writes the records of a made-up session to a folder that is removed again (`--keep DIR` keeps it),
makes its report, and opens it in Chromium where that and Playwright are installed.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from session import write_session

from flexalign.report.live import DATA, Report

OPENINGS = 5
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")


def seconds(work: Callable[[], object]) -> float:
    """Elapsed time of `work`."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def making(folder: Path) -> dict[str, float]:
    """Seconds to make the report for the first time, again, and with one more movie."""
    found = {"report of records that are all new": seconds(lambda: Report(folder).write())}
    found["the same again, nothing new"] = seconds(lambda: Report(folder).write())
    kept = Report(folder)
    kept.write()
    name = next(folder.glob("*_record.json")).name.removesuffix("_record.json")
    kept.note(name, is_done=True)
    found["during a run, one movie more"] = seconds(kept.write)
    return found


def opening(page_path: Path) -> dict[str, float] | None:
    """Median seconds until the page, a selection, thumbnails and a movie are shown."""
    program = shutil.which("chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return None
    if program is None:
        return None
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(ARGUMENTS))
        runs = [open_once(browser, page_path) for _ in range(OPENINGS)]
        browser.close()
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


def open_once(browser: Any, page_path: Path) -> dict[str, float]:
    """Seconds of each step of one opening, with an empty cache."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, bypass_csp=True)
    page = context.new_page()
    page.goto(page_path.resolve().as_uri())
    page.wait_for_selector("html[data-ready]", state="attached")
    ready = "performance.getEntriesByName('flexalign-ready')[0].startTime"
    found = {"page opened, until it can be used": page.evaluate(ready) / 1000}
    painted = "new Promise((done) => requestAnimationFrame(() => setTimeout(done)))"
    found["500 movies selected, until all plots and rows show it"] = seconds(
        lambda: page.evaluate(
            "async () => { flexalign.select(Array.from({ length: 500 }, (_, i) => i + 1000));"
            f" table.showSelected(true); await {painted}; }}"
        )
    )
    opened = (
        "async () => { const gallery = document.querySelector('#gallery'); gallery.open = true;"
        " while (!gallery.querySelector('img')) await new Promise(requestAnimationFrame);"
        # Pictures that are not on the screen are not loaded.
        " gallery.scrollIntoView(); await Promise.all([...gallery.querySelectorAll('img')]"
        ".filter((image) => image.getBoundingClientRect().bottom < window.innerHeight)"
        f".map((image) => image.decode())); await {painted}; }}"
    )
    page.evaluate("() => { flexalign.select([]); table.showSelected(false); }")
    found["thumbnails opened, until those on the screen are shown"] = seconds(
        lambda: page.evaluate(opened)
    )
    last = "movie.open(flexalign.count - 1)"

    def open_movie() -> None:
        page.evaluate(last)
        page.wait_for_selector("#dialog figure")

    found["movie opened, details from their folder"] = seconds(open_movie)
    context.close()
    return found


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--movies", type=int, default=5000)
    parser.add_argument("--keep", type=Path, help="folder of the session, which stays")
    choice = parser.parse_args()
    folder = choice.keep or Path(tempfile.mkdtemp(prefix="session-"))
    try:
        write_session(folder, choice.movies)
        rows = {**making(folder), **(opening(folder / "report.html") or {})}
        print(f"| {choice.movies} movies | seconds |\n| --- | ---: |")
        for name, value in rows.items():
            print(f"| {name} | {value:.2f} |")
        sizes = {path.name: path.stat().st_size for path in folder.glob("report.*")}
        sizes[DATA] = sum(path.stat().st_size for path in (folder / DATA).iterdir())
        print("\n| file | MB |\n| --- | ---: |")
        for name, size in sorted(sizes.items()):
            print(f"| {name} | {size / 1e6:.1f} |")
    finally:
        if choice.keep is None:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
