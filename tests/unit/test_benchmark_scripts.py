"""Every script of `benchmarks` can be started."""

from __future__ import annotations

from pathlib import Path

import pytest
from scripts import BENCHMARKS, benchmarks


@pytest.mark.parametrize("name", sorted(path.stem for path in Path(BENCHMARKS).glob("*.py")))
def test_what_a_script_imports_is_there(name):
    with benchmarks(name) as scripts:
        assert scripts[name].__doc__
