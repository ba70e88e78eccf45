"""Gain references: does one fit its movies, in which orientation, and how to make one.

`matching` compares two images; `verdict` has the result of a check; `check` reads movies until
the result is sure; `flat_field` and `estimate` make a reference from movies; `files` and `plot`
write.
"""
