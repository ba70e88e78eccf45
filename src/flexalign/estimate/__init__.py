"""Motion estimation from small frames, in the order of ``docs/explanation/estimation.md``.

`frames` holds the input, and `damage` what the dose leaves of its signal.  `pairwise` solves for
the trajectory from all pairs of frames (section 2), and `patches` tracks patches along it (3).
`patch_spectra` and `refine` evaluate the likelihood and maximise it by the `quadratic` around each
iterate, with the signal and noise powers of `spectral_powers` (4); `anderson` accelerates the
iteration.  `priors` defines the Gaussian priors of the motion, `evidence` fits trajectory and field
under them, `prior_choice` optimises their hyperparameters (5, 6), and `prior_uncertainty` adds the
uncertainty of these to the standard errors (7).  `model_selection` decides which motion is kept,
and returns it as the `Estimate` of `result` (8): `search` runs through the `starts`, each of which
yields `candidates`, scored by `held_out_likelihood` and `bayes_factor` in `trials`, with
`path_search`, `jump_position`, `outlier_frames`, `frame_agreement` and `direction` for difficult
movies;
`variational` averages the motion of a weak signal over its posterior, with a `smooth_spectrum`.
`fixed_pattern` measures the fixed pattern of the detector, and `pattern_removal` removes it (9);
`signal_bands` measures the signal.  `series_prior` holds the prior of a tilt, given the other tilts
of its series, and `series` with `series_paths` estimates it (10).
"""
