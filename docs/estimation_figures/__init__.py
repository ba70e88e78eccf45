"""Figures of docs/explanation/estimation.md; `docs/make_figures.py` draws them.

`movies` simulates and aligns movies and has the style of all figures; `weights`, `errors`, `tracks`
and `choice` each draw one figure and print its numbers.
"""
