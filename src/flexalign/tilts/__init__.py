"""Tilt series: which exposures there were, in which order, and what is made of them."""
