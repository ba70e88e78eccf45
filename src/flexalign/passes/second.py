"""The second pass: each frame is corrected, interpolated once along the motion, and summed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from flexalign.arrays import detector, dose, resample
from flexalign.arrays.aligned_sum import LATTICE_STEP_PX
from flexalign.arrays.backends import make_frame_summation
from flexalign.arrays.device import CPU, Device
from flexalign.arrays.lowrank_weights import ExponentialWeights
from flexalign.arrays.power_spectrum import GroupedAmplitude
from flexalign.arrays.resident_frames import ResidentFrames
from flexalign.arrays.threads import ThreadPool
from flexalign.io.movies.reader import MovieReader, RawFrame
from flexalign.model import FloatArray, FrameSums
from flexalign.motion import Motion
from flexalign.params import AlignParams
from flexalign.passes.first import FirstPass
from flexalign.passes.raw_frames import raw_frames
from flexalign.plan import FRAMES_PER_BATCH, Plan
from flexalign.progress import Progress

# For the CTF, frames are summed in groups of about this dose before their amplitudes are; if the
# dose is unknown, in groups of this many frames.
_GROUP_DOSE_E_A2 = 4.0
_GROUP_FRAMES = 4


def second_pass(
    reader: MovieReader,
    plan: Plan,
    first: FirstPass,
    motion: Motion,
    params: AlignParams,
    threads: int,
    progress: Progress,
    device: Device = CPU,
    resident: ResidentFrames | None = None,
) -> FrameSums:
    """Read the frames to sum, interpolate each along the motion, and sum them.

    Frames that are `resident` on a GPU are not copied to it again, and not read if all are.
    """
    shape = (reader.info.height_px, reader.info.width_px)
    rows, columns = (resample.lattice_nodes(size, LATTICE_STEP_PX) for size in shape)
    with ThreadPool(threads) as workers:
        sums = make_frame_summation(
            device,
            workers,
            first.correction,
            shape,
            plan.output_shape_px,
            FRAMES_PER_BATCH,
            names=("all", "odd", "even") if params.odd_even else ("all",),
            weights=frame_weights(plan, params),
            image_count=plan.sum.count if params.save_movie else 0,
            resident=resident,
        )
        amplitude = _amplitude_sum(plan, params, threads)
        # The amplitudes are summed on the host.
        frames = (
            _frames_on(device, reader, plan, first, resident, threads)
            if amplitude is None
            else reader.frames(plan.sum, threads=threads)
        )
        for raw in frames:
            if raw.pixels is not None and raw.index not in first.bad_frames:
                if amplitude is not None:
                    amplitude.add(
                        detector.correct(raw.pixels, first.correction, raw.index, threads)
                    )
                lattice = motion.on_lattice(raw.index, rows, columns).astype(np.float32)
                # Counted from 1, as users count: the first frame of the file is odd.
                parity = "odd" if raw.index % 2 == 0 else "even"
                names = ("all", parity) if params.odd_even else ("all",)
                sums.add(raw.pixels, raw.index, lattice, names, raw.index - plan.sum.first)
            progress("sum", raw.index - plan.sum.first + 1, plan.sum.count)
        return FrameSums(
            plain=sums.mean("all"),
            dose_weighted=sums.weighted_mean(),
            odd=sums.mean("odd") if params.odd_even else None,
            even=sums.mean("even") if params.odd_even else None,
            unaligned=sums.at_output_size(first.unaligned),
            aligned=sums.images(),
            amplitude=None if amplitude is None else amplitude.result(),
        )


def _frames_on(
    device: Device,
    reader: MovieReader,
    plan: Plan,
    first: FirstPass,
    resident: ResidentFrames | None,
    threads: int,
) -> Iterator[RawFrame]:
    """The frames to sum: those of the device if all good ones are there, else read again."""
    good = [index for index in plan.sum if index not in first.bad_frames]
    if resident is None or any(resident.get(index) is None for index in good):
        for raw, _ in raw_frames(reader, plan.sum, threads, device):
            yield raw
        return
    for index in plan.sum:
        yield RawFrame(index, resident.get(index))


def _amplitude_sum(plan: Plan, params: AlignParams, threads: int) -> GroupedAmplitude | None:
    """Accumulator of the amplitudes of unaligned frames, for RELION's CTF programs."""
    if "relion" not in params.formats:
        return None
    per_frame = plan.dose_per_frame_e_A2
    group_frames = max(1, round(_GROUP_DOSE_E_A2 / per_frame)) if per_frame else _GROUP_FRAMES
    return GroupedAmplitude(plan.output_shape_px, group_frames, threads)


def frame_weights(plan: Plan, params: AlignParams) -> ExponentialWeights | None:
    """Exposure weights of each frame and frequency; None without dose weighting.

    The pre-exposure cancels in the weighted mean.
    """
    if not params.dose_weight or plan.dose_per_frame_e_A2 is None:
        return None
    edges = np.arange(plan.sum.first, plan.sum.stop + 1, dtype=np.float64)
    dose_e_A2 = plan.dose_before_e_A2(edges)
    assert dose_e_A2 is not None
    doses_e_A2 = np.diff(dose_e_A2)
    y_A, x_A = (plan.pixel_size_A * binning for binning in plan.binning)

    def rate_at(ky: FloatArray, kx: FloatArray) -> FloatArray:
        frequency_per_A = np.hypot(ky / y_A, kx / x_A)
        return dose.log_weight_per_dose(frequency_per_A, params.voltage_kV)

    # A frame is weighted by the accumulated dose at its end; its noise grows with its own dose.
    return ExponentialWeights(
        rate_at,
        plan.output_shape_px,
        time=dose_e_A2[1:] - dose_e_A2[1],
        noise=doses_e_A2 / doses_e_A2.mean(),
    )
