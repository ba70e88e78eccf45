"""GPU implementations: `kernels` (CUDA), `passes` (both passes and the sweeps), `upload`."""
