"""Damaged files that lie beside movies, as `info` meets them."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutations import fuzzing, mutated, mutated_text, only_typed_errors

from flexalign.io.inspect.inspection import inspect_file
from flexalign.params import AlignParams

TEXTS = {
    "a.mdoc": "PixelSpacing = 1.35\nVoltage = 300\n[ZValue = 0]\nTiltAngle = -3\nNumSubFrames = 8\n"
    "[ZValue = 1]\nTiltAngle = 3\n",
    "a.xml": "<MicroscopeImage><AccelerationVoltage>300000</AccelerationVoltage><pixelSize><x>"
    "<numericValue>8.3E-11</numericValue></x></pixelSize></MicroscopeImage>",
    "a_TLT.txt": "-3.01 2 1.5\n0.02 1 1.5\n",
    "a.rawtlt": "-3\n0\n3\n",
}
TVIPS = struct.pack("<13I", 256, 2, 8, 6, 16, 0, 0, 1, 1, 15500, 300, 50000, 12).ljust(500, b"\0")
PARAMS = AlignParams(pixel_size_A=1.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("session")


@pytest.mark.parametrize("name", TEXTS)
@given(data=st.data())
@fuzzing
def test_texts(folder, name, data):
    path = folder / name
    path.write_bytes(data.draw(mutated_text(TEXTS[name])))
    with only_typed_errors(max_bytes=2_000_000):
        inspect_file(path, PARAMS)


@given(content=mutated(TVIPS, at=range(0, 52, 4)))
@fuzzing
def test_streams_of_tvips(folder, content):
    path = folder / "a_000.tvips"
    path.write_bytes(content)
    with only_typed_errors(max_bytes=2_000_000):
        inspect_file(path, PARAMS)
