"""Which device `auto` takes: the faster one, by what alignments have been measured to take.

The figures, and what they rest on, are in ``docs/explanation/gpu.md``. They are to be checked with
``benchmarks/gpu.py`` on a GPU.
"""

from __future__ import annotations

# Time of a movie on the CPU: core seconds, and more for each gigapixel of all its frames.
CPU_CORE_S, CPU_CORE_S_PER_GPX = 4.0, 10.0
# Time of a movie on a GPU, alone; in a session, where other movies are read and written meanwhile.
GPU_ALONE_S, GPU_ALONE_S_PER_GPX = 3.7, 2.1
GPU_SESSION_S, GPU_SESSION_S_PER_GPX = 3.5, 1.4
# More cores than these are not known to make a single movie faster.
MAX_CORES_OF_ONE_MOVIE = 2
# Pixels of all frames of a movie of which nothing is known yet: 40 of 4096 x 4096.
USUAL_PIXELS = 40 * 4096 * 4096


def why_cpu(pixels: int, cores: int, *, many: bool) -> str:
    """Why the CPU is taken for a movie although there is a GPU; "" = the GPU is expected faster.

    Parameters
    ----------
    pixels : of all frames together
    cores : that the run, or the single movie, may use
    many : whether movies are aligned in parallel on the CPU, and overlap on the GPU

    Examples
    --------
    >>> why_cpu(40 * 4096 * 4096, 16, many=False)
    ''
    >>> why_cpu(40 * 4096 * 4096, 16, many=True)
    '16 cores are expected to take 0.7 s per movie, the GPU 4.4 s'
    """
    gigapixels = pixels / 1e9
    used_cores = cores if many else min(cores, MAX_CORES_OF_ONE_MOVIE)
    cpu_s = (CPU_CORE_S + CPU_CORE_S_PER_GPX * gigapixels) / used_cores
    if many:
        gpu_s = GPU_SESSION_S + GPU_SESSION_S_PER_GPX * gigapixels
    else:
        gpu_s = GPU_ALONE_S + GPU_ALONE_S_PER_GPX * gigapixels
    if gpu_s < cpu_s:
        return ""
    words = f"{cores} core{'s are' if cores > 1 else ' is'}"
    return f"{words} expected to take {cpu_s:.1f} s per movie, the GPU {gpu_s:.1f} s"
