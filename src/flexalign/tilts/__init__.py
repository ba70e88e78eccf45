"""Tilt series: reading and interpreting their metadata, and writing their results.

`model` has the data classes: a `Source` as read, a `TiltSeries` as interpreted.  `reading` reads
mdoc files, tables of RELION and names of movies; `exposures` sorts the exposures and computes doses
and repeats; `finding` finds the movies; `understanding` combines these.  `unfit` detects images
that are dark or of another size, `writing` writes the stacks and tables, `tomostar` the files for
Warp, and `record` the record of how each series was processed.
"""
