"""What tests of several folders share."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from scripts import benchmarks


@pytest.fixture(scope="session")
def make_session() -> Iterator[Callable[..., None]]:
    """Write the records of a made-up session, as `benchmarks/session.py` does."""
    with benchmarks("session") as scripts:
        yield scripts["session"].write_session
