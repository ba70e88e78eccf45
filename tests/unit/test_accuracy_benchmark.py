"""The scores of benchmarks/accuracy.py are what they say."""

from __future__ import annotations

import numpy as np
import pytest
from scripts import benchmarks

from flexalign.arrays import fourier, resample
from flexalign.simulate import simulate_movie


@pytest.fixture(scope="module")
def modules():
    """The scripts accuracy, peers and scoring, which are no package."""
    with benchmarks("accuracy", "peers", "scoring") as scripts:
        yield scripts


@pytest.fixture
def scoring(modules):
    return modules["scoring"]


def test_ssnr_of_a_known_mixture(scoring):
    rng = np.random.default_rng(1)
    signal, noise = rng.standard_normal((2, 512, 640), np.float32)

    found = scoring.band_ssnr(7 + 3 * (noise + 0.5 * signal), signal, 1.0)

    assert found == pytest.approx([0.25] * 4, rel=0.1)


def test_ssnr_of_noise_is_zero(scoring):
    rng = np.random.default_rng(2)
    found = [scoring.band_ssnr(*rng.standard_normal((2, 512, 512), np.float32), 1.0)
             for _ in range(8)]  # fmt: skip

    # What is taken off as chance is 2.5e-3 in the second band; eight images scatter by 3e-4.
    assert abs(np.mean(found, axis=0)[1:]).max() < 1e-3


def test_a_constant_on_top_of_the_true_motion_costs_nothing(scoring):
    movie = simulate_movie(
        shape_px=(512, 448), frame_count=4, electrons_per_px=10.0, dose_per_frame_e_A2=1.0,
        global_motion_px=4.0, local_motion_px=2.0, seed=3, threads=1,
    )  # fmt: skip
    specimen = scoring.Specimen(movie.specimen)
    y, x = specimen.lattice_px
    moved_away = _Moved(movie.motion, (2.3, -1.6))
    offset = scoring.mean_offset_px(moved_away, movie.motion, 4, y, x)
    image = _summed(movie, moved_away)

    best = np.array(scoring.band_ssnr(_summed(movie, movie.motion), movie.specimen, 1.0))
    found = np.array(scoring.band_ssnr(image, specimen.moved(offset), 1.0))
    opposite = np.array(scoring.band_ssnr(image, specimen.moved(-offset), 1.0))

    assert offset.mean(axis=(1, 2)) == pytest.approx([2.3, -1.6], abs=0.02)
    assert found[:2] / best[:2] == pytest.approx([1.0, 1.0], abs=0.03)
    assert (opposite[:2] < 0.3 * best[:2]).all()


class _Moved:
    """A motion that is `motion` plus a constant (y, x) in every frame."""

    def __init__(self, motion, constant_px):
        self.motion, self.constant_px = motion, constant_px

    def displacement_px(self, frame, y, x):
        dy, dx = self.motion.displacement_px(frame, y, x)
        return dy + self.constant_px[0], dx + self.constant_px[1]


def _summed(movie, motion):
    """The frames of `movie` moved along `motion` and added up."""
    y, x = (resample.lattice_nodes(size, 16) for size in movie.settings.shape_px)
    total = np.zeros(movie.settings.shape_px, np.float32)
    for frame, counts in enumerate(movie.counts):
        coefficients = resample.spline_coefficients(counts * movie.gain)
        lattice = np.stack(motion.displacement_px(frame, y[:, None], x[None, :]))
        total += resample.sample(coefficients, lattice.astype(np.float32), 16)
    return total


def test_a_specimen_moves_without_losing_detail(scoring):
    shape = (384, 416)
    spectrum = fourier.rfft2(np.random.default_rng(3).standard_normal(shape, np.float32))
    spectrum *= np.hypot(*fourier.frequencies(shape)) < 0.4
    specimen = scoring.Specimen(fourier.irfft2(spectrum, shape))
    y, x = specimen.lattice_px

    moved = specimen.moved(np.broadcast_to([[[0.3]], [[-0.5]]], (2, y.size, x.size)))

    exact = fourier.irfft2(fourier.phase_shifted(spectrum, shape, (-0.3, 0.5)), shape)
    error = (moved - exact + exact.mean())[64:-64, 64:-64]
    assert np.std(error) < 0.01 * np.std(exact)


STAR = """
# version 30001
data_general

_rlnImageSizeX      200
_rlnImageSizeY      100
_rlnImageSizeZ        3
_rlnMicrographStartFrame 1

data_global_shift

loop_
_rlnMicrographFrameNumber #1
_rlnMicrographShiftX #2
_rlnMicrographShiftY #3
 1  0.0  0.0
 2  1.0 -2.0
 3  3.0 -4.0

data_local_motion_model

loop_
_rlnMotionModelCoeffsIdx #1
_rlnMotionModelCoeff #2
"""


def test_relion_corrections_become_displacements(modules, tmp_path):
    coefficients = np.zeros(36)
    coefficients[3] = 0.5  # X: x z
    coefficients[18 + 10] = 0.25  # Y: y z2
    text = STAR + "".join(f"{index} {value}\n" for index, value in enumerate(coefficients))
    (tmp_path / "movie.star").write_text(text)

    motion = modules["peers"].read_relion_motion(tmp_path / "movie.star")
    dy, dx = motion.displacement_px(2, y=[50.0, 100.0, 50.0], x=[100.0, 100.0, 200.0])

    assert dy == pytest.approx([4.0, 4.0 - 0.25 * 0.5 * 4, 4.0])
    assert dx == pytest.approx([-3.0, -3.0, -3.0 - 0.5 * 0.5 * 2])


def test_tables_show_the_latest_scores_relative_to_the_oracle(modules):
    accuracy = modules["accuracy"]
    found = [
        accuracy.Score("small", 101, "", "refined", "old", 9.0, 9.0, [9.0] * 4, 9.0, "global"),
        accuracy.Score(
            "small", 101, "", "refined", "new", 0.2, 1.0, [0.5, 0.4, 0.3, 0.2], 8.0, "x"
        ),
        accuracy.Score(
            "small", 102, "", "refined", "new", 0.4, 3.0, [1.0, 0.8, 0.6, 0.4], 6.0, "x"
        ),
        accuracy.Score("small", 101, "", "oracle", "new", 0.0, 0.0, [1.0, 0.5, 0.5, 1.0]),
        accuracy.Score("small", 102, "", "oracle", "new", 0.0, 0.0, [1.0, 1.0, 1.0, 1.0]),
    ]

    text = accuracy.tables(found, ["small", "k2"])

    assert "| refined | 0.300 | 3.00 | 0.750 | 0.800 | 0.600 | 0.300 | 7 | x 2 | 2 |" in text
    assert "old" not in text
    assert "k2" not in text
