"""Describe a movie; of a damaged one, what can still be read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from flexalign.errors import FlexAlignError, InputError, ParameterError
from flexalign.io.inspect.facts import FileFacts, Lines
from flexalign.io.movies import eer, mrc, tiff
from flexalign.io.movies.mrc_header import HEADER_BYTES, looks_like_mrc, parse_header
from flexalign.io.movies.open_movie import open_for
from flexalign.io.movies.reader import TIFF_MAGIC, MovieReader, read_head
from flexalign.model import MovieInfo
from flexalign.params import AlignParams, option_name
from flexalign.plan import make_plan, movie_lines

# Item of the EER metadata with the total dose, and its unit.
_TOTAL_DOSE, _PER_PIXEL = "totalDose", ("e/pixel", "e/px")


def inspect_movie(path: Path, params: AlignParams, read: bool) -> FileFacts:
    """A movie and the plan of its alignment; of a damaged one, what can be read."""
    try:
        with open_for(path, params) as reader:
            info = reader.info
            values, lines = _movie_facts(path, info, params)
            problem = ""
            if read:
                counted, problem = _read_frames(reader)
                values.update(counted)
                lines.append(("counts", "{mean_per_px:.4g} per pixel and frame".format(**counted)))
        return FileFacts(str(path), "movie", values, tuple(lines), problem)
    except ParameterError as error:
        values, lines = _remains(path)
        lines.append(("plan", str(error).removeprefix(f"{path}: ")))
        return FileFacts(str(path), "movie", {**values, "plan_problem": str(error)}, tuple(lines))
    except InputError as error:
        values, lines = _remains(path)
        return FileFacts(str(path), "movie", values, tuple(lines), str(error))


def _movie_facts(path: Path, info: MovieInfo, params: AlignParams) -> tuple[dict[str, Any], Lines]:
    """Values from the headers of a movie, and the plan."""
    values: dict[str, Any] = {"movie": info}
    lines = movie_lines(info)
    if info.file_format == "tiff":
        values["compression"] = tiff.first_page(path).compression
        lines.insert(2, ("compression", values["compression"]))
    if info.file_format == "eer":
        metadata = eer.read_metadata(path)
        values["metadata"] = {name: " ".join(words).strip() for name, words in metadata.items()}
        lines += [("in the file", f"{name}: {words}") for name, words in values["metadata"].items()]
        values["total_dose_e_A2"] = dose = _total_dose_e_A2(metadata, info)
        if dose is not None:
            option = f"{option_name('eer_total_dose_e_A2')} {dose:.4g}"
            lines.append(("dose", f"{dose:.4g} e/A2 in all, says the file; to use it: {option}"))
    try:
        plan = make_plan(info, params)
        values["plan"] = plan
        lines += plan.lines()
    except FlexAlignError as error:
        values["plan_problem"] = str(error)
        if info.pixel_size_A is not None:
            lines.append(("pixel size", f"{info.pixel_size_A:.4g} A"))
        lines.append(("plan", str(error).removeprefix(f"{info.path}: ")))
    lines += [("note", note) for note in info.notes]
    return values, lines


def _total_dose_e_A2(metadata: dict[str, tuple[str, str]], info: MovieInfo) -> float | None:
    """The total dose, if an EER file has it and its pixel size."""
    value, unit = metadata.get(_TOTAL_DOSE, ("", ""))
    if unit not in _PER_PIXEL or info.pixel_size_A is None or info.eer is None:
        return None
    try:
        return float(value) / (info.pixel_size_A * info.eer.upsampling) ** 2
    except ValueError:
        return None


def _read_frames(reader: MovieReader) -> tuple[dict[str, Any], str]:
    """Mean counts over all frames that can be decoded, and what is wrong with the others."""
    means, problems = [], []
    for frame in reader.frames():
        if frame.problem:
            problems.append(f"frame {frame.index + 1}: {frame.problem}")
        if frame.pixels is not None:
            with np.errstate(invalid="ignore"):  # infinite values of both signs
                means.append(float(frame.pixels.mean(dtype=np.float64)))
    mean = float(np.mean(means)) if means else float("nan")
    values = {"mean_per_px": mean, "frame_mean_per_px": means, "frames_read": len(means)}
    return values, f"{reader.info.path}: {'; '.join(problems)}" if problems else ""


def _remains(path: Path) -> tuple[dict[str, Any], Lines]:
    """The readable remains of a movie that cannot be opened."""
    lines: Lines = [("movie", str(path)), ("format", f"{path.stat().st_size:,} bytes")]
    head = read_head(path)
    if head.startswith(TIFF_MAGIC):
        sizes = tiff.whole_pages(path)
        count, expected, what = len(sizes), None, "pages"
        if eer.is_eer(path):
            what = "raw frames"
            words = eer.read_metadata(path).get("numberOfFrames", ("", ""))[0]
            expected = int(words) if re.fullmatch("[0-9]{1,9}", words) else None
        if sizes:
            lines.append(("size", f"{sizes[0][1]} x {sizes[0][0]} px"))
    elif looks_like_mrc(head):
        (count, expected), what = mrc.count_planes(path), "frames"
        header = parse_header(path, read_head(path, HEADER_BYTES))
        lines.append(("size", f"{header.width_px} x {header.height_px} px"))
    else:
        return {}, lines
    of = "" if expected is None else f" of {expected}"
    lines.append(("whole", f"{count}{of} {what} are there"))
    return {f"whole_{what.replace(' ', '_')}": count, "expected": expected}, lines
