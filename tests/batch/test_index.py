"""What is taken from the index of a run, and what is left."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from flexalign.batch import tables
from flexalign.batch.failures import Failure
from flexalign.batch.folder import Entry, RunFolder, read_index
from flexalign.batch.folder_facts import inspect_folder
from flexalign.errors import InputError
from flexalign.io.motion_formats.exports import read_records
from flexalign.io.record import read_record
from flexalign.params import AlignParams

MOVIES = 3


@pytest.fixture(scope="module")
def made(make_session, tmp_path_factory) -> Path:
    """A folder with the records of three movies, whose other files are only names."""
    made = tmp_path_factory.mktemp("made")
    make_session(made, MOVIES)
    for path in made.glob(".*.png"):
        path.unlink()
    for path in made.glob("*_record.json"):
        for name in read_record(path).outputs.values():
            (made / name).touch()
    (made / "run.json").unlink()
    RunFolder(made, AlignParams()).write(at_once=True)
    return made


@pytest.fixture
def run(made, tmp_path) -> Path:
    """A copy of that folder, with the times of its files."""
    return shutil.copytree(made, tmp_path / "run")


def index_of(run: Path) -> dict[str, Any]:
    return json.loads((run / "run.json").read_text())


def test_the_index_gives_what_the_records_give(run):
    entries = read_index(run / "run.json")

    assert len(entries) == MOVIES
    assert [entry.movie for entry in RunFolder(run, AlignParams())] == [e.movie for e in entries]


DAMAGES = {
    "row is empty": lambda entry: entry.update(row={}),
    "row is no row": lambda entry: entry.update(row=[1]),
    "flags are null": lambda entry: entry["row"].update(flags=None),
    "flags are a number": lambda entry: entry["row"].update(flags=3),
    "a number is a word": lambda entry: entry["row"].update(total_motion_A="x"),
    "a number is too large": lambda entry: entry["row"].update(movie_pixel_size_A=10**400),
    "outputs are elsewhere": lambda entry: entry["row"].update(outputs=["../x.mrc"]),
    "the micrograph is elsewhere": lambda entry: entry["row"].update(micrograph="/etc/passwd"),
    "the record is another": lambda entry: entry["row"].update(record="other_record.json"),
    "the name is elsewhere": lambda entry: entry.update(name="../escaped"),
    "the name is above": lambda entry: entry.update(name=".."),
    "the movie is a number": lambda entry: entry.update(movie=7),
    "the movie is relative": lambda entry: entry.update(movie="m.mrc"),
    "the failure is of another kind": lambda entry: entry.update(
        failure={"kind": "of a newer version", "message": "y", "exit_code": 1}
    ),
    "the failure is a word": lambda entry: entry.update(failure="bad"),
    "the time is a word": lambda entry: entry.update(record_ns="now"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_entry_is_made_again_from_the_record(run, damage):
    index = index_of(run)
    expected = {entry.movie: entry for entry in read_index(run / "run.json")}
    DAMAGES[damage](index["movies"][0])
    (run / "run.json").write_text(json.dumps(index))

    assert len(read_index(run / "run.json")) == MOVIES - 1
    folder = RunFolder(run, AlignParams())
    found = {entry.movie: entry for entry in folder}
    folder.write(at_once=True)

    assert found.keys() == expected.keys()
    for movie, entry in found.items():
        assert entry.name == expected[movie].name
        assert entry.row["record"] == expected[movie].row["record"]
    assert len((run / tables.CSV_NAME).read_text().splitlines()) == 1 + MOVIES


# What does not even begin like an index may be somebody else's file of that name.
NO_INDEX = {
    "": "move them away",
    "{": "move them away",
    "[]": "move them away",
    "[" * 10**5: "move them away",
    '{"schema": "x"}': "remove it",
    '{"schema": 1}': "remove it",
}


@pytest.mark.parametrize("text", NO_INDEX)
def test_what_is_no_index_is_refused_and_kept(run, text):
    (run / "run.json").write_text(text)

    with pytest.raises(InputError, match=NO_INDEX[text]):
        RunFolder(run, AlignParams())

    assert (run / "run.json").read_text() == text


def test_a_failure_comes_back(tmp_path):
    folder = RunFolder(tmp_path, AlignParams())
    entry = Entry("/raw/m.mrc", "m", "key", 0, Failure("input", "expected a movie", 3))
    folder._entries[entry.movie] = entry
    folder.write(at_once=True)

    assert [dataclasses.asdict(e) for e in read_index(tmp_path / "run.json")] == [
        dataclasses.asdict(entry)
    ]


def test_one_odd_record_is_left_out_and_told(run):
    path = sorted(run.glob("*_record.json"))[1]
    plain = json.loads(path.read_text())
    plain["outputs"] = []
    path.write_text(json.dumps(plain))
    told: list[str] = []

    records = read_records(run, told.append)

    assert len(records) == MOVIES - 1
    assert len(told) == 1
    assert path.name in told[0]
    assert "outputs" in told[0]
    assert len(list(RunFolder(run, AlignParams()))) == MOVIES - 1


def test_flags_of_movies_that_are_no_run_are_counted_by_their_names(run):
    (run / "run.json").unlink()
    path = sorted(run.glob("*_record.json"))[0]
    plain = json.loads(path.read_text())
    plain["quality"]["flags"] = [{"name": "jump", "severity": "warning"}]
    path.write_text(json.dumps(plain))

    facts = inspect_folder(run)

    assert facts.values["done"] == MOVIES
    assert facts.values["flags"]["jump"] == 1
    assert "1 jump" in facts.describe()
