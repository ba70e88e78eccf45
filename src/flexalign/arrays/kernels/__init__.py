"""Every compiled loop of the CPU, in a module named by what it computes.

`elementwise` has the formulas of one pixel, which the GPU shares; `float16` how images of 16
bits are kept; `warp` corrects, interpolates and sums frames; `downsample` makes the small
frames; `tiles` cuts and tapers patches; `peaks` multiplies pairs of spectra and finds their
maxima; `likelihood` sweeps over the spectra of patches.
"""
