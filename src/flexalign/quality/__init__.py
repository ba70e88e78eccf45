"""The numbers by which a person judges a movie, and the flags that they raise.

`table` has the name, unit and definition of each number, and where it is shown; `metrics`
collects their values, from `motion_statistics`, `thon_rings` and `gain_residual`.  `flags` has
what each flag means, its cause and its remedy, and `raise_flags` applies their limits.
"""
