"""Tilt series: which exposures there were, in which order, and what is written of them.

`model` has the values: a `Source` as it was read, a `TiltSeries` as it was understood.  `reading`
takes mdoc files, tables of RELION and names of movies; `exposures` puts them in order and knows
doses and repeats; `finding` finds the movies; `understanding` brings these together.
`unfit` finds images that are dark or of another size, `writing` makes the stacks and tables,
`tomostar` what Warp reads, `record` says how.
"""
