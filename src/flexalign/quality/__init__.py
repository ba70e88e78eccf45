"""Quality numbers of an alignment, and the flags that they raise.

`metrics` collects the numbers, from `motion_statistics`, `thon_rings` and `gain_residual`;
`flags` defines each flag with its cause and remedy, and `raise_flags` applies their limits.
"""
