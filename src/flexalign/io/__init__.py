"""File formats: reading and writing.

Reading: `movies`, `motion_formats`, `references` (gain, dark) on `reference_images`, with
`defects`, `digital_micrograph`, `movie_list`, `doses`, `inspect` (identify a file).  Writing:
`results` (all files of one movie or none), `record`, `micrographs`, `stacks` (tilt series),
`motion_plot`, `spectra_plot` and `comparison_plot` on `png`, `thumbnails`, `relion_project`,
`relion_tilt_series`, `warp_project`, all by way of `writing`.  `star`, `mdoc` and `xml_tree` are
the syntax of files; `read_errors` turns any failure on a damaged file into an `InputError`.
"""
