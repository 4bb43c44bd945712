"""A scorer that is really killed, and a disk that is really full: then --resume goes on."""

import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

import keras_flows as kf
from keras_flows import stream
from keras_flows.transforms import Affine, Chain, Logit, UniformDequantization

pytestmark = pytest.mark.slow
PART, PARTS = 10_000, 30


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """An export whose log_prob is random, rows, and their scores by a run that nobody killed."""
    root = tmp_path_factory.mktemp("streaming")
    chain = Chain([UniformDequantization(2), Logit(), Affine([0.3, -0.1], [0.7, 1.4])])
    kf.export.to_onnx(kf.Flow(chain, (2,)), root / "deployed")
    x = np.random.default_rng(0).integers(0, 4, (PART * PARTS - 5, 2)).astype("float32")
    pd.DataFrame(x, columns=["a", "b"]).to_parquet(root / "rows.parquet", row_group_size=33_000)
    assert start(root, root / "whole").wait() == 0
    return root


def start(root, output, *options, log=None):
    """`keras-flows score` in a process of its own."""
    command = [sys.executable, "-m", "keras_flows", "score", root / "deployed"]
    command += [root / "rows.parquet", "-o", output, "--runtime", "onnx"]
    command += ["--part-rows", str(PART), *options]
    return subprocess.Popen(
        list(map(str, command)), stdout=log, stderr=log and subprocess.STDOUT, text=True
    )


def sums(folder):
    return [(part.name, part.rows, part.sha256) for part in stream.verify(folder).parts]


def test_kill_9_at_any_time(root, tmp_path):
    """Whatever is there is resumed to the same bytes; one part at most is made again."""
    chance, folder, kills = random.Random(0), tmp_path / "scores", 0
    before = set()
    for _ in range(200):
        process = start(root, folder, "--resume")
        wanted = len(before) + chance.randint(1, 6)
        while process.poll() is None and len(list(folder.glob("part-*"))) < wanted:
            time.sleep(0.001)
        time.sleep(chance.uniform(0.0, 0.02))
        process.send_signal(signal.SIGKILL)
        if process.wait() == 0:
            break
        kills += 1
        times = {(path.name, path.stat().st_mtime_ns) for path in folder.glob("part-*")}
        assert before <= times  # no part that was complete was written again
        before = times
    assert kills >= 3
    assert sums(folder) == sums(root / "whole")


def test_a_full_disk(root, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "none", str(disk)]
    if os.getuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root may mount a disk")
    try:
        process = start(root, disk / "scores", log=subprocess.PIPE)
        said, _ = process.communicate()
        assert process.returncode == 1 and "No space left on device" in said, said
        assert "Traceback" not in said
        there = stream.read_manifest(disk / "scores")
        assert 0 < len(there.parts) < PARTS
        subprocess.run(["mount", "-o", "remount,size=20m", str(disk)], check=True)
        assert start(root, disk / "scores", "--resume").wait() == 0
        assert sums(disk / "scores") == sums(root / "whole")
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
