"""The tools of these tests can fail."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from mutations import fuzzing, mutated, mutated_json, mutated_text, only_typed_errors

from flexalign.errors import InputError


def test_typed_errors_pass():
    with only_typed_errors(max_bytes=10_000_000):
        raise InputError("expected one thing, found another")


def test_other_errors_do_not_pass():
    with pytest.raises(KeyError), only_typed_errors(max_bytes=10_000_000):
        raise KeyError


def test_memory_beyond_the_bound_does_not_pass():
    with pytest.raises(AssertionError, match="bytes were held"), only_typed_errors(max_bytes=1000):
        bytes(2000)


def test_endless_work_does_not_pass(monkeypatch):
    monkeypatch.setattr("mutations.MAX_CPU_S", 0.05)

    with pytest.raises(AssertionError, match="processor"), only_typed_errors(max_bytes=1000):
        sum(1 for _ in itertools.count())


@given(mutated(b"0123456789", at=[4]))
@fuzzing
def test_bytes_stay_bytes(data):
    assert isinstance(data, bytes)


@given(mutated_text("data_\nloop_\n_rlnOne #1\n1.5 2\n", words=("loop_",)))
@fuzzing
def test_text_becomes_bytes(data):
    assert isinstance(data, bytes)


@given(mutated_json({"a": [1, {"b": None}]}))
@fuzzing
def test_json_stays_json(data):
    assert isinstance(json.loads(data), dict)
