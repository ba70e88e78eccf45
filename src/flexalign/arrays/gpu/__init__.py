"""The GPU: `kernels` (CUDA), `passes` (counterparts of the CPU's passes and sweep), `upload`."""
