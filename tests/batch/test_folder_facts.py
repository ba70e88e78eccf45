"""What ``flexalign info`` says of a folder of finished movies without an index."""

from __future__ import annotations

from collections import Counter

from flexalign.batch.folder_facts import inspect_folder
from flexalign.batch.inputs import INDEX_NAME
from flexalign.io.record import read_record


def test_flags_are_counted_by_their_names(make_session, tmp_path):
    make_session(tmp_path, 30)
    (tmp_path / INDEX_NAME).unlink()
    records = [read_record(path) for path in tmp_path.glob("*_record.json")]
    flags = Counter(flag.name for record in records for flag in record.quality.flags)

    facts = inspect_folder(tmp_path)

    assert len(flags) > 1
    assert facts.values["flags"] == flags
    assert facts.values["done"] == len(records)
    (line,) = [text for label, text in facts.lines if label == "flags"]
    assert all(f"{count} {name}" in line for name, count in flags.items())
