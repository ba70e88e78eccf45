"""Number of movies needed to find the orientation of a gain reference, and time of the check.

Every movie is specimen (a simulated one, at another place each time) times the sensitivity of a
detector whose pixels differ by so much, a third of that variance in columns, counted electron by
electron. The reference is given in a wrong orientation. Movies are added until the check is sure.

    python benchmarks/gain.py            # a quarter of an hour
    python benchmarks/gain.py --quick    # small frames only, one minute
    python benchmarks/gain.py --hostile 2000    # small frames under bad conditions, two minutes
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
import time
from collections import Counter
from pathlib import Path

import mrcfile
import numpy as np
from scipy.ndimage import gaussian_filter

from flexalign.gain.check import GainChecker, check_gain
from flexalign.gain.limits import GAIN_RUN_GOAL_SD, GAIN_RUN_SIDE_PX
from flexalign.gain.verdict import GainCheck, Placement
from flexalign.orientation import ORIENTATIONS, Orientation
from flexalign.params import AlignParams
from flexalign.simulate import simulate_movie

FRAMES = 2
SIDES_PX = (512, 1024, 4096)
VARIATIONS = (0.005, 0.02, 0.05, 0.1)
DOSES_E_PX = (0.01, 0.1, 1.0)
MAX_MOVIES = 48


def sensitivity(side: int, variation: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng([seed, 1])
    column, pixel = variation * np.sqrt([1 / 3, 2 / 3])
    image = 1 + pixel * rng.standard_normal((side, side)) + column * rng.standard_normal(side)
    return np.maximum(image, 0.1).astype(np.float32)


def specimen(side: int) -> np.ndarray:
    movie = simulate_movie(
        shape_px=(side, side), frame_count=2, motion="none", gain=False, seed=0, threads=2
    )
    return movie.specimen


def write_movie(path: Path, expected: np.ndarray, dose_e_px: float, seed: int) -> Path:
    """A movie of `FRAMES` frames with a total of `dose_e_px` electrons per pixel."""
    rng = np.random.default_rng([seed, 2])
    moved = np.roll(expected[0], rng.integers(expected[0].shape), (0, 1)) * expected[1]
    frames = [rng.poisson(dose_e_px / FRAMES * moved).astype(np.int16) for _ in range(FRAMES)]
    with mrcfile.new(path, data=np.stack(frames), overwrite=True) as file:
        file.set_image_stack()
    return path


def movies_needed(
    folder: Path, image: np.ndarray, variation: float, dose_e_px: float, seed: int, reference: str
) -> tuple[int, GainCheck, float]:
    """Number of movies until the check had a verdict, the verdict, seconds of the last check."""
    side = image.shape[0]
    detector = sensitivity(side, variation, seed)
    gain = 1 / (detector if reference == "right" else sensitivity(side, variation, seed + 1000))
    mrcfile.write(folder / "gain.mrc", np.ascontiguousarray(np.rot90(gain)), overwrite=True)
    checker = GainChecker(AlignParams(gain=str(folder / "gain.mrc")), threads=2)
    for count in range(1, MAX_MOVIES + 1):
        path = write_movie(folder / "m.mrcs", (image, detector), dose_e_px, 1000 * seed + count)
        started = time.perf_counter()
        found = checker.take([path])
        seconds = time.perf_counter() - started
        if found.verdict != "unsure":
            break
    return count, found, seconds


def orientation_table(folder: Path, sides: tuple[int, ...], seeds: dict[int, int]) -> None:
    print("| frame (px) | pixels differ by | e/px and movie | movies (median, most) | said |")
    print("| --- | --- | --- | --- | --- |")
    for side in sides:
        image = specimen(side)
        for variation in VARIATIONS:
            for dose in DOSES_E_PX:
                counts, verdicts = [], Counter()
                for seed in range(seeds[side]):
                    count, found, _ = movies_needed(folder, image, variation, dose, seed, "right")
                    is_right = found.found == Placement(270, "none", "multiply")
                    counts.append(count if is_right else MAX_MOVIES)
                    verdicts["right" if is_right else found.verdict] += 1
                words = ", ".join(f"{n} {what}" for what, n in verdicts.items())
                print(
                    f"| {side} | {100 * variation:g} % | {dose:g} | "
                    f"{statistics.median(counts):g}, {max(counts)} | {words} |",
                    flush=True,
                )


def foreign_table(folder: Path, seeds: int) -> None:
    print("\nA reference of another detector, 1 e/px per movie:\n")
    print("| frame (px) | pixels differ by | movies until 'none fits' (median, most) | said |")
    print("| --- | --- | --- | --- |")
    for side in (512, 1024):
        image = specimen(side)
        for variation in VARIATIONS:
            counts, verdicts = [], Counter()
            for seed in range(seeds):
                count, found, _ = movies_needed(folder, image, variation, 1.0, seed, "foreign")
                counts.append(count)
                verdicts[found.verdict] += 1
            words = ", ".join(f"{n} {what}" for what, n in verdicts.items())
            print(
                f"| {side} | {100 * variation:g} % | {statistics.median(counts):g}, {max(counts)} "
                f"| {words} |",
                flush=True,
            )


def hostile_table(folder: Path, trials: int) -> None:
    """Verdicts on one small movie with random adverse conditions."""
    rng, verdicts = np.random.default_rng(0), Counter()
    for _ in range(trials):
        shape = ((128, 128), (128, 192), (256, 256))[rng.integers(3)]
        variation, dose_e_px = 10 ** rng.uniform(-2.3, -1), 10 ** rng.uniform(-0.5, 2.5)
        stripes, lines = rng.choice([0, 0.3, 0.9]), rng.choice([0, 0.1, 0.5])
        detectors = [_hostile_detector(rng, shape, variation, stripes, lines) for _ in range(2)]
        scene = gaussian_filter(rng.standard_normal(shape), rng.choice([1, 3, 8]), mode="wrap")
        scene = np.exp(rng.choice([0.02, 0.2, 0.6]) * scene / scene.std())
        if rng.random() < 0.3:  # a grid bar
            scene[:, : shape[1] // 3] *= rng.choice([0.3, 0.05])
        frames = rng.poisson(dose_e_px / 2 * np.stack([scene * detectors[0]] * 2)).astype(float)
        frames[:, rng.random(shape) < 1e-4] *= 30
        kind = ("right", "noisy", "foreign", "corrected")[rng.integers(4)]
        gain = 1 / detectors[kind == "foreign"]
        if kind == "corrected":
            frames *= gain
        if kind == "noisy":
            gain = gain * np.exp(2 * variation * rng.standard_normal(shape))
        place = ORIENTATIONS[rng.integers(8)]
        sense = ("multiply", "divide")[rng.integers(2)]
        reference = _placed(gain if sense == "multiply" else 1 / gain, place)
        with mrcfile.new(folder / "m.mrcs", data=frames.astype(np.float32), overwrite=True) as file:
            file.set_image_stack()
        mrcfile.write(folder / "gain.mrc", reference.astype(np.float32), overwrite=True)
        found = check_gain([folder / "m.mrcs"], AlignParams(gain=str(folder / "gain.mrc")))
        verdicts[kind, _verdict_on(found, kind, Placement(place.rotate, place.flip, sense))] += 1
    print("| reference | right | not sure | wrong |\n| --- | --- | --- | --- |")
    for kind in ("right", "noisy", "foreign", "corrected"):
        print(
            "|", kind, *(f"| {verdicts[kind, word]}" for word in ("right", "unsure", "wrong")), "|"
        )


def _hostile_detector(
    rng: np.random.Generator,
    shape: tuple[int, int],
    variation: float,
    stripes: float,
    lines: float,
) -> np.ndarray:
    """Sensitivity with part of its variance in columns, and lines through the middle."""
    height, width = shape
    image = 1 + variation * math.sqrt(1 - stripes) * rng.standard_normal(shape)
    image += variation * math.sqrt(stripes) * rng.standard_normal(width)
    image[height // 2 - 1 : height // 2 + 1] *= 1 + lines
    image[:, width // 2 - 1 : width // 2 + 1] *= 1 + lines
    return np.maximum(image, 0.05)


def _placed(gain: np.ndarray, place: Orientation) -> np.ndarray:
    """The image that becomes `gain` by this rotation and flip."""
    flipped = Orientation(0, place.flip).apply(gain)
    return np.ascontiguousarray(np.rot90(flipped, -(place.rotate // 90)))


def _verdict_on(found: GainCheck, kind: str, place: Placement) -> str:
    """Whether the orientation found is correct."""
    if found.verdict == "unsure":
        return "unsure"
    if kind in ("foreign", "corrected"):
        return "right" if found.verdict == "none" else "wrong"
    equal = [c.placement for c in found.candidates if c.is_same_as_best]
    return "right" if found.found is not None and place in equal else "wrong"


def cost(folder: Path) -> None:
    """Time of the check in a run: one TIFF movie of 40 frames at 1 e/px, 4096 x 4096."""
    import tifffile

    detector = sensitivity(4096, 0.02, 0)
    rng = np.random.default_rng(0)
    some = [rng.poisson(detector).astype(np.uint8) for _ in range(8)]
    path = folder / "m.tiff"
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        for i in range(40):
            file.write(some[i % 8][::-1], compression="lzw", metadata=None)
    mrcfile.write(folder / "gain.mrc", 1 / detector, overwrite=True)
    params = AlignParams(gain=str(folder / "gain.mrc"))
    print("\n4096 x 4096, 40 frames of 1 e/px (TIFF, LZW), pixels differ by 2 %, 2 threads:\n")
    for name, options in (
        ("in a run", {"max_px": GAIN_RUN_SIDE_PX, "goal_sd": GAIN_RUN_GOAL_SD}),
        ("check-gain", {}),
    ):
        checker = GainChecker(params, threads=2, **options)
        started = time.perf_counter()
        found = checker.take([path])
        seconds = time.perf_counter() - started
        print(f"- {name}: {seconds:.1f} s, {found.frame_count} frames read, {found.verdict}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small frames only")
    parser.add_argument("--hostile", type=int, metavar="N", help="so many bad cases instead")
    chosen = parser.parse_args()
    quick = chosen.quick
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if chosen.hostile:
            hostile_table(folder, chosen.hostile)
            return
        sides = SIDES_PX[:1] if quick else SIDES_PX
        orientation_table(folder, sides, {512: 5, 1024: 3, 4096: 1})
        foreign_table(folder, 2 if quick else 3)
        if not quick:
            cost(folder)


if __name__ == "__main__":
    main()
