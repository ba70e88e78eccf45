"""Readers of movies; `open_movie` detects the format and returns one of three readers.

`mrc` (headers: `mrc_header`; compressed as a whole: `compressed`), `tiff_movie` (pages: `tiff`;
their tags: `tiff_layout`) and `eer` (raw frames: `eer_streams`; loops over events:
`eer_events`; frames of unequal numbers of raw frames: `eer_groups`).  `reader` has their common
base, `packed_movie` frames that are not decoded, for a GPU.  `eer_writer` is for simulations, and
`halves` divides the electrons of a movie into two movies.  `array_movie` is a movie that is an
array in memory or elsewhere, `checked_movie` checks the frames of a reader from outside.
"""
