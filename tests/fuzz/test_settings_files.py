"""Damaged settings: a typed error, or parameters in their limits."""

from __future__ import annotations

from hypothesis import example, given
from mutations import fuzzing, mutated_text, only_typed_errors

from flexalign.io.doses import read_doses
from flexalign.params import AlignParams
from flexalign.settings import load_settings

MAX_BYTES = 16 << 20
SETTINGS = """
pixel-size = 0.885
voltage_kV = 300
dose-per-frame = [1.2, 1.2, 0.6]
control-points = [5, 6, 7]
local = true
gain = "gain.mrc"
write = "relion,motioncor"
reference-frame = "auto"
"""
WORDS = ("[a]", "[[a]]", "1e999", "inf", "1979-05-27", '"""', "0x", "9" * 5000, "[" * 3000, "true")
DOSES = "20 10 0.05\n13 5 0.1\n"


@given(data=mutated_text(SETTINGS, words=WORDS))
@example(data=SETTINGS.encode())
@example(data=b"a = " + b"[" * 100_000)
@example(data=b"pixel-size = " + b"9" * 10_000)
@fuzzing
def test_damaged_settings(tmp_path, data):
    path = tmp_path / "settings.toml"
    path.write_bytes(data)

    with only_typed_errors(max_bytes=MAX_BYTES):
        AlignParams.from_dict(load_settings(path)).to_dict()


@given(data=mutated_text(DOSES, words=("1e999", "-1", "0 0 0", "9" * 400)))
@fuzzing
def test_damaged_lists_of_doses(tmp_path, data):
    path = tmp_path / "doses.txt"
    path.write_bytes(data)

    with only_typed_errors(max_bytes=MAX_BYTES):
        read_doses(path)
