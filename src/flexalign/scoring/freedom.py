"""How many parameters of a motion were fitted to the frames that it is scored on.

Each of them aligns noise as well: on average it raises the log-likelihood by one above that of the
same parameter on other electrons.

References
----------
Akaike, IEEE Trans. Automat. Contr. 19 (1974) 716.
"""

from __future__ import annotations

from typing import NamedTuple

from flexalign.motion import Motion


class Freedom(NamedTuple):
    """Limits of the number of parameters that were fitted to the frames."""

    minimum: float
    maximum: float


INDEPENDENT = Freedom(0.0, 0.0)


def freedom_of(motion: Motion, fitted_parameters: float | None = None) -> Freedom:
    """The freedom of an estimated motion.

    Parameters
    ----------
    fitted_parameters : as the record of a motion of ours gives it; None = unknown: between zero
        and the number of parameters

    Examples
    --------
    >>> freedom_of(Motion.still(5))
    Freedom(minimum=0.0, maximum=0.0)
    """
    count = float(parameter_count(motion))
    if fitted_parameters is None:
        return Freedom(0.0, count)
    found = min(fitted_parameters, count)
    return Freedom(found, found)


def parameter_count(motion: Motion) -> int:
    """Number of parameters of a motion, those without effect on the sum left out.

    Examples
    --------
    >>> from flexalign.motion import Trajectory
    >>> parameter_count(Motion(Trajectory([[0.0, 0.0], [1.0, 2.0], [1.0, 3.0]], [True] * 3, 0)))
    4
    """
    measured = int(motion.trajectory.is_measured.sum())
    count = 0
    if motion.trajectory.displacement_px.any():
        count += 2 * (measured - 1)
    if motion.field is not None and motion.field.coefficients_px.any():
        times, rows, columns = motion.field.control_points
        count += 2 * (min(times, measured) - 1) * rows * columns
    return count
