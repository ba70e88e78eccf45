"""EER movies of which a simulated GPU renders the frames: results, transfers, and what is kept."""

from __future__ import annotations

import mrcfile
import numpy as np
import pytest
import tifffile
from scipy import ndimage

from flexalign import AlignParams, open_movie
from flexalign.align import align_movie
from flexalign.arrays.device import CPU
from flexalign.arrays.gpu.rendering import GpuRenderer
from flexalign.io.movies.eer_writer import write_eer
from flexalign.io.movies.open_movie import open_for
from flexalign.io.movies.packed_movie import caching
from flexalign.io.references import references_for
from flexalign.model import FrameRange
from flexalign.passes import first_pass
from flexalign.passes.raw_frames import raw_frames
from flexalign.plan import make_plan
from flexalign.progress import silent

SIDE_PX, PER_FRAME, FRAMES = 64, 2, 3
SMALL_PX = 32  # where nothing is aligned: the simulator is slow


def written(path, side_px):
    """Events of a smooth specimen that moves by a pixel from frame to frame."""
    rng = np.random.default_rng(1)
    specimen = 1 + ndimage.gaussian_filter(rng.normal(size=(side_px, side_px)), 1.5, mode="wrap")
    raw = []
    for k in range(PER_FRAME * FRAMES):
        moved = np.roll(specimen, k // PER_FRAME, 0).clip(0.1)
        y, x = np.nonzero(rng.random(moved.shape) < 0.3 * moved)
        raw.append(4 * np.stack([y, x], 1) + rng.integers(0, 4, (len(y), 2)))
    write_eer(path, raw, height_px=side_px, width_px=side_px, pixel_size_A=3.0)
    return path


@pytest.fixture
def movie(tmp_path):
    return written(tmp_path / "a.eer", SMALL_PX)


def break_raw_frames(path, pages):
    """Make the runs of some raw frames add up to too many pixels."""
    with tifffile.TiffFile(path) as file:
        places = [(file.pages[p].dataoffsets[0], file.pages[p].databytecounts[0]) for p in pages]
    content = bytearray(path.read_bytes())
    for offset, size in places:
        content[offset : offset + size] = b"\xfe" * size
    path.write_bytes(content)


@pytest.mark.parametrize("upsampling", [1, 2])
def test_frames_problems_and_samples_are_those_of_the_host(movie, counting_device, upsampling):
    break_raw_frames(movie, [1, 4, 5])
    with open_movie(movie, eer_fractions=FRAMES, eer_upsampling=upsampling) as reader:
        expected, found = (
            list(raw_frames(reader, FrameRange(0, FRAMES), 2, on)) for on in (CPU, counting_device)
        )

    problems = [raw.problem for raw, _ in found]
    assert problems == [raw.problem for raw, _ in expected]
    assert [bool(problem) for problem in problems] == [True, False, True]
    for (raw, samples), (host, host_samples) in zip(found, expected, strict=True):
        assert raw.index == host.index
        if host.pixels is None:
            assert raw.pixels is samples is None
            continue
        assert counting_device.holds(raw.pixels)
        assert not any(map(counting_device.holds, samples))
        np.testing.assert_array_equal(counting_device.host(raw.pixels), host.pixels)
        for one, other in zip(samples, host_samples, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("upsampling", [1, 2])
def test_only_codes_are_copied_to_the_device_and_only_samples_back(
    movie, counting_device, upsampling
):
    with open_movie(movie, eer_fractions=FRAMES, eer_upsampling=upsampling) as reader:
        packed = [reader.packed_frame(index) for index in range(FRAMES)]
        found = list(raw_frames(reader, FrameRange(0, FRAMES), 1, counting_device))

    counts, raw_count = counting_device.counts, PER_FRAME * FRAMES
    assert counts.bytes_up == sum(frame.data.nbytes for frame in packed) + 40 * raw_count
    sampled = sum(part.nbytes for _, samples in found for part in samples)
    assert counts.bytes_down == 4 * raw_count + sampled
    assert counts.kernels == 3 * FRAMES
    # Zeros of the image and of the flags; flags and samples, to be copied to the host.
    assert counts.operations == 5 * FRAMES
    assert counts.waits == FRAMES


def test_a_frame_is_waited_for_when_the_next_one_is_queued(movie, counting_device):
    with open_movie(movie, eer_fractions=FRAMES) as reader:
        frames = raw_frames(reader, FrameRange(0, FRAMES), 1, counting_device)
        next(frames)
        assert (counting_device.counts.kernels, counting_device.counts.waits) == (2 * 3, 1)


def test_the_first_pass_finds_what_it_finds_on_the_cpu(tmp_path, counting_device):
    movie = written(tmp_path / "a.eer", SIDE_PX)
    break_raw_frames(movie, [1])
    params = AlignParams(threads=1, eer_fractions=FRAMES, hot_pixels=False)
    with open_movie(movie, eer_fractions=FRAMES) as reader:
        plan = make_plan(reader.info, params)
        references = references_for(reader.info, params)
        (expected, cpu), (found, gpu) = (
            first_pass(reader, plan, references, params, 1, silent, on)
            for on in (CPU, counting_device)
        )

    assert gpu.notes == cpu.notes == {0: "1 of 2 raw frames cannot be decoded and were left out"}
    np.testing.assert_array_equal(gpu.unaligned, cpu.unaligned)
    np.testing.assert_allclose(counting_device.host(found.pixels), expected.pixels, atol=2e-3)


@pytest.mark.parametrize("upsampling", [1, 2])
def test_motion_and_sums_are_those_of_the_cpu(tmp_path, upsampling):
    movie = written(tmp_path / "a.eer", SIDE_PX // upsampling)
    gain = tmp_path / "gain.mrc"
    rng, sides = np.random.default_rng(5), (SIDE_PX,) * 2
    with mrcfile.new(gain) as file:
        file.set_data(rng.uniform(0.9, 1.1, sides).astype(np.float32))
    settings = {
        "eer_fractions": FRAMES, "eer_upsampling": upsampling, "local": False, "psd": False,
        "refine": False, "odd_even": True,
        "gain": str(gain), "threads": 1, "max_resolution_A": 16.0,
    }  # fmt: skip

    cpu, gpu = (
        align_movie(movie, AlignParams(device=device, **settings)) for device in ("cpu", "cuda")
    )

    paths_px = [result.motion.trajectory.displacement_px for result in (gpu, cpu)]
    np.testing.assert_allclose(*paths_px, atol=1e-3)
    for name in ("plain", "odd", "even", "unaligned"):
        expected = getattr(cpu.sums, name)
        deviation = getattr(gpu.sums, name) - expected
        assert np.abs(deviation).max() < 1e-4 * np.abs(expected).max(), name


def test_frames_read_ahead_are_kept_as_in_the_file_and_rendered_from_memory(movie, counting_device):
    with open_movie(movie, eer_fractions=FRAMES) as reader, caching(reader) as kept:
        expected = [frame.pixels for frame in reader.frames()]
        kept.load(FrameRange(0, FRAMES), 2, silent)
        movie.unlink()
        decoded = [frame.pixels for frame in kept.frames()]
        found = [
            counting_device.host(raw.pixels)
            for raw, _ in raw_frames(kept, FrameRange(0, FRAMES), 1, counting_device)
        ]

    np.testing.assert_array_equal(decoded, expected)
    np.testing.assert_array_equal(found, expected)


def test_frames_of_unequal_numbers_of_raw_frames_are_rendered(movie, tmp_path, counting_device):
    with open_movie(movie, eer_fractions=PER_FRAME * FRAMES) as reader:
        single = np.array([frame.pixels for frame in reader.frames()])
    groups = tmp_path / "groups.txt"
    groups.write_text("2 1 0.1\n4 2 0.1\n")
    params = AlignParams(eer_groups=str(groups))
    with open_for(movie, params) as reader:
        renderer = GpuRenderer(counting_device, reader.max_packed_bytes)
        found = [
            counting_device.host(renderer.render(reader.packed_frame(index))().pixels)
            for index in range(4)
        ]

    starts = [0, 1, 2, 4]
    np.testing.assert_array_equal(found, np.add.reduceat(single, starts, axis=0))
