"""A whole movie on the simulated GPU gives the motion and the micrographs of the CPU."""

from __future__ import annotations

import numpy as np

from flexalign.align import align_movie
from flexalign.params import AlignParams
from flexalign.simulate import simulate_movie


def test_motion_and_sums_are_those_of_the_cpu(tmp_path):
    movie = simulate_movie(
        shape_px=(64, 72), frame_count=4, pixel_size_A=1.5, electrons_per_px=20.0,
        global_motion_px=3.0, local_motion_px=0.0,
    )  # fmt: skip
    movie.save(tmp_path, "movie", "tiff")
    settings = {
        "pixel_size_A": 1.5, "gain": str(tmp_path / "movie_gain.mrc"),
        "dose_per_frame_e_A2": 2.0, "psd": False, "max_resolution_A": 8.0,
    }  # fmt: skip

    cpu, gpu = (
        align_movie(tmp_path / "movie.tiff", AlignParams(device=device, threads=1, **settings))
        for device in ("cpu", "cuda")
    )

    found, expected = (result.motion.trajectory.displacement_px for result in (gpu, cpu))
    assert np.ptp(expected, axis=0).max() > 1
    np.testing.assert_allclose(found, expected, atol=1e-3)
    for name in ("plain", "dose_weighted", "unaligned"):
        reference = getattr(cpu.sums, name)
        deviation = getattr(gpu.sums, name) - reference
        assert np.abs(deviation).max() < 1e-4 * reference.max(), name
    assert cpu.record.decisions["device"] == "cpu"
    assert gpu.record.decisions["device"] == "cuda:0 (simulated)"
