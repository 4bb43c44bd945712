"""Options, markers and fixtures that every test may use."""

import functools
import json
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # read once, when TensorFlow is imported

import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("KERAS_FLOWS_SHARED", REPOSITORY.parent / "shared"))
REFERENCE = SHARED / "reference"


def pytest_addoption(parser):
    parser.addoption("--run-slow", action="store_true", help="also run the tests marked slow")


def pytest_collection_modifyitems(config, items):
    slow = pytest.mark.skip(reason="slow: run with --run-slow")
    absent = pytest.mark.skip(
        reason=f"no reference numbers at {REFERENCE}: set KERAS_FLOWS_SHARED to their folder"
    )
    for item in items:
        if item.get_closest_marker("slow") and not config.getoption("--run-slow"):
            item.add_marker(slow)
        if item.get_closest_marker("reference") and not REFERENCE.is_dir():
            item.add_marker(absent)


@pytest.fixture(scope="session")
def reference():
    """A loader: `reference(name)` gives the arrays and the configuration of one reference case."""
    if not REFERENCE.is_dir():
        pytest.skip(f"no reference numbers at {REFERENCE}")

    @functools.cache
    def read(name):
        with np.load(REFERENCE / f"{name}.npz", allow_pickle=False) as file:
            return dict(file)

    def load(name):
        config = json.loads((REFERENCE / f"{name}.json").read_text(encoding="utf-8"))
        return dict(read(name)), config

    return load


@pytest.fixture
def written(tmp_path):
    """A function that writes the arrays of a checkpoint to an .npz file and gives its path."""

    def write(arrays):
        np.savez(tmp_path / "state.npz", **arrays)
        return tmp_path / "state.npz"

    return write
