"""Moving an image: the spline is scipy's, the sign is the package's, the edge is a mirror."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from flexalign.arrays.resample import lattice_nodes, sample, spline_coefficients

SHAPE_PX = (47, 90)
STEP_PX = 16


@pytest.fixture(scope="module")
def image():
    pixels = np.random.default_rng(1).normal(size=SHAPE_PX).astype(np.float32)
    pixels.flags.writeable = False
    return pixels


def lattice_of(displacement, shape_px=SHAPE_PX, step_px=STEP_PX):
    """`displacement(y, x) -> (dy, dx)` at the lattice's nodes."""
    y, x = (lattice_nodes(n, step_px).astype(float) for n in shape_px)
    dy, dx = displacement(y[:, None], x[None, :])
    shape = (y.size, x.size)
    return np.stack([np.broadcast_to(dy, shape), np.broadcast_to(dx, shape)]).astype(np.float32)


def moved(image, displacement, threads=1, step_px=STEP_PX):
    lattice = lattice_of(displacement, image.shape, step_px)
    return sample(spline_coefficients(image, threads), lattice, step_px, threads)


def by_scipy(image, displacement):
    """What `scipy.ndimage` finds at p + displacement(p)."""
    y, x = np.mgrid[: image.shape[0], : image.shape[1]].astype(float)
    dy, dx = displacement(y, x)
    return ndimage.map_coordinates(image.astype(float), [y + dy, x + dx], order=3, mode="mirror")


@pytest.mark.parametrize("shape_px", [(47, 90), (90, 47), (64, 64), (15, 200)])
def test_coefficients_are_those_of_scipy_up_to_the_edges(shape_px):
    image = np.random.default_rng(2).normal(size=shape_px).astype(np.float32)

    expected = ndimage.spline_filter(image.astype(float), order=3, mode="mirror")

    np.testing.assert_allclose(spline_coefficients(image), expected, atol=2e-5)


@pytest.mark.parametrize(
    "shift_px", [(0.0, 0.0), (0.3, -0.7), (-5.5, 2.25), (11.9, -13.1)], ids=str
)
def test_a_uniform_displacement_samples_as_scipy_does_mirror_included(image, shift_px):
    def displacement(y, x):
        return shift_px[0] + 0 * y, shift_px[1] + 0 * x

    np.testing.assert_allclose(moved(image, displacement), by_scipy(image, displacement), atol=5e-5)


def test_a_displacement_that_grows_linearly_is_exact_between_the_nodes(image):
    def displacement(y, x):
        return 0.5 + 0.02 * y - 0.01 * x, -1.5 + 0.03 * x + 0.005 * y

    np.testing.assert_allclose(moved(image, displacement), by_scipy(image, displacement), atol=2e-4)


def test_between_nodes_the_displacement_is_the_bilinear_mean_of_theirs(image):
    lattice = np.random.default_rng(3).normal(size=lattice_of(lambda y, x: (y, x)).shape)
    y, x = np.mgrid[: SHAPE_PX[0], : SHAPE_PX[1]]
    place = [y / STEP_PX, x / STEP_PX]
    dy, dx = (ndimage.map_coordinates(part, place, order=1) for part in lattice)

    found = sample(spline_coefficients(image), lattice.astype(np.float32), STEP_PX)

    np.testing.assert_allclose(found, by_scipy(image, lambda y, x: (dy, dx)), atol=1e-4)


def test_content_at_a_larger_index_is_put_back_by_a_positive_displacement():
    spot = np.zeros((40, 50), np.float32)
    spot[20 + 3, 25 + 7] = 1

    back = moved(spot, lambda y, x: (3 + 0 * y, 7 + 0 * x))

    assert np.unravel_index(back.argmax(), back.shape) == (20, 25)


def test_whole_pixels_are_moved_as_roll_does_away_from_the_edge(image):
    back = moved(image, lambda y, x: (4 + 0 * y, -6 + 0 * x))

    inside = (slice(4, -4), slice(6, -6))
    np.testing.assert_allclose(back[inside], np.roll(image, (-4, 6), (0, 1))[inside], atol=2e-5)


def test_three_threads_give_the_same_bits_as_one(image):
    def displacement(y, x):
        return 0.4 + 0.013 * y, -0.6 + 0.007 * x

    assert np.array_equal(spline_coefficients(image, 1), spline_coefficients(image, 3))
    assert np.array_equal(moved(image, displacement, 1), moved(image, displacement, 3))


def test_the_input_is_left_alone_whatever_its_kind(image):
    before = image.copy()

    from_other = spline_coefficients(np.asfortranarray(image))

    assert np.array_equal(image, before)
    assert np.array_equal(from_other, spline_coefficients(image))


def test_the_step_of_the_lattice_does_not_matter_for_a_uniform_displacement(image):
    results = [moved(image, lambda y, x: (0.4 + 0 * y, 0.2 + 0 * x), step_px=s) for s in (5, 128)]

    np.testing.assert_allclose(results[0], results[1], atol=1e-6)


def test_the_result_goes_where_it_was_asked_to(image):
    out = np.empty(SHAPE_PX, np.float32)

    result = sample(spline_coefficients(image), lattice_of(lambda y, x: (y, x)), STEP_PX, out=out)

    assert result is out


@pytest.mark.parametrize("size_px", [1, 15, 16, 17, 32, 33])
def test_the_nodes_enclose_the_image(size_px):
    nodes = lattice_nodes(size_px, 16)

    assert nodes[0] == 0
    assert nodes[-1] >= size_px - 1
    assert (np.diff(nodes) == 16).all()


@pytest.mark.parametrize("shape", [(2, 3, 7), (2, 4, 6), (1, 4, 7)], ids=str)
def test_a_lattice_that_does_not_enclose_the_image_is_refused(image, shape):
    with pytest.raises(ValueError, match="expected a lattice"):
        sample(spline_coefficients(image), np.zeros(shape, np.float32), STEP_PX)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_displacement_that_is_no_number_does_not_reach_the_compiled_loops(value):
    lattice = np.zeros((2, 3, 3), np.float32)
    lattice[1, 1, 1] = value

    with pytest.raises(ValueError, match="finite displacement"):
        sample(np.zeros((32, 32), np.float32), lattice, 16)


def test_a_displacement_far_beyond_the_image_takes_no_memory_for_the_way():
    lattice = np.full((2, 3, 3), 1e30, np.float32)
    lattice[:, 0, 0] = -1e30

    moved = sample(np.ones((32, 32), np.float32), lattice, 16)

    np.testing.assert_allclose(moved, 1.0, rtol=1e-5)
