"""The report in a real browser: Debian's Chromium, headless, from files on disk."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

import pytest

MOVIES = 240
SIZES = {"laptop": (1280, 800), "phone": (390, 844)}


@dataclass
class Watched:
    """A page, with all that it asked for and complained of."""

    page: object
    folder: Path
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def strange_requests(self) -> list[str]:
        """What was asked for that is no file of the folder."""
        home = f"file://{self.folder}/"
        return [url for url in self.requests if not unquote(url).startswith((home, "data:"))]


@pytest.fixture(scope="session")
def with_data() -> Callable[[Path, Path, Callable[[dict], None]], Path]:
    """Copy a page to another folder, with the data of its scripts changed."""

    def copy(page_path: Path, folder: Path, change: Callable[[dict], None]) -> Path:
        begin = '<script type="application/json" id="data">'
        head, tail = page_path.read_text().split(begin)
        script, end = tail.split("</script>", 1)
        data = json.loads(script)
        change(data)
        changed = folder / page_path.name
        changed.write_text(f"{head}{begin}{json.dumps(data)}</script>{end}")
        return changed

    return copy


@pytest.fixture
def open_page(browser) -> Iterator[Callable[..., Watched]]:
    """Open a page from disk in a context of its own."""
    contexts = []

    def open_it(
        path: Path,
        *,
        size: str = "laptop",
        scheme: str = "light",
        is_strict: bool = False,
        has_scripts: bool = True,
    ) -> Watched:
        width, height = SIZES[size]
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme=scheme,
            has_touch=size == "phone",
            accept_downloads=True,
            # Waiting for a function needs what the policy of the page forbids.
            bypass_csp=not is_strict,
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        watched = Watched(page, path.parent.resolve())
        page.on("request", lambda request: watched.requests.append(request.url))
        page.on("pageerror", lambda error: watched.complaints.append(str(error)))
        page.on(
            "console",
            lambda message: (
                watched.complaints.append(message.text)
                if message.type in ("error", "warning")
                else None
            ),
        )
        page.goto(path.resolve().as_uri())
        if has_scripts:
            page.wait_for_selector("html[data-ready]", state="attached")
        return watched

    yield open_it
    for context in contexts:
        context.close()


@pytest.fixture(scope="session")
def session_folder(make_session, tmp_path_factory) -> Path:
    """A folder with the report of a session: failures, flags, and a record that is broken."""
    from flexalign.report.live import Report

    folder = tmp_path_factory.mktemp("session")
    make_session(folder, MOVIES, failed_every=60)
    (folder / "broken_record.json").write_text('{"half": ')
    Report(folder).write()
    return folder


@pytest.fixture
def page(open_page, session_folder) -> object:
    """The report of the session on a laptop."""
    return open_page(session_folder / "report.html").page


@pytest.fixture(scope="session")
def movies(session_folder) -> list[dict]:
    """What report.json says of the movies of the session."""
    return json.loads((session_folder / "report.json").read_text())["movies"]
