"""Motion in the files of flexalign and of other programs.

`read_motion` looks at the content and hands the file to a reader; `exports` writes.  RELION:
`relion`, `relion_reading`, `polynomial`.  MotionCor: `motioncor`, `motioncor_logs`.  Warp:
`warp`, `warp_grids`.  Xmipp: `xmd`, `frame_list`.  Simulations: `truth`.  `boundary` and
`numbers_in_files` guard every reader; `alignment_pairs` finds two sets of files that belong to
the same movies.
"""
