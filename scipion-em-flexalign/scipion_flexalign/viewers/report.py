"""The engine's own page about a folder of results."""

import os
import pathlib
import subprocess
import webbrowser

from .. import Plugin, engine

REPORT = "report"


def open_report(viewer, folder):
    """Make the page anew, as results may have come since, and open it in the browser.

    The views that Scipion is to show: none, or a message where the page cannot be made.
    """
    folder = os.path.abspath(folder)
    made = subprocess.run(
        Plugin.getCommand([REPORT, folder]),
        shell=True,
        env=Plugin.getEnviron(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
    )
    pages = [name for name in os.listdir(folder) if name.endswith(".html")]
    if made.returncode or not pages:
        return [viewer.errorMessage(engine.last_error(made.stderr), "Report")]
    newest = max(pages, key=lambda name: os.path.getmtime(os.path.join(folder, name)))
    webbrowser.open(pathlib.Path(folder, newest).as_uri())
    return []
