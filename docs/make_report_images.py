"""Draw the pictures of the report in the documents, in Chromium.

Run it after a change that shows: ``.venv/bin/python docs/make_report_images.py`` draws a made-up
session and a movie of it.  With a folder it draws the page of a tilt series, from the run of
``docs/how-to/align-tilt-series.md``::

    .venv/bin/python docs/make_report_images.py aligned
"""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

from session import write_session  # noqa: E402

from flexalign.report.live import Report  # noqa: E402
from flexalign.report.series import SeriesReport  # noqa: E402

IMAGES = ROOT / "docs" / "images"
MOVIES = 400
COLORS = 256
# What is done on the page before a picture of it, and what is drawn.
SESSION = """() => {
    flexalign.select(Array.from({ length: 40 }, (_, i) => i + 278));
    table.showSelected(true);
    document.querySelector("#session").scrollIntoView();
}"""
MOVIE = "() => movie.open(278)"


def main() -> None:
    """Write the pictures."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        if len(sys.argv) > 1:
            draw_series(browser, Path(sys.argv[1]))
        else:
            draw_session(browser)
        browser.close()


def draw_series(browser: Browser, run: Path) -> None:
    """Draw the upper part of the page of the series ``ts``, whose report is made anew."""
    SeriesReport(run).write()
    page = browser.new_page(viewport={"width": 1280, "height": 860})
    page.goto((run / "report_data" / "ts.html").absolute().as_uri())
    _save("report-series.png", page.screenshot())


def draw_session(browser: Browser) -> None:
    """Draw the page of a session, and a movie of it."""
    with tempfile.TemporaryDirectory() as folder:
        session = Path(folder) / "session"
        write_session(session, MOVIES)
        page_path = Report(session).write()
        page = browser.new_page(viewport={"width": 1280, "height": 1000}, bypass_csp=True)
        page.goto(page_path.as_uri())
        page.wait_for_selector("html[data-ready]", state="attached")
        page.evaluate(SESSION)
        page.wait_for_timeout(500)
        _save("report-session.png", page.screenshot())
        page.set_viewport_size({"width": 1280, "height": 1460})
        page.evaluate(MOVIE)
        page.wait_for_selector("#dialog figure img")
        page.wait_for_timeout(500)
        _save("report-movie.png", page.locator("#dialog").screenshot())


def _save(name: str, content: bytes) -> None:
    """Write a picture with few colours, which suffice for a page."""
    image = Image.open(io.BytesIO(content)).convert("RGB")
    image.quantize(COLORS, dither=Image.Dither.NONE).save(IMAGES / name, optimize=True)


if __name__ == "__main__":
    main()
