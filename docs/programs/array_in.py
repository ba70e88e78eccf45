"""Align frames that are already in memory, with their gain reference, and write the results."""

import numpy as np

from flexalign import AlignParams, align_movie

frames = np.load("frames.npy", mmap_mode="r")  # (t, y, x): NumPy, Zarr, Dask, HDF5, ...
gain = np.load("gain.npy")  # (y, x), multiplies

params = AlignParams(pixel_size_A=1.5, dose_per_frame_e_A2=1.2)
result = align_movie(frames, params, gain=gain)

print(result)
micrograph = result.sums.dose_weighted  # (y, x) float32
record = result.save("aligned", "stack_1")
print(record.outputs["dose_weighted"], micrograph.shape)
