"""Processes that are really killed, on disks that are really full, and two at a time."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import keras_flows as kf
from keras_flows.data import tables
from keras_flows.training import state
from tests.faults import jobs

pytestmark = pytest.mark.slow
REPOSITORY = Path(__file__).resolve().parents[2]
ROWS = 30_000
# Of a job, that many are killed at any time, and as many while it writes.
KILLS = 2


class Server:
    """Processes of jobs; see server.py."""

    def __init__(self, data):
        self.data = data
        path = os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).parent / "server.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"},
        )
        assert self._answer() == "ready"

    def _answer(self):
        return json.loads(self._process.stdout.readline())

    def _ask(self, **request):
        print(json.dumps(request), file=self._process.stdin, flush=True)
        return self._answer()

    def start(self, job, folder, log="log"):
        """The process id of a job."""
        start = [job, str(folder), str(self.data)]
        return self._ask(start=start, log=str(self.data / log))

    def wait(self, pid):
        """The exit code of a job."""
        return self._ask(wait=pid)

    def said(self, log="log"):
        """What a job printed."""
        return (self.data / log).read_text()

    def close(self):
        """Ends it."""
        self._process.stdin.close()
        self._process.wait()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    data = tmp_path_factory.mktemp("data")
    jobs.flow().save_to_preset(data / "preset")
    x = np.random.default_rng(0).normal(size=(ROWS, 2)).astype("float32")
    np.save(data / "points.npy", x)
    np.save(data / "few.npy", x[:100])
    server = Server(data)
    yield server
    server.close()


# What is there after each job: what was there before, what it makes, or nothing ------------------


def preset(folder):
    return jobs.Preset().content(folder)


def scores(folder):
    path = folder / "scores.csv"
    if path.read_text() == "old":
        return "old"
    with open(path) as file:
        width = len(file.readline().split(","))
    assert tables.read(path, (width,)).shape == (ROWS, width)
    return "new"


def tuned(folder):
    if not (folder / "flow").exists():
        return "old"
    kf.zoo.load(folder / "flow")
    return "new"


def exported(folder):
    if not (folder / "exported").exists():
        return "old"
    kf.export.verify(folder / "exported")
    return "new"


def trained(folder):
    work = folder / "tiny.training"
    if (work / "state.keras").exists():
        state.load(work / "state.keras")
        assert state.read_recipe(work / "recipe.json") == jobs.RECIPE
    if not (folder / "tiny").exists():
        return "old"
    kf.zoo.load(folder / "tiny")
    return "new"


LEFT = {
    "save": preset,
    "score": scores,
    "sample": scores,
    "finetune": tuned,
    "export": exported,
    "saved-model": exported,
    "train": trained,
}


def prepare(job, folder):
    """Puts there what was there before."""
    folder.mkdir(exist_ok=True)
    if job == "save":
        jobs.Preset().write(folder, new=False)
    if LEFT[job] is scores:
        (folder / "scores.csv").write_text("old")


def writes(folder):
    """Whether something is being written there."""
    return any(name.name.endswith(".partial") for name in folder.rglob(".*"))


def kill(server, job, folder, until):
    """Starts a job, and kills it when a condition holds; its exit code."""
    pid = server.start(job, folder)
    until(pid)
    os.kill(pid, signal.SIGKILL)
    return server.wait(pid)


def running(pid):
    """Whether a process has not ended yet."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.skipif(sys.platform != "linux", reason="/proc says whether a process has ended")
@pytest.mark.parametrize("job", LEFT)
def test_killed_at_random(server, job, tmp_path):
    chance = random.Random(job)
    whole = tmp_path / "whole"
    prepare(job, whole)
    began = time.monotonic()
    assert server.wait(server.start(job, whole)) == 0, server.said()
    seconds = time.monotonic() - began
    assert LEFT[job](whole) == "new" and not jobs.hidden(whole)

    def at_any_time(pid):
        time.sleep(chance.uniform(0.0, seconds))

    def while_it_writes(pid):
        while running(pid) and not writes(folder):
            time.sleep(0.0005)
        time.sleep(chance.choice([0.0, 0.003, 0.03, 0.1]))

    killed = 0
    for number, until in enumerate([at_any_time, while_it_writes] * KILLS):
        folder = tmp_path / str(number)
        prepare(job, folder)
        killed += kill(server, job, folder, until) == -signal.SIGKILL
        assert LEFT[job](folder) in ("old", "new")
    assert killed >= 1
    # Once more in the last one, if it was not complete.
    if LEFT[job](folder) == "new" and LEFT[job] is exported:
        return
    assert server.wait(server.start(job, folder)) == 0, server.said()
    assert LEFT[job](folder) == "new" and not jobs.hidden(folder)
    if job == "train":
        flows = kf.zoo.load(whole / "tiny"), kf.zoo.load(folder / "tiny")
        for one, other in zip(*(flow.get_weights() for flow in flows), strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.fixture
def disk(tmp_path):
    """A disk of 300 kB, for root only."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=300k", "none", str(folder)]
    if os.getuid() != 0 or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("only root may mount a disk")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("room", [0, 20_000], ids=["none", "some"])
@pytest.mark.parametrize("job", LEFT)
def test_a_full_disk(server, job, room, disk):
    """One line that says so, and exit code 1: no signal of HDF5's."""
    prepare(job, disk)
    with open(disk / "filler", "wb", buffering=0) as file, pytest.raises(OSError):
        while file.write(bytes(4096)):
            pass
    os.truncate(disk / "filler", (disk / "filler").stat().st_size - room)
    assert server.wait(server.start(job, disk)) == 1, server.said()
    said = server.said()
    assert "No space left on device" in said or "disk full" in said, said
    if job != "save":
        assert "Traceback" not in said
        assert len([line for line in said.splitlines() if line.startswith("error:")]) == 1
    assert LEFT[job](disk) == "old" and not jobs.hidden(disk)


def test_weights_that_do_not_fit_on_the_disk(server, disk):
    """It is said before HDF5 begins, which may end the process by a signal."""
    prepare("save", disk)
    assert server.wait(server.start("save-large", disk)) == 1, server.said()
    assert "No space left on device: 416,404 bytes are to be written" in server.said()
    assert preset(disk) == "old" and not jobs.hidden(disk)


def test_two_trainings(server, tmp_path):
    """One of them is told so; the other is done."""
    first = server.start("train", tmp_path, "first")
    second = server.start("train", tmp_path, "second")
    codes = [server.wait(first), server.wait(second)]
    said = [server.said("first"), server.said("second")]
    assert sorted(codes) == [0, 1], said
    assert "Another process trains into" in said[codes.index(1)]
    assert trained(tmp_path) == "new" and not jobs.hidden(tmp_path)


@pytest.mark.parametrize("job", ["save", "score", "finetune"])
def test_two_writers(server, job, tmp_path):
    """Both are done, one after the other."""
    prepare(job, tmp_path)
    pids = [server.start(job, tmp_path, log) for log in ("first", "second")]
    codes = [server.wait(pid) for pid in pids]
    assert codes == [0, 0], [server.said("first"), server.said("second")]
    assert LEFT[job](tmp_path) == "new" and not jobs.hidden(tmp_path)


def test_two_exports(server, tmp_path):
    """One of them finds the folder taken, at the latest when it would begin."""
    pids = [server.start("export", tmp_path, log) for log in ("first", "second")]
    codes = [server.wait(pid) for pid in pids]
    assert sorted(codes) == [0, 1], [server.said("first"), server.said("second")]
    assert exported(tmp_path) == "new" and not jobs.hidden(tmp_path)
    shutil.rmtree(tmp_path / "exported")
