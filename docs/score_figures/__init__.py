"""Figures of docs/explanation/scores.md; `docs/make_figures.py scores` draws them.

`results` has the scores of benchmarks/scores.py; `losses`, `order` and `nulls` each draw one figure
and print its numbers.
"""
