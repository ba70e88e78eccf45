"""A whole movie on the simulated GPU gives the motion and the micrographs of the CPU."""

from __future__ import annotations

from dataclasses import dataclass

import mrcfile
import numpy as np
import pytest
from scipy import ndimage

from flexalign import open_movie
from flexalign.align import align_movie
from flexalign.arrays.device import CPU, Device
from flexalign.io.references import references_for
from flexalign.params import AlignParams
from flexalign.passes import first_pass
from flexalign.plan import make_plan
from flexalign.progress import silent

PATH_PX = np.array([[0, 0], [1, -2], [3, -3]])


def drifting_movie(path, kind):
    """Counts of a smooth specimen that moves by whole pixels."""
    rng = np.random.default_rng(1)
    wide = ndimage.gaussian_filter(rng.normal(size=(64, 72)), 1.0, mode="wrap")
    specimen = 40 + 60 * wide
    with mrcfile.new(path) as file:
        frames = [np.roll(specimen, tuple(shift), (0, 1)) for shift in PATH_PX]
        file.set_data(rng.poisson(np.clip(frames, 1, None)).clip(max=127).astype(kind))
    return path


@pytest.mark.parametrize(
    ("kind", "pixel_size_A", "patches"), [(np.int8, 3.0, (2, 2)), (np.int16, 1.5, (1, 1))]
)
def test_motion_and_sums_are_those_of_the_cpu(tmp_path, kind, pixel_size_A, patches):
    movie = drifting_movie(tmp_path / "movie.mrcs", kind)
    settings = {
        "pixel_size_A": pixel_size_A, "dose_per_frame_e_A2": 2.0, "psd": False,
        "local": patches != (1, 1), "patches": patches, "min_patch_A": 50.0,
        "max_resolution_A": 16 / 3 * pixel_size_A, "max_shift_A": 20 / 3 * pixel_size_A,
    }  # fmt: skip

    cpu, gpu = (
        align_movie(movie, AlignParams(device=device, threads=1, **settings))
        for device in ("cpu", "cuda")
    )

    found, expected = (result.motion.trajectory.displacement_px for result in (gpu, cpu))
    np.testing.assert_allclose(np.diff(expected, axis=0), np.diff(PATH_PX, axis=0), atol=0.1)
    np.testing.assert_allclose(found, expected, atol=1e-3)
    assert (cpu.motion.field is None) == (patches == (1, 1))
    if cpu.tracks is not None:
        np.testing.assert_allclose(
            gpu.tracks.displacement_px, cpu.tracks.displacement_px, atol=1e-3
        )
    for name in ("plain", "dose_weighted", "unaligned"):
        reference = getattr(cpu.sums, name)
        deviation = getattr(gpu.sums, name) - reference
        assert np.abs(deviation).max() < 1e-4 * reference.max(), name
    assert cpu.record.decisions["device"] == "cpu"
    assert gpu.record.decisions["device"] == "cuda:0 (simulated)"


@dataclass(frozen=True)
class LimitedGpu(Device):
    """A simulated GPU with so much free memory."""

    free: int = 0

    def free_bytes(self):
        return self.free


class CountedMovie:
    """A movie that notes which frames are read."""

    def __init__(self, reader):
        self.info, self.reader, self.read = reader.info, reader, []

    def frames(self, frames=None, *, threads=1):
        for frame in self.reader.frames(frames, threads=threads):
            self.read.append(frame.index)
            yield frame

    def close(self):
        self.reader.close()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


def test_frames_on_the_gpu_are_not_read_again(tmp_path):
    path = drifting_movie(tmp_path / "movie.mrcs", np.int16)
    with mrcfile.mmap(path, "r+") as file:
        file.data[-1] = 0  # a blank frame, which is left out
    params = {"pixel_size_A": 1.5, "threads": 1, "psd": False, "local": False, "refine": False}
    means = []

    for device, times in (("cpu", 2), ("cuda", 1)):
        with CountedMovie(open_movie(path)) as movie:
            means.append(align_movie(movie, AlignParams(device=device, **params)).sums.plain)
        assert sorted(movie.read) == sorted([0, 1, 2] * times), device

    np.testing.assert_allclose(means[1], means[0], atol=1e-4 * means[0].max())


def test_small_frames_are_the_same_on_the_gpu_and_where_it_lacks_the_memory(tmp_path):
    path = drifting_movie(tmp_path / "movie.mrcs", np.int8)
    params = AlignParams(pixel_size_A=1.5, threads=1)
    found = {}

    with open_movie(path) as movie:
        plan = make_plan(movie.info, params)
        enough = plan.gpu_memory_bytes + 2 * plan.gpu_estimation_bytes
        references = references_for(movie.info, params)
        for name, free in (("gpu", enough), ("host", enough - 1), ("cpu", None)):
            device = CPU if free is None else LimitedGpu("cuda:0", is_simulated=True, free=free)
            found[name] = first_pass(movie, plan, references, params, 1, silent, device)

    assert {name: frames.is_resident for name, (frames, _) in found.items()} == {
        "gpu": True, "host": False, "cpu": False,
    }  # fmt: skip
    expected, first = found["cpu"]
    for frames, other in (found["gpu"], found["host"]):
        assert frames.pixels.dtype == expected.pixels.dtype == np.float16
        np.testing.assert_allclose(frames.pixels, expected.pixels, atol=2e-3)
        np.testing.assert_allclose(other.frame_counts, first.frame_counts, rtol=1e-6)
        np.testing.assert_allclose(other.unaligned, first.unaligned, rtol=1e-5)
