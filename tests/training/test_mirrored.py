"""Several replicas in one process train as one does with the joint batch."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

PROGRAM = Path(__file__).parent / "mirrored_run.py"
CASES = ["residual", "compiled", "spline", "normalized", "dense"]


def compare(one, other, tolerance=1e-10):
    """Compares what `flows_of_replicas.fitted` left in two files."""
    with np.load(one) as expected, np.load(other) as got:
        assert expected.files == got.files
        for name in expected.files:
            # Keras adds up its metrics in float32.
            within = tolerance if name.startswith("weights") else 1e-6
            np.testing.assert_allclose(
                got[name], expected[name], rtol=within, atol=within, err_msg=name
            )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("mirrored")
    done = subprocess.run(
        [sys.executable, PROGRAM, made, *CASES, "refused"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return made


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_two_replicas_do_what_one_does_with_the_joint_batch(folder, case):
    compare(folder / f"{case}-one.npz", folder / f"{case}-two.npz")


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_replicas_hold_the_same_weights_to_the_last_bit(folder, case):
    with np.load(folder / f"{case}-replicas.npz") as file:
        for name in file.files:
            if name.endswith(" 0"):
                np.testing.assert_array_equal(file[name], file[f"{name[:-1]}1"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("flow", "made outside of the MirroredStrategy"),
        ("optimizer", "optimizer was made outside"),
        ("accumulation", "gradient_accumulation_steps with several replicas"),
        ("scaled", "LossScaleOptimizer is for float16"),
        ("compiled", "frozen_normalization"),
        ("nan", "step 0, first in the data"),
        ("nan", "unchanged: True"),
    ],
)
def test_what_cannot_be_says_so(folder, what, says):
    messages = json.loads((folder / "refused.json").read_text())
    assert messages[what] is not None
    assert says in messages[what]
