"""GPU implementations: `passes`, `rendering` (EER), `frame_stack` (small frames) and `sweeps`.

The CUDA kernels are in `kernels` (of the passes), `event_kernels`, `pair_kernels` and
`spectra_kernels`; `upload` copies raw frames.
"""
