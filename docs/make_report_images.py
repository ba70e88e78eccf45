"""Draw the pictures of the report in the documents, from a made-up session, in Chromium.

Run it after a change that shows (``.venv/bin/python docs/make_report_images.py``).
"""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

from session import write_session  # noqa: E402

from flexalign.report.live import Report  # noqa: E402

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
    """Write both pictures."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        session = Path(folder) / "session"
        write_session(session, MOVIES)
        page_path = Report(session).write()
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
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
        browser.close()


def _save(name: str, content: bytes) -> None:
    """Write a picture with few colours, which suffice for a page."""
    image = Image.open(io.BytesIO(content)).convert("RGB")
    image.quantize(COLORS, dither=Image.Dither.NONE).save(IMAGES / name, optimize=True)


if __name__ == "__main__":
    main()
