"""Steps of an iteration, chosen such that it ends sooner."""

from __future__ import annotations

import numpy as np

from flexalign.model import FloatArray

# So many steps before the last one tell how to go on; those that say the same as others are left
# out.
_REMEMBERED = 2
_DEGENERATE = 1e-3


class AndersonSteps:
    """Steps of an iteration x -> x + change(x), chosen such that it ends sooner.

    The last changes say how the next one depends on x, to first order: the step is to where it
    would be least.

    References
    ----------
    Anderson, J. ACM 12 (1965) 547; Walker & Ni, SIAM J. Numer. Anal. 49 (2011) 1715.
    """

    def __init__(self) -> None:
        self._places: list[FloatArray] = []
        self._changes: list[FloatArray] = []

    def next(self, place: FloatArray, change: FloatArray) -> FloatArray:
        """The step from `place`, where the iteration would go by `change`."""
        self._places = [*self._places[-_REMEMBERED:], place.ravel()]
        self._changes = [*self._changes[-_REMEMBERED:], change.ravel()]
        if len(self._changes) == 1:
            return change
        moved, changed = np.diff(self._places, axis=0), np.diff(self._changes, axis=0)
        part = np.linalg.lstsq(changed.T, change.ravel(), rcond=_DEGENERATE)[0]
        return change - (part @ (moved + changed)).reshape(change.shape)
