"""Warp's XML as Warp itself evaluates it, and as damaged or hostile files have it."""

from __future__ import annotations

import numpy as np
import pytest
from defusedxml import ElementTree

from flexalign.errors import InputError
from flexalign.io.motion_formats.read_motion import MovieFacts, read_all_facts, read_motion
from flexalign.io.motion_formats.warp import read_options, read_warp, write_warp
from flexalign.model import EerInfo, MovieInfo
from flexalign.motion import Motion, Trajectory

SHAPE, FRAMES, PIXEL_SIZE_A = (300, 400), 40, 0.8
INFO = MovieInfo("m.tiff", "tiff", FRAMES, *SHAPE, "uint8", None, 1)
OPTIONS = {
    "PixelSize": PIXEL_SIZE_A, "BinTimes": 0, "EERGroupFrames": 0,
    "Dimensions": f"{400 * PIXEL_SIZE_A}, {300 * PIXEL_SIZE_A}, {FRAMES}",
}  # fmt: skip


def grid(name, values, margins=(0, 0, 0), sizes=None):
    """A grid (z, y, x), as Warp writes it; `sizes` to tell others than it has."""
    depth, height, width = sizes or values.shape
    nodes = "".join(
        f'<Node X="{x}" Y="{y}" Z="{z}" Value="{value:.9g}" />'
        for (z, y, x), value in np.ndenumerate(values)
    )
    edges = " ".join(f'Margin{a}="{m}"' for a, m in zip("ZYX", margins, strict=True))
    return f'<{name} Width="{width}" Height="{height}" Depth="{depth}" {edges}>{nodes}</{name}>'


def document(*parts, options=OPTIONS, root="Movie", head='<?xml version="1.0" encoding="utf-8"?>'):
    params = "".join(f'<Param Name="{n}" Value="{v}" />' for n, v in (options or {}).items())
    said = f"<OptionsMovement>{params}</OptionsMovement>" if options else ""
    return f'{head}<{root} DataDirectory="">{said}{"".join(parts)}</{root}>'


def whole(values=(0.0,) * 8, margins=(0, 0, 0)):
    column = np.reshape(values, (-1, 1, 1))
    return grid("GridMovementX", column, margins) + grid("GridMovementY", -2 * column, margins)


def saved(tmp_path, text, encoding="utf-8-sig"):
    path = tmp_path / "m.xml"
    path.write_bytes(text.encode(encoding))
    return path


def natural_spline(values, places, margin=0.0):
    """What einspline gives, by its own definition: uniform B-splines, no curvature at the ends."""
    count = len(values)
    system = np.zeros((count + 2, count + 2))
    system[0, :3] = system[-1, -3:] = (1, -2, 1)
    for row in range(count):
        system[row + 1, row : row + 3] = (1 / 6, 4 / 6, 1 / 6)
    coefficients = np.linalg.solve(system, np.concatenate([[0], values, [0]]))
    u = (np.asarray(places) - margin) / (1 - 2 * margin) * (count - 1)
    first = np.clip(np.floor(u), 0, count - 2).astype(int)
    t = (u - first)[:, None]
    basis = np.hstack([
        (1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3
    ]) / 6  # fmt: skip
    return np.sum(basis * coefficients[first[:, None] + np.arange(4)], axis=1)


@pytest.mark.parametrize("margin", [0.0, 1 / 16])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_few_nodes_are_evaluated_at_every_frame(tmp_path, margin, encoding):
    nodes = np.random.default_rng(0).normal(scale=3, size=8)
    path = saved(tmp_path, document(whole(nodes, (margin, 0, 0))), encoding)

    found = read_motion(path, INFO, PIXEL_SIZE_A).trajectory.displacement_px

    x_A = natural_spline(nodes, np.arange(FRAMES) / (FRAMES - 1), margin)
    expected = -np.stack([-2 * x_A, x_A], axis=1) / PIXEL_SIZE_A
    np.testing.assert_allclose(found, expected - expected[0], atol=1e-6)
    assert np.abs(expected).max() > 3


def test_grids_and_pyramids_of_all_sizes_add_up(tmp_path):
    rng = np.random.default_rng(1)
    shapes = {"GridLocalMovement": (4, 3, 3), "PyramidShift": (6, 2, 2)}
    local = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    narrow = rng.normal(size=(5, 1, 1))
    parts = [whole()]
    for axis in "XY":
        parts += [grid(f"{name}{axis}", values) for name, values in local.items()]
        parts.append(grid(f"PyramidShift{axis}", narrow))
    path = saved(tmp_path, document(*parts))

    found = read_motion(path, INFO, PIXEL_SIZE_A)

    frame, y, x = 13, 75.0, 300.0
    total_A = {}
    for t in (0, frame):
        total_A[t] = sum(at(values, t / (FRAMES - 1), 0.25, 0.75) for values in local.values())
        total_A[t] += at(narrow, t / (FRAMES - 1), 0, 0)
    dy, dx = found.displacement_px(frame, y, x)
    expected = -(total_A[frame] - total_A[0]) / PIXEL_SIZE_A
    np.testing.assert_allclose([dy, dx], [expected, expected], atol=0.01)
    assert abs(expected) > 0.3


def at(values, *place):
    """A grid at one place, axis by axis."""
    for position in place:
        flat = values.reshape(len(values), -1)
        if len(values) > 1:
            flat = np.array([[natural_spline(column, [position])[0] for column in flat.T]])
        values = flat[0].reshape(values.shape[1:])
    return float(values)


def test_the_options_say_frames_size_and_pixel_size(tmp_path):
    path = saved(tmp_path, document(whole()))

    assert read_all_facts(path) == [MovieFacts(None, FRAMES, SHAPE, PIXEL_SIZE_A)]


def test_a_binned_movie_is_of_unknown_size(tmp_path):
    path = saved(tmp_path, document(whole(), options={**OPTIONS, "BinTimes": 1.0}))

    assert read_all_facts(path) == [MovieFacts(None, FRAMES, None, PIXEL_SIZE_A)]


def test_options_of_older_versions_are_read(tmp_path):
    older = {"PixelSizeX": PIXEL_SIZE_A, "PixelSizeY": PIXEL_SIZE_A, **OPTIONS}
    del older["PixelSize"]

    assert read_options(saved(tmp_path, document(whole(), options=older))).shape_px == SHAPE


def test_eer_frames_must_be_summed_as_warp_did(tmp_path):
    path = saved(tmp_path, document(whole(), options={**OPTIONS, "EERGroupFrames": -FRAMES}))

    with pytest.raises(
        InputError, match=f"motion of 32 frames, found {FRAMES}.*`eer_fractions` 40"
    ):
        read_warp(path, 32, SHAPE, PIXEL_SIZE_A)


def test_pixels_of_upsampled_eer_are_half_as_large(tmp_path):
    path = saved(tmp_path, document(whole(range(8)), options={**OPTIONS, "EERGroupFrames": 32}))

    once, twice = (
        read_warp(path, FRAMES, SHAPE, size_A).trajectory.displacement_px
        for size_A in (PIXEL_SIZE_A, PIXEL_SIZE_A / 2)
    )

    np.testing.assert_allclose(twice, 2 * once)


def test_warps_own_pixel_size_makes_pixels_and_another_is_refused(tmp_path):
    path = saved(tmp_path, document(whole(range(8))))

    calibrated = read_warp(path, FRAMES, SHAPE, 1.005 * PIXEL_SIZE_A)

    assert calibrated.trajectory.displacement_px[-1, 1] == pytest.approx(-7 / PIXEL_SIZE_A)
    for size_A in (2 * PIXEL_SIZE_A, 1.02 * PIXEL_SIZE_A):
        with pytest.raises(InputError, match=r"pixels, found 0\.8 A in Warp's options"):
            read_warp(path, FRAMES, SHAPE, size_A)


def test_without_options_the_movie_says_how_many_frames_there_are(tmp_path):
    path = saved(tmp_path, document(whole(range(8)), options=None))

    assert len(read_warp(path, 5, SHAPE, 1.0).trajectory.displacement_px) == 5
    with pytest.raises(InputError, match="does not say how many frames"):
        read_warp(path, None, SHAPE, 1.0)
    with pytest.raises(InputError, match="give `pixel_size_A`"):
        read_warp(path, 5, SHAPE, None)


def test_a_tilt_series_is_said_to_be_one(tmp_path):
    path = saved(tmp_path, document(whole(), root="TiltSeries"))

    with pytest.raises(InputError, match=r"m\.xml: is Warp's XML of a tilt series"):
        read_all_facts(path)


def test_what_is_written_tells_warp_frames_size_and_grouping(tmp_path):
    path, eer = tmp_path / "m.xml", EerInfo(1200, 30, 0, 1)
    motion = Motion(Trajectory(np.zeros((FRAMES, 2)), np.ones(FRAMES, bool), 0))

    write_warp(
        path, motion, PIXEL_SIZE_A, MovieInfo("m", "eer", FRAMES, *SHAPE, "u1", None, 1, eer)
    )

    found = read_options(path)
    assert (found.frame_count, found.shape_px, found.pixel_size_A) == (FRAMES, SHAPE, PIXEL_SIZE_A)
    assert found.eer_grouping == 30


# By hand from the repository warpem/warp, where each name is read:
# - attributes of the movie by `LoadMeta` in WarpLib/Movie/Movie.cs; UnselectFilter in older
#   versions only.  "null" is "not decided by hand".  What is missing keeps the value of "not
#   measured".  MeanFrameMovement is the mean step, in Angstrom, over the first third of the frames
#   (Movie.ProcessShift.cs).
# - OptionsMovement by `ReadFromXML` into properties of WarpLib/ProcessingOptionsBase.cs: PixelSize
#   in present versions, PixelSizeX and PixelSizeY in older ones; BinTimes is a power of 2;
#   Dimensions are (x, y) in Angstrom and the number of frames.
# - grids by `Load` in WarpLib/CubicGrid.cs: nodes at whole places, values in Angstrom, the
#   correction and not the motion (`GetShiftFromPyramid` and `WarpImage` in Movie.ExportMovie.cs).
BY_HAND = """
<Movie DataDirectory="{folder}" UnselectFilter="False" UnselectManual="null"
       MeanFrameMovement="3.35410197">
  <OptionsMovement>
    <Param Name="PixelSize" Value="1.5" />
    <Param Name="PixelSizeX" Value="1.5" />
    <Param Name="PixelSizeY" Value="1.5" />
    <Param Name="BinTimes" Value="0" />
    <Param Name="EERGroupFrames" Value="0" />
    <Param Name="Dimensions" Value="96,72,3" />
  </OptionsMovement>
  <GridMovementX Width="1" Height="1" Depth="3" MarginX="0" MarginY="0" MarginZ="0">
    <Node X="0" Y="0" Z="0" Value="0" />
    <Node X="0" Y="0" Z="1" Value="-3" />
    <Node X="0" Y="0" Z="2" Value="-4.5" />
  </GridMovementX>
  <GridMovementY Width="1" Height="1" Depth="3" MarginX="0" MarginY="0" MarginZ="0">
    <Node X="0" Y="0" Z="0" Value="0" />
    <Node X="0" Y="0" Z="1" Value="-1.5" />
    <Node X="0" Y="0" Z="2" Value="-1.5" />
  </GridMovementY>
</Movie>
"""


def test_the_file_is_that_written_by_hand_from_warps_source(tmp_path):
    path = tmp_path / "m.xml"
    displacement_px = np.array([[0, 0], [1, 2], [1, 3]], float)  # (y, x)
    movie = MovieInfo(str(tmp_path / "raw" / "m.mrc"), "mrc", 3, 48, 64, "u1", None, 1)

    write_warp(path, Motion(Trajectory(displacement_px, np.ones(3, bool), 0)), 1.5, movie)

    written = ElementTree.parse(path).getroot()
    by_hand = ElementTree.fromstring(BY_HAND.format(folder=tmp_path / "raw"))
    found, expected = (
        [(element.tag, element.attrib) for element in root.iter()] for root in (written, by_hand)
    )
    assert found == expected


COLUMN = np.zeros((8, 1, 1))
BROKEN = {
    "more nodes told than there": (
        grid("GridMovementX", COLUMN, sizes=(10**9, 1, 1)), "Depth from 1 to"
    ),
    "fewer nodes told than there": (
        grid("GridMovementX", COLUMN, sizes=(7, 1, 1)), "expected 1 x 1 x 7 nodes"
    ),
    "wide": (grid("GridMovementX", COLUMN, sizes=(1, 40000, 40000)), "expected 40000 x 40000"),
    "negative place": (
        grid("GridMovementX", COLUMN).replace('Z="7"', 'Z="-1"'), "Z of a node .* from 0 to 7"
    ),
    "no place": (grid("GridMovementX", COLUMN).replace('Z="7"', ""), "broken|expected Warp"),
    "place beyond the end": (
        grid("GridMovementX", COLUMN).replace('Z="7"', 'Z="8"'), "Z of a node .* from 0 to 7"
    ),
    "very large place": (
        grid("GridMovementX", COLUMN).replace('Z="7"', f'Z="1{"0" * 30}"'), "from 0 to 7"
    ),
    "one place twice": (
        grid("GridMovementX", COLUMN).replace('Z="7"', 'Z="6"'), "a value at each node"
    ),
    "no number": (grid("GridMovementX", COLUMN).replace('"0"', '"x"'), "expected Warp's XML"),
    "not finite": (
        grid("GridMovementX", COLUMN).replace('Value="0"', 'Value="inf"'), "a value at each node"
    ),
    "margins": (grid("GridMovementX", COLUMN, (0.5, 0, 0)), "margins .* from 0 to 0.5"),
    "none": ("", "expected one GridMovementX, found 0"),
}  # fmt: skip


@pytest.mark.parametrize(("part", "words"), BROKEN.values(), ids=list(BROKEN))
def test_broken_grids_are_refused(tmp_path, part, words):
    path = saved(tmp_path, document(part, grid("GridMovementY", COLUMN)))

    with pytest.raises(InputError, match=f"m.xml.*{words}"):
        read_motion(path, INFO, PIXEL_SIZE_A)


def test_entities_are_not_expanded(tmp_path):
    laughs = "".join(
        f'<!ENTITY l{n + 1} "{"".join(f"&l{n};" for _ in range(10))}">' for n in range(9)
    )
    head = f'<!DOCTYPE Movie [<!ENTITY l0 "lol">{laughs}]>'
    bomb = document(whole(), "<PS1D>&l9;</PS1D>", head=head)

    with pytest.raises(InputError, match=r"m\.xml: expected Warp's XML.*DTDForbidden"):
        read_all_facts(saved(tmp_path, bomb))


def test_frames_that_no_movie_has_are_not_believed(tmp_path):
    options = {**OPTIONS, "Dimensions": "320,240,1000000000"}

    assert read_options(saved(tmp_path, document(whole(), options=options))).frame_count is None
