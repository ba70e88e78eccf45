"""Align all movies of a folder in parallel; what is done is not repeated."""

import logging

from flexalign import AlignParams, align_movies

logging.basicConfig(level=logging.INFO, format="%(message)s")  # shows what the library notes

params = AlignParams(gain="gain.mrc", pixel_size_A=1.5, dose_per_frame_e_A2=1.2)
run = align_movies(["movies"], "aligned", params, jobs=2)

print(run)
for record in run.records():
    print(record.movie.path, f"{record.quality.total_motion_A:.1f} A", record.outputs["micrograph"])
for movie, failure in run.failures.items():
    print(movie, failure.message)
