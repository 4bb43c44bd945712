"""Exact resume: killed and gone on with, a run ends with the weights it would have had."""

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

PROGRAM = Path(__file__).parent / "resume_run.py"


def run(kind, folder, mode):
    return subprocess.run(
        [sys.executable, PROGRAM, kind, folder, mode], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("kind", ["exact", "unbiased"])
def test_same_weights_after_a_kill(kind, tmp_path):
    killed = run(kind, tmp_path, "kill")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    resumed = run(kind, tmp_path, "resume")
    assert resumed.returncode == 0, resumed.stderr
    with np.load(tmp_path / "whole.npz") as whole, np.load(tmp_path / "resumed.npz") as file:
        assert whole.files == file.files
        for name in whole.files:
            np.testing.assert_array_equal(whole[name], file[name])
    assert not list(tmp_path.glob("partial-*"))
