"""Damaged lists of movies and of frames: a typed error or a list, in bounded memory and work."""

from __future__ import annotations

from hypothesis import example, given
from mutations import fuzzing, mutated, mutated_text, only_typed_errors

from flexalign.batch.inputs import find_movies, listed_parameters
from flexalign.io.inspect.inspection import inspect_file
from flexalign.io.motion_formats.frame_list import read_frame_list
from flexalign.io.star import read_star
from flexalign.params import AlignParams

MAX_BYTES = 16 << 20
STAR = """
# version 30001
data_optics

loop_
_rlnOpticsGroupName #1
_rlnOpticsGroup #2
_rlnMicrographOriginalPixelSize #3
_rlnVoltage #4
'group one' 1 0.885 300.0
two 2 1.1 200.0

data_movies

loop_
_rlnMicrographMovieName #1
_rlnOpticsGroup #2
_rlnMicrographPreExposure #3
_rlnMicrographDoseRate #4
_rlnMicrographGainName #5
_rlnMicrographDefectFile #6
Movies/a.tiff 1 0 1.2 gain.mrc None
"Movies/b 2.tiff" 2 3.5 1.2 None defects.txt
"""
STAR_WORDS = ("data_movies", "data_", "loop_", "_rlnVoltage", "'", '"', "2", "#", "\u2028")
FRAMES = """# XMIPP_STAR_1 *
data_noname
loop_
 _image
 _enabled
 000001@movie.eer#40,4K,uint16 1
 000002@movie.eer#40,4K,uint16 1
 000003@movie.eer#40,4K,uint16 1
"""
FRAME_WORDS = ("1@a.mrc:mrcs", "@", "#", "999999999@m.eer#1,4K,u", "0@movie.eer", "'a b'")
LIST = "# movies\nMovies/a.tiff\nMovies/b.tiff\n\nc.mrc\n"


@given(data=mutated_text(STAR, words=STAR_WORDS))
@example(data=STAR.encode())
@example(data=b"data_t\nloop_\n_x\n" + b"'a " * 100_000)
@example(data=STAR.replace("0.885", "abc").encode())
@example(data=STAR.replace("Movies/a", "Movies\0a").encode())
@fuzzing
def test_damaged_lists_of_relion(tmp_path, data):
    path = tmp_path / "movies.star"
    path.write_bytes(data)
    max_bytes = MAX_BYTES + 200 * len(data)

    with only_typed_errors(max_bytes=max_bytes):
        read_star(path)
    with only_typed_errors(max_bytes=max_bytes):
        movies = find_movies([str(path)])
        listed_parameters([str(path)], movies, AlignParams())
    with only_typed_errors(max_bytes=max_bytes):
        inspect_file(path, AlignParams())


@given(data=mutated_text(FRAMES, words=FRAME_WORDS))
@example(data=FRAMES.encode())
@fuzzing
def test_damaged_lists_of_frames(tmp_path, data):
    path = tmp_path / "frames.xmd"
    path.write_bytes(data)

    with only_typed_errors(max_bytes=MAX_BYTES):
        read_frame_list(path)


@given(data=mutated_text(LIST) | mutated(LIST.encode()))
@example(data=b"a" * 300 + b"\n")
@example(data=LIST.encode("utf-16"))
@example(data=b"a\0b.mrc\n")
@fuzzing
def test_damaged_lists_of_names(tmp_path, data):
    path = tmp_path / "movies.txt"
    path.write_bytes(data)

    with only_typed_errors(max_bytes=MAX_BYTES):
        listed_parameters([str(path)], find_movies([str(path)]), AlignParams())
