"""GPU implementations: `passes`, `frame_stack` (small frames) and `sweeps`.

The CUDA kernels are in `kernels` (of the passes), `pair_kernels` and `spectra_kernels`; `upload`
copies raw frames.
"""
