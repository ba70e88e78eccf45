"""Apply a motion that was measured before, at another binning; nothing is estimated again."""

from flexalign import AlignParams, Motion, align_movie

params = AlignParams(gain="gain.mrc", pixel_size_A=1.5, dose_per_frame_e_A2=1.2)
align_movie("movie.mrc", params).save("aligned")

motion = Motion.load("aligned/movie_motion.json")  # or read_motion: of other programs
binned = AlignParams(gain="gain.mrc", pixel_size_A=1.5, dose_per_frame_e_A2=1.2, binning=2)
result = align_movie("movie.mrc", binned, motion=motion)

print(result.sums.plain.shape, result.plan.output_pixel_size_A)
result.save("binned")
