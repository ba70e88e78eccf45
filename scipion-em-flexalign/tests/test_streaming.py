"""Movies that arrive one by one, a corrupt one, a protocol that is killed and continued."""

import contextlib
import os
import pathlib
import re
import shutil
import signal
import threading
import time

import pytest
from pyworkflow.protocol import MODE_RESUME, getProtocolFromDb

ROOTS = ["s1", "s2", "s3", "s4", "s5", "s6"]
CORRUPT = "s3"
LONG_ENOUGH_S = 120


@pytest.fixture(scope="module")
def folder(simulate):
    made = simulate(*[(root, "mrc", seed) for seed, root in enumerate(ROOTS)],
                    shape_px=(192, 256), gain=False)  # fmt: skip
    with open(str(made / (CORRUPT + ".mrc")), "r+b") as file:
        file.truncate(100000)
    return made


def fresh(protocol):
    """The protocol as its own process has left it in its database."""
    project = protocol.getProject()
    found = getProtocolFromDb(project.path, protocol.getDbPath(), protocol.getObjId())
    found.getProject().closeMapper()
    return found


def sizes(protocol):
    found = fresh(protocol)
    result = {
        name: (out.getSize(), out.isStreamOpen()) for name, out in found.iterOutputAttributes()
    }
    found.closeMappers()
    return result


def wait_for(condition):
    end = time.time() + LONG_ENOUGH_S
    while time.time() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.5)
    raise AssertionError("waited too long")


def wait_for_end(protocol, project):
    def is_over():
        found = fresh(protocol)
        active = found.isActive()
        found.closeMappers()
        return not active

    wait_for(is_over)
    project._updateProtocol(protocol)


def assert_all_but_the_corrupt_one(protocol):
    for name in ("outputMovies", "outputMicrographs", "outputMicrographsDoseWeighted"):
        output = getattr(protocol, name)
        names = [item.getMicName() for item in output]
        assert sorted(names) == sorted(root + ".mrc" for root in ROOTS if root != CORRUPT), name
        assert output.isStreamClosed()
    table = pathlib.Path(protocol._getExtraPath("FAILED_reasons.tsv")).read_text().splitlines()
    ((_, name, reason),) = [line.split("\t") for line in table]
    assert name == CORRUPT + ".mrc"
    assert "trunc" in reason or "short" in reason or "bytes" in reason
    assert protocol._readFailedList() == [int(table[0].split("\t")[0])]
    assert any(reason in line for line in protocol.summary())


def test_a_corrupt_movie_is_named_with_its_reason_and_the_others_are_done(
    folder, import_movies, align
):
    imported = import_movies(folder, "s*.mrc")

    protocol = align(imported, useGpu=False, gpuList="0", numberOfThreads=3, doLocalAlignment=False)

    assert protocol.isFinished(), protocol.getErrorMessage()
    assert_all_but_the_corrupt_one(protocol)
    # Two movies at a time: on the CPU nobody waits for the one GPU of the list.
    with open(protocol.getStdoutLog()) as log:
        steps = re.findall(r"(STARTED|FINISHED): processMovieStep", log.read())
    assert steps[:2] == ["STARTED", "STARTED"]


def test_nothing_but_corrupt_movies_is_a_failure_that_says_why(folder, import_movies, align):
    imported = import_movies(folder, CORRUPT + ".mrc")

    protocol = align(imported, useGpu=False)

    assert protocol.isFailed()
    assert "None of the movies could be aligned" in protocol.getErrorMessage()
    assert CORRUPT in protocol.getErrorMessage()


def test_movies_that_arrive_are_aligned_and_a_killed_run_goes_on(
    folder, import_movies, align, project, tmp_path
):
    def feed():
        for root in ROOTS:
            shutil.copy(str(folder / (root + ".mrc")), str(tmp_path / (root + ".mrc")))
            time.sleep(3)

    feeder = threading.Thread(target=feed, daemon=True)
    feeder.start()
    time.sleep(1)
    imported = import_movies(
        tmp_path, "s*.mrc", wait=False, dataStreaming=True, timeout="14", fileTimeout="1"
    )
    wait_for(lambda: "outputMovies" in sizes(imported))
    project._updateProtocol(imported)
    protocol = align(imported, wait=False, useGpu=False, doLocalAlignment=False)

    grown = wait_for(
        lambda: sizes(protocol).get("outputMicrographs", (0, 0))[0] >= 2 and sizes(protocol)
    )
    assert grown["outputMicrographs"][1], "the output is open while movies arrive"
    # Without a chance to tidy up; the engine that is running goes with it.
    running = fresh(protocol).getPid()
    kill_with_children(int(running))
    finished = {
        path: path.stat().st_mtime_ns
        for path in pathlib.Path(protocol._getExtraPath()).glob("*_record.json")
    }
    assert finished
    # The base class notes a movie as done before it is put out: a stop in between, made here by
    # hand, must lose nothing.
    with open(protocol._getAllDone(), "a") as noted:
        noted.write("%d\n" % (grown["outputMicrographs"][0] + 2))
    project._updateProtocol(protocol)
    protocol.runMode.set(MODE_RESUME)
    project.launchProtocol(protocol, wait=False)
    feeder.join()
    wait_for_end(protocol, project)

    assert protocol.isFinished(), protocol.getErrorMessage()
    assert_all_but_the_corrupt_one(protocol)
    again = [path.name for path, at in finished.items() if path.stat().st_mtime_ns != at]
    # One may have been finished by the engine and not yet been noted when all stopped.
    assert len(again) <= 1, again
    assert not list(pathlib.Path(protocol._getExtraPath()).glob(".s*"))


def kill_with_children(pid):
    import psutil

    processes = [psutil.Process(pid)]
    processes += processes[0].children(recursive=True)
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
    psutil.wait_procs(processes, timeout=20)
