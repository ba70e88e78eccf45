"""The damage envelope: what the dose leaves of the signal in each frame."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from flexalign.arrays import dose
from flexalign.estimate.frames import SmallFrames
from flexalign.model import FloatArray
from flexalign.params import AlignParams
from flexalign.plan import Plan

# Amplitudes (times, rings) at frequencies (rings,) per Angstrom.
Envelope = Callable[[FloatArray], FloatArray]

# Lower bound, to avoid division by zero.
_MIN_ATTENUATION = 1e-15


def damage_envelope(frames: SmallFrames, plan: Plan, params: AlignParams) -> Envelope | None:
    """The envelope a_t at the middle of each frame; None = the dose is unknown."""
    dose_e_A2 = plan.dose_before_e_A2(frames.frame + 0.5)
    if dose_e_A2 is None:
        return None
    middle = params.pre_exposure_e_A2 + dose_e_A2

    def envelope(frequency_per_A: FloatArray) -> FloatArray:
        amplitude = dose.exposure_weights(frequency_per_A, middle[:, None], params.voltage_kV)
        return np.maximum(amplitude.astype(np.float64), _MIN_ATTENUATION)

    return envelope
