"""Images as arrays on a device: no paths, no Angstroms, no parameters object.

Shared by all: `device` (CPU or GPU), `backends` (interfaces that both implement),
`threads`, `fourier` (the only caller of FFTs), `kernels` (compiled loops) and `gpu`.

First pass: `detector` (dark, gain, bad pixels), `frame_checks` and `duplicate_frames` (frames
that cannot be used, by their `frame_samples`), `hot_pixels` with `bright_squares`, `blank_area` (no
electrons), `downsample`.

Estimation: `frame_stack` (what is computed of small frames), `correlate` (cross-correlation and its
peaks), `likelihood_sweeps`.

All: `resident_frames` (frames that stay on a GPU).

Second pass: `resample` (cubic B-spline interpolation), `aligned_sum`, `lowrank_weights` with
`dose` (exposure weights), `power_spectrum`.
"""
