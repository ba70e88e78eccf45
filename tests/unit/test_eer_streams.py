"""EER raw frames as different programs write them, and as damage leaves them."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import tifffile
from eer_files import HEIGHT, WIDTH, stream_of, write

from flexalign.align import align_movie
from flexalign.errors import InputError
from flexalign.io.movies import eer
from flexalign.io.movies.eer_writer import write_eer
from flexalign.io.movies.open_movie import open_movie
from flexalign.io.movies.tiff import whole_pages
from flexalign.params import AlignParams


def counts(frame_count, events=60, seed=0):
    """(frames, h, w) events, at most one in a pixel."""
    rng = np.random.default_rng(seed)
    found = np.zeros((frame_count, HEIGHT * WIDTH), np.uint8)
    for frame in found:
        frame[rng.choice(frame.size, events, replace=False)] = 1
    return found.reshape(frame_count, HEIGHT, WIDTH)


def read(path, fractions):
    with open_movie(path, eer_fractions=fractions) as movie:
        return list(movie.frames(threads=2))


@pytest.mark.parametrize("keeps_places", [False, True])
@pytest.mark.parametrize("events", [0, 3, 8, 900])
def test_places_after_the_longest_run_are_passed_over(tmp_path, keeps_places, events):
    frames = counts(4, events)
    streams = [stream_of(frame, keeps_places=keeps_places) for frame in frames]

    found = read(write(tmp_path / "a.eer", streams), 4)

    assert [frame.problem for frame in found] == [""] * 4
    np.testing.assert_array_equal([frame.pixels for frame in found], frames)


def test_a_broken_raw_frame_does_not_decide_how_a_file_is_written(tmp_path):
    frames = counts(5, 8)
    streams = [stream_of(frame, keeps_places=True) for frame in frames]
    dense = np.zeros(HEIGHT * WIDTH, np.uint8)
    dense[300:500:2] = 1
    streams[0] = stream_of(dense, keeps_places=False)

    found = read(write(tmp_path / "a.eer", streams), 5)

    assert [frame.pixels is None for frame in found] == [True, False, False, False, False]


@pytest.mark.parametrize("codec", [65001, 65002])
def test_other_codecs_never_have_places_there(tmp_path, codec):
    streams = [stream_of(frame, keeps_places=True, run_bits=7) for frame in counts(2, 5)]

    assert all(frame.pixels is None for frame in read(write(tmp_path / "a.eer", streams, codec), 2))


@pytest.mark.parametrize("codec", [65000, 65001])
def test_strips_of_a_raw_frame_are_joined(tmp_path, codec):
    frames = counts(4)
    run_bits = 8 if codec == 65000 else 7
    streams = [stream_of(frame, keeps_places=False, run_bits=run_bits) for frame in frames]
    path = write(tmp_path / "a.eer", streams, codec, strips=3)

    found = read(path, 4)

    np.testing.assert_array_equal([frame.pixels for frame in found], frames)
    assert whole_pages(path) == [(HEIGHT, WIDTH)] * 4


@pytest.mark.parametrize("spare", [b"", b"\x12\x34", bytes(100), b"\xff" * 100])
def test_what_fills_up_a_block_does_no_harm(tmp_path, spare):
    frames = counts(3)
    streams = [stream_of(frame, keeps_places=False, spare=spare) for frame in frames]

    found = read(write(tmp_path / "a.eer", streams), 3)

    np.testing.assert_array_equal([frame.pixels for frame in found], frames)


def test_a_mark_at_the_end_of_every_raw_frame_does_no_harm(tmp_path):
    frames, mark = counts(4), b"ThermoFisherECComprOK000"
    streams = [stream_of(frame, keeps_places=False, spare=mark) for frame in frames]
    # Too many of the runs are too long here.
    streams[1] = stream_of(np.zeros(HEIGHT * WIDTH), keeps_places=False) + streams[1][15:] + mark

    found = read(write(tmp_path / "a.eer", streams), 4)

    assert [frame.pixels is None for frame in found] == [False, True, False, False]


def test_a_raw_frame_that_ends_long_before_its_bits_is_broken(tmp_path):
    frames = counts(4)
    streams = [stream_of(frame, keeps_places=False) for frame in frames]
    # Runs that are too long: the last pixel comes early, and events are left.
    streams[2] = stream_of(np.zeros(HEIGHT * WIDTH), keeps_places=False) + streams[2][20:]

    found = read(write(tmp_path / "a.eer", streams), 2)

    assert found[0].problem == ""
    assert found[1].problem == "1 of 2 raw frames cannot be decoded and were left out"
    np.testing.assert_array_equal(found[1].pixels, frames[3])


def test_a_frame_is_not_both_left_out_and_used(tmp_path):
    height, width = 64, 64
    rng = np.random.default_rng(1)
    raw = [rng.integers(0, 4 * height, (900, 2)) for _ in range(24)]
    raw[8:12] = [np.empty((0, 2), int)] * 4
    path = tmp_path / "a.eer"
    write_eer(path, raw, height_px=height, width_px=width)
    with tifffile.TiffFile(path) as file:
        offset, size = file.pages[9].dataoffsets[0], file.pages[9].databytecounts[0]
    content = bytearray(path.read_bytes())
    content[offset : offset + size] = b"\xfe" * size
    path.write_bytes(content)
    params = AlignParams(eer_fractions=6, pixel_size_A=2.0, local=False, device="cpu", threads=1)

    warnings = align_movie(path, params).record.warnings

    assert len([warning for warning in warnings if warning.startswith("frame 3 ")]) == 1
    assert any(warning.startswith("frame 3 is left out") for warning in warnings)


def test_raw_frames_too_short_for_their_size_are_refused(tmp_path):
    path = write(tmp_path / "a.eer", [stream_of(counts(1)[0], keeps_places=False)] * 3)
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        for page in file.pages:
            for code in (256, 257):
                start = page.tags[code].valueoffset
                content[start : start + 4] = struct.pack("<I", 60000)
    path.write_bytes(content)

    with pytest.raises(InputError, match="60000 x 60000, found none with events enough"):
        open_movie(path, eer_fractions=3)


def test_pieces_that_lie_on_each_other_are_refused(tmp_path):
    path = write(
        tmp_path / "a.eer", [stream_of(counts(1, 900)[0], keeps_places=False)] * 2, strips=9
    )
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        offsets, sizes = file.pages[0].tags[273], file.pages[0].tags[279]
    whole = struct.pack("<I", len(content) - 8)
    content[offsets.valueoffset : offsets.valueoffset + 36] = struct.pack("<I", 8) * 9
    content[sizes.valueoffset : sizes.valueoffset + 36] = whole * 9
    path.write_bytes(content)

    with pytest.raises(InputError, match="in pieces side by side"):
        open_movie(path, eer_fractions=2)


def metadata_of(tmp_path, metadata):
    streams = [stream_of(frame, keeps_places=False) for frame in counts(2)]
    return eer.read_metadata(write(tmp_path / "a.eer", streams, metadata=metadata))


def test_metadata_are_read_in_any_order_of_attributes(tmp_path):
    words = (
        b'<metadata><item unit="m" name="a">1</item>\n<item name="b" x="1"> two </item></metadata>'
    )

    assert metadata_of(tmp_path, words) == {"a": ("1", "m"), "b": ("two", "")}


@pytest.mark.parametrize(
    "piece", [b'<item name="a" ', b"<item  ", b" ", b"<item >", b'<item name=" ', b"<"]
)
def test_metadata_that_never_end_are_read_in_one_go(tmp_path, piece):
    # A search that begins anew at each piece and goes to the end would look at 10^12 letters.
    assert metadata_of(tmp_path, b"<item " + piece * (3_000_000 // len(piece))) == {}


def test_nothing_in_metadata_is_expanded(tmp_path):
    levels = b"".join(
        b'<!ENTITY e%d "%s">' % (level, b"&e%d;" % (level - 1) * 10) for level in range(1, 10)
    )
    words = b'<!DOCTYPE m [<!ENTITY e0 "ha">' + levels + b']><m><item name="a">&e9;</item></m>'

    assert metadata_of(tmp_path, words) == {"a": ("&e9;", "")}
