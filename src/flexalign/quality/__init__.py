"""Quality numbers of an alignment, and the flags that they raise.

`table` has the name, unit and definition of each number, and where it is shown; `metrics` collects
their values from `motion_statistics`, `thon_rings` and `gain_residual`.  `flags` defines each flag
with its cause and remedy, and `raise_flags` applies their limits.
"""
