"""Scores of any alignments of a movie: the signal that the frames share along each of them.

`ring_sums` measures the cross-power of the frames along each motion, `freedom` counts the
parameters that were fitted to the noise, `movie_scores` makes numbers by resolution of both,
`session_scores` compares two alignments over many movies and gives the verdict, with intervals of
`ratio_limits`, `plot` draws them, and `score_movie` reads one movie for all of its motions.
`sum_pictures` makes pictures of its sums along two of them.
"""
