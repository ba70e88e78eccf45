"""Every compiled loop of the CPU, in a module named by what it computes.

`elementwise` has the formulas of one pixel, which the GPU shares; `float16` the storage of images
in 16 bits; `raw_frames` corrects tiles of raw frames; `warp` interpolates and sums frames;
`downsample` down-samples them; `tiles` cuts and tapers patches; `peaks` multiplies pairs of
spectra and finds their maxima, by the functions of `surface`, which the GPU shares; `likelihood`
sweeps over the spectra of patches.
"""
