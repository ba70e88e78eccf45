"""Gain references: check one against its movies, find its orientation, estimate one.

`matching` correlates the reference with the mean of the movies; `verdict` decides from the
scores; `check` reads movies until the verdict is certain; `flat_field` and `estimate` make a
reference from movies; `files` and `plot` write; `limits` has the constants of all.
"""
