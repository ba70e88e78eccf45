"""Stored results, versions and arguments of the accuracy benchmarks.

Results are lines of JSON that are appended one by one, so that a long run can be done in parts.
Each names the program and the movie by a digest, so that results of other code are not mistaken
for those of today's.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Generic, TypeVar

import peers

import flexalign

CACHE = Path(__file__).parent / "cache"
# What the numbers depend on; reading and writing files and the command line are left out.
_SOURCES = ("arrays", "estimate", "align.py", "motion.py", "passes", "plan.py", "simulate")

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Store(Generic[Result]):
    """The results in a file, one dataclass of a `kind` on each line."""

    path: Path
    kind: type[Result]

    def read(self) -> list[Result]:
        """All results, oldest first."""
        if not self.path.exists():
            return []
        lines = map(json.loads, self.path.read_text(encoding="utf-8").splitlines())
        return [self.kind(**line) for line in lines]

    def append(self, result: Result) -> None:
        """Add a result."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(result)) + "\n")


def digest(*parts: str | bytes) -> str:
    """A short digest of texts."""
    content = b"".join(part.encode() if isinstance(part, str) else part for part in parts)
    return hashlib.sha256(content).hexdigest()[:8]


def code_of(settings: Any, *more: str) -> str:
    """A digest of the settings of a simulation."""
    return digest(json.dumps(settings.to_dict(), sort_keys=True), *more)


@cache
def version_of(method: str) -> str:
    """Version of the program of `method`; ours with a digest of the code that affects the results.

    "" for RELION where it is not installed.
    """
    if method.startswith("RELION"):
        return peers.relion_version() or ""
    root = Path(flexalign.__file__).parent
    files = [root / name for name in _SOURCES if name.endswith(".py")]
    files += [file for name in _SOURCES for file in sorted((root / name).rglob("*.py"))]
    code = digest(*(file.read_bytes() for file in files))
    return f"flexalign {flexalign.__version__} ({code})"


def make_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser with the common arguments of the accuracy benchmarks."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cache", type=Path, default=CACHE)
    parser.add_argument("--threads", type=int, default=2)
    return parser


def add_table_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--table``, for benchmarks that can print their stored results alone."""
    parser.add_argument("--table", action="store_true", help="print what is there, run nothing")


def parse(
    parser: argparse.ArgumentParser, known: Mapping[str, Any], metavar: str
) -> argparse.Namespace:
    """Parse the command line, with names of `known` things as arguments; ``--list`` ends here."""
    parser.add_argument("names", nargs="*", metavar=metavar, help="default: all")
    parser.add_argument("--list", action="store_true", help="print the names, run nothing")
    chosen = parser.parse_args()
    if unknown := [name for name in chosen.names if name not in known]:
        parser.error(f"expected some of {', '.join(known)}, found {', '.join(unknown)}")
    if chosen.list:
        _print_list(known)
        parser.exit()
    chosen.cache.mkdir(parents=True, exist_ok=True)
    return chosen


def _print_list(known: Mapping[str, Any]) -> None:
    """A line for each name: its settings."""
    for name, changes in known.items():
        is_settings = isinstance(changes, Mapping)
        words = (f"{key}={value}" for key, value in changes.items()) if is_settings else [changes]
        print(f"{name:16} {', '.join(map(str, words))}")


def installed(methods: Iterable[str]) -> list[str]:
    """The methods whose program is installed."""
    return [method for method in methods if version_of(method)]
