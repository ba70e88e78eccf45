"""Anderson acceleration of a fixed-point iteration."""

from __future__ import annotations

import numpy as np

from flexalign.model import FloatArray

# History length: number of earlier iterates used, and the relative singular value below which
# their differences count as linearly dependent.
_HISTORY_LENGTH = 2
_MIN_SINGULAR_VALUE = 1e-3


class AndersonSteps:
    """Anderson acceleration of the iteration x -> x + change(x).

    The last changes give a linear model of change(x); the step is to where that is smallest.

    References
    ----------
    Anderson, J. ACM 12 (1965) 547; Walker & Ni, SIAM J. Numer. Anal. 49 (2011) 1715.
    """

    def __init__(self) -> None:
        self._iterates: list[FloatArray] = []
        self._changes: list[FloatArray] = []

    def next(self, place: FloatArray, change: FloatArray) -> FloatArray:
        """The accelerated step from `place`, where the plain iteration would step by `change`."""
        self._iterates = [*self._iterates[-_HISTORY_LENGTH:], place.ravel()]
        self._changes = [*self._changes[-_HISTORY_LENGTH:], change.ravel()]
        if len(self._changes) == 1:
            return change
        moved, changed = np.diff(self._iterates, axis=0), np.diff(self._changes, axis=0)
        part = np.linalg.lstsq(changed.T, change.ravel(), rcond=_MIN_SINGULAR_VALUE)[0]
        return change - (part @ (moved + changed)).reshape(change.shape)
