"""Read what a program writes to a terminal."""

from __future__ import annotations

import os


def read_all(terminal: int) -> str:
    """What is written to a terminal until its other end closes."""
    parts = []
    while True:
        try:
            part = os.read(terminal, 4096)
        except OSError:  # Linux reports a closed other end like this
            part = b""
        if not part:
            return b"".join(parts).decode()
        parts.append(part)
