"""The page for facilities: its service and its command after movies work as they stand there."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from flexalign.cli import main

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "run-at-a-facility.md"


def block(language: str) -> str:
    return re.search(rf"```{language}\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)[1]


@pytest.fixture
def service() -> configparser.ConfigParser:
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str
    unit.read_string(block("ini"))
    return unit


def test_the_command_of_the_service_is_understood(service, tmp_path, monkeypatch, capsys):
    session = tmp_path / "krios1"
    (session / "session").mkdir(parents=True)
    (session / "session.toml").write_text("pixel-size = 0.83\n")
    command = service["Service"]["ExecStart"].replace("/data/%i", str(session))
    monkeypatch.setattr(sys, "argv", [*shlex.split(command), "--idle", "0.001"])

    with pytest.raises(SystemExit) as stop:
        main()

    assert not stop.value.code, capsys.readouterr().err
    assert "watching" in (session / "aligned" / "watch.log").read_text()


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="without systemd")
def test_systemd_understands_the_service(service, tmp_path):
    unit = block("ini").replace("/opt/flexalign/bin/flexalign", "/bin/true")
    (tmp_path / "flexalign@krios1.service").write_text(unit)

    found = subprocess.run(
        ["systemd-analyze", "verify", tmp_path / "flexalign@krios1.service"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert (found.returncode, found.stdout + found.stderr) == (0, "")


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ({"event": "done", "movie": "m.mrc", "quality": {"flags": [{"name": "still"}]}}, "still"),
        ({"event": "done", "movie": "m.mrc", "quality": {"flags": []}}, ""),
        ({"event": "finished", "done": 3, "failed": 1}, "3 movies done, 1 failed"),
    ],
)
def test_the_command_after_movies_reads_its_events(event, said):
    found = subprocess.run(
        [sys.executable, "-c", block("python")], input=json.dumps(event) + "\n",
        capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert said in found.stderr
    assert bool(found.stderr) == bool(said)
