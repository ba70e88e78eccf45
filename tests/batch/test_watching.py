"""When a movie that appears in a folder is complete."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from flexalign.batch.watching import WatchChoices, Watched
from flexalign.cli.watching import WatchOptions
from flexalign.errors import InputError

SETTLE_S = 3.0


@pytest.fixture
def watched(tmp_path):
    """A source that watches the folder ``in``."""
    (tmp_path / "in").mkdir()
    choices = WatchChoices(settle_s=SETTLE_S, poll_s=1.0)
    with Watched(tmp_path / "in", choices, [tmp_path / "in" / "out"]) as source:
        yield source


def first_taken(source: Watched, within_s: float) -> tuple[list[str], float]:
    """Names of the first movies that are taken, and the seconds until then."""
    started = time.monotonic()
    while time.monotonic() < started + within_s:
        if taken := source.take():
            return [path.name for path in taken], time.monotonic() - started
        time.sleep(0.02)
    return [], within_s


def test_a_movie_is_taken_when_it_has_not_changed_for_a_while(watched, tmp_path):
    path = tmp_path / "in" / "below" / "m.tiff"
    path.parent.mkdir()
    for _ in range(5):
        with path.open("ab") as file:
            file.write(b"x" * 100)
        names, _ = first_taken(watched, SETTLE_S / 4)
        assert names == []
        assert watched.backlog == 1

    names, seconds = first_taken(watched, 3 * SETTLE_S)

    assert names == ["m.tiff"]
    assert seconds > SETTLE_S / 2
    assert watched.backlog == 0


def test_a_movie_that_is_renamed_into_place_is_taken_at_once(watched, tmp_path):
    part = tmp_path / "in" / "m.tiff.part"
    part.write_bytes(b"x")
    assert first_taken(watched, 1.5)[0] == []

    part.rename(tmp_path / "in" / "m.tiff")

    assert first_taken(watched, SETTLE_S)[0] == ["m.tiff"]


def test_a_movie_that_gets_the_number_of_a_deleted_file_is_not_taken_for_renamed(watched, tmp_path):
    part = tmp_path / "in" / "scratch.tmp"
    part.write_bytes(b"x")
    assert first_taken(watched, 1.5)[0] == []

    number = part.stat().st_ino
    part.unlink()
    (tmp_path / "in" / "m.tiff").write_bytes(b"only the first part of")

    if (tmp_path / "in" / "m.tiff").stat().st_ino != number:
        pytest.skip("the file system did not use the number again")
    assert first_taken(watched, SETTLE_S - 0.5)[0] == []


@pytest.mark.parametrize(
    ("movie", "sidecar"),
    [
        ("m.tif", "m.tif.mdoc"),
        ("m.mrc", "m.mdoc"),
        ("Hole_1_fractions.tiff", "Hole_1.xml"),
        ("Hole_1_EER.eer", "Hole_1.xml"),
    ],
)
def test_a_movie_with_its_sidecar_is_taken_at_once(watched, tmp_path, movie, sidecar):
    (tmp_path / "in" / movie).write_bytes(b"x")
    (tmp_path / "in" / sidecar).write_text("done")

    names, seconds = first_taken(watched, 3 * SETTLE_S)

    assert names == [movie]
    assert seconds < SETTLE_S


def test_a_sidecar_that_is_older_than_the_movie_says_nothing(watched, tmp_path):
    (tmp_path / "in" / "m.xml").write_text("begun")
    os.utime(tmp_path / "in" / "m.xml", (1e9, 1e9))
    (tmp_path / "in" / "m.mrc").write_bytes(b"x")

    assert first_taken(watched, SETTLE_S - 1)[0] == []


def test_old_movies_are_taken_at_the_second_look_the_oldest_first(tmp_path):
    for number, name in enumerate(("c.mrc", "a.mrc", "b.mrc")):
        (tmp_path / name).write_bytes(b"x")
        os.utime(tmp_path / name, (1e9 + number, 1e9 + number))

    with Watched(tmp_path, WatchChoices(settle_s=100.0)) as source:
        names, _ = first_taken(source, 10.0)

    assert names == ["c.mrc", "a.mrc", "b.mrc"]


def test_what_is_no_movie_is_left(watched, tmp_path):
    for name in ("empty.mrc", "notes.txt", ".hidden.mrc", "out/mic.mrc", ".tmp/x.mrc"):
        path = tmp_path / "in" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"" if name == "empty.mrc" else b"x")
        os.utime(path, (1e9, 1e9))

    assert first_taken(watched, 1.5 * SETTLE_S)[0] == []


def test_a_pattern_chooses(tmp_path):
    for name in ("grid/a_fractions.tiff", "grid/a_sum.mrc"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
        os.utime(path, (1e9, 1e9))

    with Watched(tmp_path, WatchChoices(pattern="*_fractions.tiff")) as source:
        assert first_taken(source, 10.0)[0] == ["a_fractions.tiff"]


def test_a_movie_that_changes_after_it_was_taken_is_taken_again(watched, tmp_path):
    path = tmp_path / "in" / "m.mrc"
    path.write_bytes(b"x")
    assert first_taken(watched, 3 * SETTLE_S)[0] == ["m.mrc"]
    assert first_taken(watched, 1.5 * SETTLE_S)[0] == []

    path.write_bytes(b"more")

    assert first_taken(watched, 3 * SETTLE_S)[0] == ["m.mrc"]


def test_movies_are_found_without_news_from_the_system(watched, tmp_path, monkeypatch):
    monkeypatch.setattr(watched._is_woken, "is_set", lambda: False)
    (tmp_path / "in" / "m.mrc").write_bytes(b"x")

    assert first_taken(watched, 4 * SETTLE_S)[0] == ["m.mrc"]


def test_the_system_tells_of_movies_long_before_the_next_listing(tmp_path):
    choices = WatchChoices(settle_s=0.5, poll_s=1000.0)
    with Watched(tmp_path, choices) as source:
        assert first_taken(source, 2.0)[0] == []
        (tmp_path / "m.mrc").write_bytes(b"x")

        assert first_taken(source, 10.0)[0] == ["m.mrc"]


def test_a_source_closes_when_no_movie_has_come_for_the_idle_time(tmp_path):
    with Watched(tmp_path, WatchChoices(idle_s=1.5, settle_s=0.5)) as source:
        assert source.is_open
        time.sleep(1.0)
        (tmp_path / "m.mrc").write_bytes(b"x")
        first_taken(source, 5.0)
        assert source.is_open
        time.sleep(1.6)
        assert not source.is_open


class Clock:
    """Time that passes when a test says so."""

    def __init__(self, monkeypatch) -> None:
        self.now_s = 1000.0
        monkeypatch.setattr("flexalign.batch.watching.time.monotonic", lambda: self.now_s)

    def pass_s(self, source: Watched, seconds: int) -> list[str]:
        """Let seconds pass one by one; the names of the movies that are taken meanwhile."""
        names: list[str] = []
        for _ in range(seconds):
            self.now_s += 1.0
            names += [path.name for path in source.take()]
        return names


def test_an_empty_file_does_not_keep_a_source_open_and_is_named(tmp_path, monkeypatch):
    clock = Clock(monkeypatch)
    source = Watched(tmp_path, WatchChoices(idle_s=60, settle_s=15, poll_s=2))
    (tmp_path / "m.mrc").touch()

    assert clock.pass_s(source, 50) == []
    assert source.is_open
    assert clock.pass_s(source, 20) == []

    assert not source.is_open
    assert source.incomplete == [tmp_path / "m.mrc"]


def test_a_copy_that_stalls_and_goes_on_is_taken(tmp_path, monkeypatch):
    clock = Clock(monkeypatch)
    source = Watched(tmp_path, WatchChoices(idle_s=60, settle_s=15, poll_s=2))
    (tmp_path / "m.mrc").touch()
    assert clock.pass_s(source, 50) == []

    (tmp_path / "m.mrc").write_bytes(b"x")
    assert clock.pass_s(source, 10) == []
    assert source.is_open
    assert source.incomplete == []

    assert clock.pass_s(source, 10) == ["m.mrc"]


def test_a_movie_that_is_still_written_keeps_a_source_open(tmp_path, monkeypatch):
    clock = Clock(monkeypatch)
    source = Watched(tmp_path, WatchChoices(idle_s=60, settle_s=15, poll_s=2))
    for count in range(1, 10):
        (tmp_path / "m.mrc").write_bytes(b"x" * count)
        assert clock.pass_s(source, 10) == []

    assert source.is_open


def test_a_start_that_takes_longer_than_the_idle_time_is_no_end(tmp_path, monkeypatch):
    clock = Clock(monkeypatch)
    (tmp_path / "m.mrc").write_bytes(b"x")
    source = Watched(tmp_path, WatchChoices(idle_s=60, settle_s=15, poll_s=2))
    clock.now_s += 100

    assert source.is_open
    assert clock.pass_s(source, 20) == ["m.mrc"]


def test_the_idle_time_counts_from_the_first_listing(tmp_path, monkeypatch):
    clock = Clock(monkeypatch)
    source = Watched(tmp_path, WatchChoices(idle_s=60, settle_s=15, poll_s=2))
    clock.now_s += 100

    assert clock.pass_s(source, 50) == []
    assert source.is_open
    assert clock.pass_s(source, 20) == []
    assert not source.is_open


def test_a_folder_that_does_not_answer_for_a_while_is_no_end(watched, tmp_path):
    shutil.rmtree(tmp_path / "in")
    assert first_taken(watched, 1.5)[0] == []
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "m.mrc").write_bytes(b"x")

    assert first_taken(watched, 4 * SETTLE_S)[0] == ["m.mrc"]


def test_a_folder_that_is_missing_is_an_error():
    with pytest.raises(InputError, match="no such folder to watch"):
        Watched(Path("nowhere"), WatchChoices())


def test_a_file_is_no_folder_to_watch(tmp_path):
    (tmp_path / "m.mrc").write_bytes(b"x")

    with pytest.raises(InputError, match=r"m\.mrc: expected a folder to watch, found a file"):
        Watched(tmp_path / "m.mrc", WatchChoices())


@pytest.mark.parametrize(("word", "suffix"), [("xml", ".xml"), (".xml", ".xml"), ("_ok", "_ok")])
def test_the_suffix_of_a_sidecar_is_given_with_or_without_its_dot(word, suffix):
    assert WatchOptions(sidecar=[word]).choices().sidecars == (suffix,)
