"""Quality numbers of an alignment, and the flags that they raise.

`table` has the name, unit and definition of each number, and where it is shown; `metrics` computes
their values with `motion_statistics`, `thon_rings` and `gain_residual`.  `flags` is the table of
flags with the cause, remedy and condition of each; `flag_conditions` has those conditions that are
more than a limit, and `raise_flags` applies them to a movie.  `dose_check` finds pixel sizes and
doses that cannot be right before a movie is aligned.
"""
