"""Tilt series that arrive while the protocol runs, and one that is killed and continued."""

import os
import pathlib

import pytest
from pyworkflow.object import Set
from pyworkflow.protocol import MODE_RESUME, getProtocolFromDb
from test_streaming import fresh, kill_with_children, sizes, wait_for, wait_for_end

NAME = "ProtTsFlexAlign"


@pytest.fixture(scope="module")
def folder(simulate_series):
    """Two series of the same movies, in a folder each."""
    first = simulate_series("sa", "mrc")
    second = first.with_name("second")
    second.mkdir()
    for path in first.iterdir():
        (second / path.name.replace("sa", "sb")).write_bytes(path.read_bytes())
    mdoc = second / "sb.mdoc"
    mdoc.write_text(mdoc.read_text().replace("sa_", "sb_"))
    return first.parent


def add_series(imported, other):
    """Put the series of another import into an open set, and close it."""
    running = as_stored(imported)
    output = running.outputTiltSeriesM
    output.enableAppend()
    output.copyItems(
        other.outputTiltSeriesM, updateTsCallback=lambda _, series, copy: copy.setObjId(None)
    )
    set_state(running, output, Set.STREAM_CLOSED)


def as_stored(protocol):
    """The protocol as its own process has left it in its database, to be changed there."""
    project = protocol.getProject()
    return getProtocolFromDb(project.path, protocol.getDbPath(), protocol.getObjId())


def set_state(protocol, output, state):
    output.setStreamState(state)
    output.write()
    protocol._store(output)
    output.close()
    protocol.closeMappers()


def test_a_series_that_comes_later_is_aligned_and_a_killed_run_goes_on(
    folder, import_series, align, project
):
    first = import_series(folder / "frames", "sa.mdoc")
    second = import_series(folder / "second", "sb.mdoc")
    set_state(first, first.outputTiltSeriesM, Set.STREAM_OPEN)

    protocol = align(first, NAME, wait=False, doLocalAlignment=False, doRefine=False)
    wait_for(lambda: sizes(protocol).get("TiltSeries") == (1, True))
    kill_with_children(int(fresh(protocol).getPid()))
    record = pathlib.Path(protocol._getExtraPath("sa", "sa_record.json"))
    finished = record.stat().st_mtime_ns
    add_series(first, second)
    project._updateProtocol(protocol)
    protocol.runMode.set(MODE_RESUME)
    project.launchProtocol(protocol, wait=False)
    wait_for_end(protocol, project)

    assert protocol.isFinished(), protocol.getErrorMessage()
    for name in ("TiltSeries", "TiltSeriesDW"):
        output = getattr(protocol, name)
        assert sorted(output.getTSIds()) == ["sa", "sb"], name
        assert output.isStreamClosed()
        assert [series.getSize() for series in output.iterItems()] == [5, 5]
    assert record.stat().st_mtime_ns == finished
    assert os.path.exists(protocol._getExtraPath("sb_DW.mrcs"))


def test_a_series_that_ended_right_before_a_stop_is_put_out(folder, import_series, align, project):
    """The stop between the end of a step and the output, made here by hand."""
    imported = import_series(folder / "frames", "sa.mdoc")
    set_state(imported, imported.outputTiltSeriesM, Set.STREAM_OPEN)
    protocol = align(imported, NAME, wait=False, doLocalAlignment=False, doRefine=False)
    wait_for(lambda: sizes(protocol).get("TiltSeries") == (1, True))
    kill_with_children(int(fresh(protocol).getPid()))
    running = as_stored(protocol)
    for _, output in list(running.iterOutputAttributes()):
        output.close()
        os.remove(output.getFileName())
        running.deleteOutput(output)
    running.closeMappers()
    assert sizes(protocol) == {}
    again = as_stored(imported)
    set_state(again, again.outputTiltSeriesM, Set.STREAM_CLOSED)
    project._updateProtocol(protocol)
    protocol.runMode.set(MODE_RESUME)
    project.launchProtocol(protocol, wait=False)
    wait_for_end(protocol, project)

    assert protocol.isFinished(), protocol.getErrorMessage()
    assert list(fresh(protocol).TiltSeries.getTSIds()) == ["sa"]
