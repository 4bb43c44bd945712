"""Exact resume: killed and gone on with, a run ends with the weights it would have had."""

import csv
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import keras_flows as kf

PROGRAM = Path(__file__).parent / "resume_run.py"


def run(kind, folder, mode):
    return subprocess.run(
        [sys.executable, PROGRAM, kind, folder, mode], capture_output=True, text=True, check=False
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("exact", marks=pytest.mark.slow),
        pytest.param("unbiased", marks=pytest.mark.slow),
        "recipe",
    ],
)
def test_same_weights_after_a_kill(kind, tmp_path):
    killed = run(kind, tmp_path, "kill")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    resumed = run(kind, tmp_path, "resume")
    assert resumed.returncode == 0, resumed.stderr
    with np.load(tmp_path / "whole.npz") as whole, np.load(tmp_path / "resumed.npz") as file:
        assert whole.files == file.files
        for name in whole.files:
            np.testing.assert_array_equal(whole[name], file[name])
    assert not list(tmp_path.rglob("*.partial"))
    if kind == "recipe":
        compare_runs(tmp_path)


def compare_runs(folder):
    """A recipe's run leaves the same test result, weights and history, killed or not."""
    whole, killed = folder / "whole", folder / "killed"
    assert kf.zoo.show(whole).test == kf.zoo.show(killed).test
    flows = kf.zoo.load(whole), kf.zoo.load(killed)
    for one, other in zip(*(flow.get_weights() for flow in flows), strict=True):
        np.testing.assert_array_equal(one, other)
    histories = []
    for name in ("whole", "killed"):
        with open(folder / f"{name}.training" / "history.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        assert [row["step"] for row in rows] == ["3", "6", "9", "12"]
        histories.append([{k: v for k, v in row.items() if k != "seconds"} for row in rows])
    assert histories[0] == histories[1]
