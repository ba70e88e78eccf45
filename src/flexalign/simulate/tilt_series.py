"""The simulated tilt series: one slab, one detector and one stage, a movie for each angle."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from flexalign.arrays import fourier
from flexalign.simulate.detector import make_detector
from flexalign.simulate.layers import Layer, specimen_layer
from flexalign.simulate.movie import Canvas, SimulatedMovie, exposed
from flexalign.simulate.slab import Slab, make_slab
from flexalign.simulate.stage import make_tilt_motion
from flexalign.simulate.tilt_settings import TiltSeriesSettings


@dataclass(frozen=True, slots=True, eq=False)
class SimulatedTilt:
    """One tilt of a series.

    Attributes
    ----------
    number : counted from 0 in order of time
    angle_deg : of the stage
    pre_exposure_e_A2 : dose of all earlier tilts
    movie : with the truth about it
    """

    number: int
    angle_deg: float
    pre_exposure_e_A2: float
    movie: SimulatedMovie


def simulate_tilt_series(
    settings: TiltSeriesSettings | None = None,
    *,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    **changes: Any,
) -> Iterator[SimulatedTilt]:
    """The tilts of a series with known motion, in order of time, each made on demand.

    All show one slab of ice with particles and, on request, gold; each molecule of ice is seen
    in one tilt only, as neighbouring tilts of a real slab have little fine detail of it in common.
    The signal falls with the tilt, since the beam has a longer way through the ice, and
    with the dose that earlier tilts have given.  The defocus is that of the middle everywhere.

    Parameters
    ----------
    settings : default: `TiltSeriesSettings()`
    threads : default: all; the series does not depend on it
    progress : called with the number of frames done and their total, over all tilts
    changes : fields of `settings` to replace, such as ``tilt_count=5``

    Raises
    ------
    ParameterError
        If a setting is out of its limits or the particles do not fit.

    References
    ----------
    Grant & Grigorieff, eLife 4:e06980 (2015), equation 3, for the damage.

    Examples
    --------
    >>> from flexalign.simulate import SimulationSettings
    >>> movie = SimulationSettings(shape_px=(64, 64), frame_count=2, particles=0)
    >>> tilts = simulate_tilt_series(movie=movie, tilt_count=3, threads=1)
    >>> [(tilt.angle_deg, tilt.pre_exposure_e_A2) for tilt in tilts]
    [(0.0, 0.0), (3.0, 3.0), (-3.0, 6.0)]
    """
    settings = replace(settings or TiltSeriesSettings(), **changes)
    return _tilts(settings, threads or os.cpu_count() or 1, progress)


def _tilts(
    settings: TiltSeriesSettings, threads: int, progress: Callable[[int, int], None] | None
) -> Iterator[SimulatedTilt]:
    movies = [settings.of_tilt(number) for number in range(settings.tilt_count)]
    motions = [make_tilt_motion(settings, number) for number in range(settings.tilt_count)]
    detector = make_detector(replace(movies[0], seed=settings.movie.seed))
    canvases = [
        Canvas.around(movie, [motion]).shape_px
        for movie, motion in zip(movies, motions, strict=True)
    ]
    slab = make_slab(settings, (max(h for h, _ in canvases), max(w for _, w in canvases)))
    total = settings.tilt_count * settings.movie.frame_count
    for number, (movie, motion) in enumerate(zip(movies, motions, strict=True)):

        def layers_on(canvas_px: tuple[int, int], number: int = number) -> list[Layer]:
            return _layers(settings, slab, number, canvas_px, threads)

        def report_progress(done: int, _: int, number: int = number) -> None:
            if progress is not None:
                progress(number * settings.movie.frame_count + done, total)

        yield SimulatedTilt(
            number,
            movie.tilt_deg,
            movie.pre_exposure_e_A2,
            exposed(movie, {"specimen": motion}, detector, layers_on, threads, report_progress),
        )


def _layers(
    settings: TiltSeriesSettings, slab: Slab, number: int, canvas_px: tuple[int, int], threads: int
) -> list[Layer]:
    """The layers in the beam at a tilt."""
    movie = settings.of_tilt(number)
    atoms = slab.atoms_per_px(movie.tilt_deg, canvas_px)
    layers = [specimen_layer(movie, canvas_px, threads, atoms)]
    beads = slab.beads(movie.tilt_deg, canvas_px)
    if beads is not None:
        layers.append(Layer(fourier.rfft2(beads, threads), "specimen", is_damaged=False))
    return layers
