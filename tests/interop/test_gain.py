"""Gain references beside those that RELION makes."""

from __future__ import annotations

import json

import mrcfile
import numpy as np
import pytest
from scipy.ndimage import uniform_filter


@pytest.fixture(scope="module")
def references(project, relion, flexalign):
    """RELION's reference of two movies, one of them TIFF, and ours, as MRC files hold them."""
    names = ("Movies/a.b.mrc", "Movies/c.tiff")
    star = project.movies_star(*names)
    relion(project.folder, "estimate_gain", "--i", star, "--o", "relion.mrc")
    flexalign(project.folder, "estimate-gain", *names, "--out", "ours.mrc")
    return [mrcfile.read(project.folder / f"{name}.mrc") for name in ("relion", "ours")]


def test_our_reference_is_relions_but_for_the_illumination_and_bad_pixels(references):
    theirs, ours = references
    good = (ours > 0) & (theirs > 0)
    ratio = np.where(good, ours / np.where(good, theirs, 1), 1)

    smooth = uniform_filter(ratio, 41)

    assert good.mean() > 0.999
    assert np.std((ratio / smooth)[good]) < 0.002
    assert ours[good].mean() == pytest.approx(1, abs=1e-4)


def test_relions_reference_fits_the_movies(project, references, flexalign):
    words = ("check-gain", "Movies/a.b.mrc", "--gain", "relion.mrc", "--json")

    assert json.loads(flexalign(project.folder, *words))["verdict"] == "fits"
