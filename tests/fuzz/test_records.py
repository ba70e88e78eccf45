"""Damaged records and indexes: a typed error, or a run, a report and a list of what is there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from mutations import fuzzing, mutated, mutated_json, only_typed_errors

from flexalign.batch.folder import RunFolder
from flexalign.batch.folder_facts import inspect_folder
from flexalign.io.inspect.inspection import inspect_file
from flexalign.io.motion_formats.exports import read_records
from flexalign.io.record import read_record
from flexalign.params import AlignParams
from flexalign.report.live import Report
from flexalign.settings import load_settings

MAX_BYTES = 64 << 20
PARAMS = AlignParams(pixel_size_A=1.0)


@pytest.fixture(scope="module")
def made(make_session, tmp_path_factory) -> Path:
    """A folder with the records of two movies, their small pictures, and an index of them."""
    made = tmp_path_factory.mktemp("made")
    make_session(made, 2)
    for path in made.glob("*_record.json"):
        for name in read_record(path).outputs.values():
            (made / name).touch()
    (made / "run.json").unlink()
    RunFolder(made, PARAMS).write(at_once=True)
    return made


@pytest.fixture(scope="module")
def run(made, tmp_path_factory) -> Path:
    """A copy of that folder, in which one file is damaged."""
    return shutil.copytree(made, tmp_path_factory.mktemp("copy") / "run")


def damaged(path: Path) -> st.SearchStrategy[bytes]:
    """What a JSON file may have become."""
    content = path.read_bytes()
    return mutated_json(json.loads(content)) | mutated(content)


def go_on(run: Path) -> None:
    """Everything that is done with a folder of results before a movie is aligned."""
    with only_typed_errors(max_bytes=MAX_BYTES):
        RunFolder(run, PARAMS)
    with only_typed_errors(max_bytes=MAX_BYTES):
        inspect_folder(run)


@given(data=st.data())
@fuzzing
def test_a_damaged_record_of_many(made, run, data):
    path = sorted(run.glob("*_record.json"))[0]
    path.write_bytes(data.draw(damaged(made / path.name)))

    go_on(run)
    with only_typed_errors(max_bytes=MAX_BYTES):
        Report(run).write()
    with only_typed_errors(max_bytes=MAX_BYTES):
        load_settings(path)
    with only_typed_errors(max_bytes=MAX_BYTES):
        inspect_file(path, PARAMS)
    # One record that cannot be read is left out; the other one is still there.
    assert len(read_records(run)) >= 1


@given(data=st.data())
@fuzzing
def test_a_damaged_index(made, run, data):
    shutil.copytree(made, run, dirs_exist_ok=True)
    (run / "run.json").write_bytes(data.draw(damaged(made / "run.json")))

    go_on(run)


@given(text=st.sampled_from(["[" * 100_000, '{"a":' * 100_000, "null", "1e999", '"' * 3, ""]))
@example(text='{"outputs": {"record": "m_record.json"}, "motion": null}')
@fuzzing
def test_what_is_json_but_no_record(tmp_path, text):
    path = tmp_path / "m_record.json"
    path.write_text(text)

    go_on(tmp_path)
    with only_typed_errors(max_bytes=MAX_BYTES):
        read_record(path)
