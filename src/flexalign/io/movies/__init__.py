"""Movies: `open_movie` looks at the content and hands the file to one of three readers.

`mrc` (headers: `mrc_header`; compressed as a whole: `compressed`), `tiff_movie` (pages: `tiff`;
their tags: `tiff_layout`) and `eer` (raw frames: `eer_streams`; loops over events:
`eer_events`; frames of unequal numbers of raw frames: `eer_groups`).  `reader` is what they
share, `eer_writer` is for simulations.
"""
