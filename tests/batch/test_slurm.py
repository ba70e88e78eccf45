"""A real Slurm of one node, started here, whose jobs are submitted through ``--cluster slurm``."""

from __future__ import annotations

import csv
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("dask_jobqueue", reason="pip install flexalign[cluster]")

PROGRAMS = ("munged", "mungekey", "slurmctld", "slurmd", "sbatch", "sinfo", "scancel")
missing = [name for name in PROGRAMS if shutil.which(name) is None]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        bool(missing), reason=f"{', '.join(missing)}: apt-get install slurm-wlm munge"
    ),
    pytest.mark.skipif(os.geteuid() != 0, reason="starting Slurm takes root"),
]

CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}
SlurmUser=root
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
ReturnToService=2
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
NodeName={host} CPUs={cores} RealMemory=4000
PartitionName=main Nodes=ALL Default=YES State=UP
"""


def free_ports(count: int) -> list[int]:
    """Numbers of ports that nobody uses."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for item in sockets:
            item.bind(("127.0.0.1", 0))
        return [item.getsockname()[1] for item in sockets]
    finally:
        for item in sockets:
            item.close()


def start_munge(folder: Path) -> subprocess.Popen[bytes]:
    """The daemon by which the parts of Slurm know each other."""
    munge = folder / "munge"
    munge.mkdir()
    subprocess.run(["mungekey", "-c", "-k", munge / "key"], check=True)
    for path in (munge, munge / "key"):
        shutil.chown(path, "munge", "munge")
    places = {"socket": "socket", "key-file": "key", "pid-file": "pid", "log-file": "log"}
    words = [f"--{name}={munge / place}" for name, place in places.items()]
    words.append(f"--seed-file={munge / 'seed'}")
    return subprocess.Popen(["munged", "--foreground", *words], user="munge", group="munge")


def wait_for_idle_node() -> None:
    """Wait until the node takes jobs."""
    until = time.monotonic() + 60
    while (
        "idle"
        not in subprocess.run(
            ["sinfo", "-h", "-o", "%T"], capture_output=True, text=True, check=False
        ).stdout
    ):
        assert time.monotonic() < until, "the node of Slurm does not come up"
        time.sleep(0.2)


@pytest.fixture
def slurm(monkeypatch) -> Iterator[Path]:
    """A Slurm of one node, found through ``SLURM_CONF``; the folder of its logs."""
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    folder.chmod(0o755)
    for name in ("state", "spool"):
        (folder / name).mkdir()
    host = os.uname().nodename
    text = CONFIGURATION.format(host=host, ports=free_ports(2), folder=folder, cores=os.cpu_count())
    (folder / "slurm.conf").write_text(text)
    monkeypatch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
    daemons = [start_munge(folder)]
    try:
        until = time.monotonic() + 20
        while not (folder / "munge" / "socket").exists():
            assert time.monotonic() < until, "munged does not come up"
            time.sleep(0.05)
        log = (folder / "output.log").open("wb")
        with log:
            daemons += [
                subprocess.Popen([name, "-D"], stdout=log, stderr=log)
                for name in ("slurmctld", "slurmd")
            ]
        wait_for_idle_node()
        yield folder
    finally:
        for daemon in reversed(daemons):
            daemon.terminate()
            daemon.wait(timeout=30)
        shutil.rmtree(folder)


def jobs() -> list[str]:
    """State of each job that Slurm has."""
    words = ["squeue", "-h", "-o", "%T"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()


def test_movies_are_aligned_by_jobs_of_slurm(slurm, movies, tmp_path, start):
    (movies / "bad.mrcs").write_bytes(b"no movie")
    run = tmp_path / "run"
    process = start(
        "align", movies, "--out", run, "--pixel-size", "1.5", "--no-psd", "--no-refine",
        "--cluster", "slurm", "--workers", "1", "2", "--queue", "main", "--walltime", "01:00:00",
        "--worker-cores", "1", "--worker-memory", "1.5",
    )  # fmt: skip
    max_jobs = 0
    while process.poll() is None:
        max_jobs = max(max_jobs, len(jobs()))
        time.sleep(0.2)
    _, err = process.communicate()

    logs = "".join(path.read_text() for path in (run / "cluster-logs").glob("*.err"))
    assert process.returncode == 1, err + logs
    with (run / "micrographs.csv").open() as file:
        assert sorted(Path(row["movie"]).name for row in csv.DictReader(file)) == [
            "m0.mrcs", "m1.mrcs", "m2.mrcs"
        ]  # fmt: skip
    assert (run / "failed.tsv").read_text().count("\tinput\t") == 1
    assert 1 <= max_jobs <= 2
    until = time.monotonic() + 30
    while jobs():
        assert time.monotonic() < until, "jobs are left"
        time.sleep(0.2)
