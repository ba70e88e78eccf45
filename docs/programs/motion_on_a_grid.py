"""The motion of every frame at the points of a grid, as an array for further analysis."""

import numpy as np

from flexalign import read_motion, read_record

record = read_record("aligned/movie_record.json")
motion = read_motion("aligned/movie_record.json")  # in pixels of the unbinned movie

frame = np.arange(motion.frame_count)[:, None, None]
y = np.linspace(0, record.movie.height_px - 1, 5)[:, None]
x = np.linspace(0, record.movie.width_px - 1, 7)
dy, dx = motion.displacement_px(frame, y, x)  # each (t, 5, 7)

speed_A = np.hypot(np.diff(dy, axis=0), np.diff(dx, axis=0)) * record.pixel_size_A
print(dy.shape, "fastest step:", speed_A.max(), "A")
np.savez("grid.npz", dy=dy, dx=dx, y=y.ravel(), x=x)
