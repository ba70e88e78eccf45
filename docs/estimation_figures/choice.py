"""Evidence for fields of several sizes, and scores on unseen data."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from estimation_figures.movies import BLUE, GREY, ORANGE, SIZE_IN, Inside, inside
from flexalign import AlignmentResult, AlignParams
from flexalign.estimate import evidence, held_out_likelihood, priors, refine
from flexalign.estimate.patch_spectra import sweep
from flexalign.estimate.refine import Refinement
from flexalign.simulate import SimulatedMovie, motion_error_px

TRIED_PX = np.geomspace(0.01, 30, 40)


def draw_choice(movies: dict[str, SimulatedMovie], results: dict[str, AlignmentResult]) -> Figure:
    """Evidence for fields of several sizes, and scores on unseen data."""
    figure = Figure(figsize=SIZE_IN, layout="constrained")
    sizes, scores = figure.subplots(1, 2)
    candidates = ("global", "local", "refined")
    for position, (name, color) in enumerate(zip(movies, (BLUE, ORANGE), strict=True)):
        start, judged = inside(movies[name]), results[name].quality
        found = refine.refine(start.spectra, start.start_px, start.shape)
        sizes.plot(TRIED_PX, _evidence(found, start), color=color, label=name)
        none = {"none": (np.zeros_like(start.start_px),) * 2}
        limit_A = AlignParams().max_resolution_A
        of_none = held_out_likelihood.held_out_scores(start.spectra, none, found.powers, limit_A)
        needed = held_out_likelihood.SIGNIFICANT * of_none.noise_sd
        values = [judged.candidate_scores[c] for c in candidates]
        at = np.arange(len(candidates)) + 0.4 * (position - 0.5)
        bars = scores.bar(at, values, 0.38, color=color, label=f"{name}: {judged.chosen} kept")
        scores.bar_label(bars, [f"{v:.0f}" for v in values])
        scores.axhline(needed, color=color, linestyle=":", linewidth=1.5)
        print(
            f"choice, {name}: {judged.chosen} kept, {needed:.0f} needed,",
            f"{motion_error_px(results[name].motion, movies[name]).rms_px:.2f} px RMS,",
            {key: round(value) for key, value in judged.candidate_scores.items()},
            found.field_prior,
        )
    sizes.axhline(0, color=GREY, linewidth=0.8)
    sizes.set(xscale="log", xlabel="prior size of the field (px)")
    sizes.set(ylabel="log evidence over no field", title="evidence for the size of the field")
    scores.set_xticks(range(len(candidates)), candidates)
    scores.set(ylabel="log-likelihood over no motion", title="model selection on held-out rings")
    scores.set_ylim(0, 1.3 * max(bar.get_height() for bar in scores.patches))
    scores.plot([], [], ":k", label="required for significance")
    sizes.legend(frameon=False)
    scores.legend(frameon=False, loc="upper left", fontsize="small")
    return figure


def _evidence(found: Refinement, start: Inside) -> list[float]:
    """Log evidence of fields of the sizes tried over that of none, at the end of a refinement."""
    fit, spectra, shape = found.fit, start.spectra, start.shape
    assert fit.trajectory_px is not None
    at = refine.displacement_at(fit.trajectory_px, fit.field, spectra.grid.center_px, spectra.frame)
    swept = sweep(spectra, at, found.powers.weight)
    data = refine.patch_likelihood(spectra, swept, found.powers, at)
    path = found.trajectory_prior
    none = evidence.fit_motion(data, path, None, None).log_evidence
    # One smoothness for all movies, since that of a field of no size is arbitrary.
    smooth = shape.frames.count, shape.width_px / 3
    fields = [priors.FieldPrior(float(size), *smooth) for size in TRIED_PX]
    return [evidence.fit_motion(data, path, f, shape).log_evidence - none for f in fields]
