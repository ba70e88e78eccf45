"""From small frames to a motion, in the order of ``docs/explanation/estimation.md``.

`frames` holds the input.  `pairwise` finds the trajectory by all pairs of frames (section 2),
`patches` follows patches along it (3), `patch_spectra` and `refine` are the likelihood and its
maximum, with powers by `spectral_powers` (4); `anderson` accelerates the iteration.  `priors` says
how motion usually is, `evidence` fits trajectory and field under them, `prior_choice` makes them as
smooth as the data ask for (5, 6), and `prior_uncertainty` says what that leaves open (7).
`model_selection` decides which motion is kept, and gives it as the `Estimate` of `result` (8): by
`search` it goes through the `starts`, each of which leads to `candidates`, judged by
`held_out_likelihood` and `bayes_factor` in `trials`, with `path_search`, `outlier_frames`,
`frame_agreement` and `direction` for difficult movies.  `fixed_pattern` measures what stays with
the detector, and `pattern_removal` takes it out (9);
`signal_bands` measures the signal.  `series_prior` holds what the tilts of a series say of each
other, and `series` with `series_paths` estimates it (10).
"""
