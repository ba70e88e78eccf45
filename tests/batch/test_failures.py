"""Why a movie failed: what the system says counts, not where it said it."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from flexalign.atomic import explained
from flexalign.batch.failures import ADVICE, explain
from flexalign.batch.folder import RunFolder
from flexalign.batch.jobs import Job, Outcome, run_job
from flexalign.batch.resources import ReadAhead
from flexalign.batch.tables import FAILED_NAME
from flexalign.errors import InputError, OutputError
from flexalign.params import AlignParams

PARAMS = AlignParams(pixel_size_A=1.5, psd=False, refine=False)


def raised(number: int) -> OSError:
    return OSError(number, os.strerror(number))


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, "output"), (errno.EDQUOT, "output"), (errno.EROFS, "output"),
        (errno.EMFILE, "system"), (errno.ENOMEM, "system"), (errno.EIO, "system"),
        (errno.ESTALE, "system"), (errno.EACCES, "system"), (errno.ENAMETOOLONG, "input"),
        (errno.ENOENT, "input"), (errno.EISDIR, "input"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("is_wrapped", [False, True])
def test_errors_of_the_system_are_told_by_their_number(number, kind, is_wrapped):
    error: Exception = raised(number)
    if is_wrapped:
        try:
            raise InputError("m.mrc: cannot be read") from error
        except InputError as wrapped:
            error = wrapped

    failure = explain(error)

    assert failure.kind == kind
    assert failure.is_of_movie == (kind == "input")
    assert failure.advice == ADVICE[kind]


def test_whatever_happens_while_writing_is_of_the_output():
    with pytest.raises(OutputError) as caught, explained("out"):
        raise raised(errno.EACCES)

    assert explain(caught.value).kind == "output"


def job_for(movie: Path, folder: Path) -> Job:
    return Job(str(movie), movie.stem, str(folder), PARAMS.to_dict(), "key")


def odd_movies(folder: Path, good: Path) -> dict[str, Path]:
    """Movies with names that tables cannot hold or results cannot have, and what is no file."""
    names = {
        "UTF-8": os.fsdecode(b"caf\xe9.mrc"), "line ends": "two\nlines.mrc",
        "up to": "x" * 246 + ".mrc",
    }  # fmt: skip
    found = {words: Path(shutil.copy(good, folder / name)) for words, name in names.items()}
    os.mkfifo(folder / "fifo.mrc")
    return {**found, "a FIFO": folder / "fifo.mrc"}


def test_an_odd_movie_costs_itself_and_the_tables_are_written(tmp_path, write_movie):
    good = write_movie(tmp_path / "good.mrc")
    movies = odd_movies(tmp_path, good)
    out = tmp_path / "out"
    out.mkdir()
    folder = RunFolder(out, PARAMS)
    for words, movie in movies.items():
        outcome = run_job(job_for(movie, out), 1, lambda *news: None)
        assert outcome.failure is not None
        assert outcome.failure.kind == "input"
        assert words in outcome.failure.message
        folder.add(outcome)

    folder.write(at_once=True)

    lines = (out / FAILED_NAME).read_text(encoding="utf-8").splitlines()
    assert [line.count("\t") for line in lines] == [3] * (1 + len(movies))
    assert any(line.startswith(rf"{tmp_path}/caf\xe9.mrc") for line in lines)
    again = RunFolder(out, PARAMS)
    assert {entry.movie for entry in again} == {str(movie) for movie in movies.values()}


def test_a_movie_is_tried_again_when_the_system_was_at_fault(tmp_path):
    folder = RunFolder(tmp_path, PARAMS)
    failure = explain(raised(errno.EIO))
    folder.add(Outcome(job_for(tmp_path / "m.mrc", tmp_path), None, failure))
    folder.write(at_once=True)

    (entry,) = RunFolder(tmp_path, PARAMS)

    assert entry.failure is not None
    assert not entry.failure.is_of_movie
    assert entry.failure.may_pass


def test_reading_ahead_does_not_wait_for_a_fifo(tmp_path):
    """The thread goes on with the next file: it has read that when it is joined."""
    os.mkfifo(tmp_path / "fifo.mrc")
    ahead = ReadAhead()
    ahead.request(str(tmp_path / "fifo.mrc"))
    ahead.close()
    ahead._thread.join(60)

    assert not ahead._thread.is_alive()
