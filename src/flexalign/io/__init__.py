"""Files: the only place that knows formats.

Read: `movies`, `motion_formats`, `references` (gain, dark, defects), `digital_micrograph`,
`movie_list`, `doses`, `inspect` (what is this file?).  Written: `results` (all files of one
movie or none), `record`, `micrographs`, `plots`, `comparison_plot`, `thumbnails`,
`relion_project`, all by way of `writing`.  `star` and `xml_tree` are the syntax of files.
"""
