"""Roots of names and names of outputs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from flexalign.naming import FORMAT_KINDS, SUFFIXES, movie_root, output_names
from flexalign.params import WRITTEN_FORMATS, AlignParams


@pytest.mark.parametrize(
    ("path", "root"),
    [
        ("raw/x.mrc", "x"),
        ("x.mrc.bz2", "x"),
        ("a.b_c.tif", "a.b_c"),
        ("X.TIFF", "X"),
        ("FoilHole_1_EER.eer", "FoilHole_1_EER"),
        ("x.mrcs.gz", "x"),
        ("x.mrc.mrc", "x.mrc"),
        ("no_extension", "no_extension"),
        ("version1.2", "version1.2"),
    ],
)
def test_root_is_the_name_without_its_known_extensions(path, root):
    assert movie_root(path) == root


def test_every_format_of_another_program_has_its_files():
    assert set(FORMAT_KINDS) == set(WRITTEN_FORMATS)
    assert {kind for kinds in FORMAT_KINDS.values() for kind in kinds} <= set(SUFFIXES)


def test_parameters_say_which_files_may_come():
    everything = AlignParams(
        odd_even=True, save_unaligned=True, save_movie=True, write="relion, motioncor, warp"
    )
    few = AlignParams(dose_weight=False, psd=False)

    assert output_names("a", everything) == [f"a{suffix}" for suffix in SUFFIXES.values()]
    assert output_names("a", few) == [
        f"a{SUFFIXES[kind]}"
        for kind in ("micrograph", "shifts", "motion", "plot", "thumbnail", "record")
    ]


def test_names_need_no_numerical_library():
    code = "import sys, flexalign.naming; print('numpy' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert found.stdout.strip() == "False"
