"""The numbers by which a person judges a movie, and the flags that they raise.

`metrics` collects the numbers, from `motion_statistics`, `thon_rings` and `gain_residual`;
`flags` has what each flag means, its cause and its remedy, and `raise_flags` applies their
limits.
"""
