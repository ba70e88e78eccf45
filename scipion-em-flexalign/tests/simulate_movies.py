"""Simulate movies, in the engine's interpreter: FOLDER SETTINGS(JSON) NAME.FORMAT.SEED ..."""

import json
import sys

from flexalign.simulate import simulate_movie

folder, settings, movies = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3:]
# Many electrons with the damage of a few: little noise in small movies.
DEFAULTS = {
    "shape_px": (400, 416), "frame_count": 8, "pixel_size_A": 1.5, "electrons_per_px": 20.0,
    "dose_per_frame_e_A2": 1.0, "global_motion_px": 6.0, "local_motion_px": 0.0,
}  # fmt: skip
for movie in movies:
    name, file_format, seed = movie.split(".")
    simulate_movie(**{**DEFAULTS, **settings}, seed=int(seed)).save(folder, name, file_format)
