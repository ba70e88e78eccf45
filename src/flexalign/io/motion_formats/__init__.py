"""Motion in the files of flexalign and of other programs.

`read_motion` detects the format and calls its reader; `exports` writes.  RELION:
`relion`, `relion_reading`, `polynomial`.  MotionCor: `motioncor`, `motioncor_logs`.  Warp:
`warp`, `warp_grids`.  Xmipp: `xmd`, `frame_list`.  Simulations: `truth`.  `field_fit` fits
a field to tracks, `numbers_in_files` checks the input of every reader; `alignment_pairs` matches
two sets of files by movie.
"""
