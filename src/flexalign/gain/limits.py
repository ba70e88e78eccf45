"""Limits in the check and the estimation of gain references."""

from __future__ import annotations

# A gain reference is found from this score on (standard deviations of the noise), if it is better
# by this margin than in any other orientation or sense, and if at least this share of its pattern
# is in the movies.
GAIN_SURE_SD = 8.0
GAIN_MARGIN_SD = 5.0
GAIN_MIN_SHARE = 0.03
# No orientation fits if each has less than this share, the margin allowed for. (A reference whose
# noise is twice what it corrects has a fifth of its pattern in the movies.)
GAIN_NONE_SHARE = 0.1
# Only the centre of large frames is compared.
GAIN_SIDE_PX = 4096
# A run checks at most this many of its first movies, and a smaller centre of each frame.
GAIN_RUN_MOVIES = 3
GAIN_RUN_SIDE_PX = 1024
# It stops reading once there are enough electrons for this score.
GAIN_RUN_GOAL_SD = 20.0
# An estimated gain is good enough when its noise is at most this fraction of what it corrects.
GAIN_ENOUGH_RATIO = 0.5
# Assumed variation of the pixels' sensitivity while it cannot be measured.
GAIN_TYPICAL_VARIATION = 0.02
# Movies with a larger share of shaded blocks are left out.
GAIN_SHADED_SHARE = 0.02
