"""Calibrations in files."""

import json

import numpy as np
import pytest

from keras_flows import PresetError
from keras_flows.detect import Calibration, load_calibration, save_calibration


@pytest.fixture
def calibration():
    return Calibration(
        scores=np.array([0.3, -np.inf, 1e-9, np.inf, 0.1]),
        statistic="typicality",
        constants={"mean_log_prob": 0.1 + 0.2},
        likelihood="lower_bound",
        seed=7,
        draws=3,
        data="Daten aus Köln",
        data_sha256="0123456789abcdef" * 4,
    )


def write(path, **arrays):
    np.savez(path, **arrays)
    return path


def parts(path):
    with np.load(path, allow_pickle=False) as file:
        return file["scores"], json.loads(str(file["description"]))


def test_the_same_comes_back(calibration, tmp_path):
    path = tmp_path / "calibration.npz"
    save_calibration(calibration, path)
    found = load_calibration(path)
    np.testing.assert_array_equal(found.scores, calibration.scores)
    assert found.scores.dtype == np.float32
    for name in ("statistic", "constants", "likelihood", "seed", "draws", "data", "data_sha256"):
        assert getattr(found, name) == getattr(calibration, name)
    grid = np.linspace(-1.0, 1.0, 101)
    np.testing.assert_array_equal(found.p_values(grid), calibration.p_values(grid))


def test_the_same_bytes(calibration, tmp_path):
    for name in ("a.npz", "b.npz"):
        save_calibration(calibration, tmp_path / name)
    save_calibration(load_calibration(tmp_path / "a.npz"), tmp_path / "a.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.npz", "b.npz"]


def test_where_it_cannot_be_written(calibration, tmp_path):
    with pytest.raises(ValueError, match=r"is an \.npz file"):
        save_calibration(calibration, tmp_path / "calibration.json")
    with pytest.raises(FileNotFoundError, match="no folder"):
        save_calibration(calibration, tmp_path / "none" / "calibration.npz")


def test_no_file(tmp_path):
    with pytest.raises(PresetError, match="There is no calibration"):
        load_calibration(tmp_path / "calibration.npz")


def test_no_calibration(calibration, tmp_path):
    path = tmp_path / "calibration.npz"
    path.write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(PresetError, match="no calibration, or damaged"):
        load_calibration(path)
    with open(path, "wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(PresetError, match="no calibration"):
        load_calibration(path)
    write(path, x=np.zeros(3))
    with pytest.raises(PresetError, match="arrays description, scores; it holds x"):
        load_calibration(path)
    save_calibration(calibration, path)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(PresetError, match="no calibration, or damaged"):
        load_calibration(path)


def test_pickles_are_not_loaded(tmp_path):
    path = write(tmp_path / "c.npz", scores=np.zeros(1, "float32"), description=np.array({}))
    with pytest.raises(PresetError, match="allow_pickle"):
        load_calibration(path)


BAD_SCORES = {
    "float64": np.array([1.0, 2.0]),
    "not sorted": np.float32([2.0, 1.0]),
    "two axes": np.zeros((2, 2), "float32"),
    "empty": np.zeros(0, "float32"),
    "NaN": np.float32([np.nan]),
}


@pytest.mark.parametrize("name", BAD_SCORES)
def test_damaged_scores(calibration, tmp_path, name):
    path = tmp_path / "calibration.npz"
    save_calibration(calibration, path)
    _, description = parts(path)
    write(path, scores=BAD_SCORES[name], description=json.dumps(description))
    with pytest.raises(PresetError, match="is damaged"):
        load_calibration(path)


BAD_FIELDS = {
    "unknown": ({"more": 1}, "more: extra inputs"),
    "missing": ({"seed": ...}, "seed: field required"),
    "no format": ({"format": ...}, "format: field required"),
    "wrong type": ({"draws": "3"}, "draws: input should be a valid integer"),
    "wrong value": ({"draws": 0}, "draws must be"),
    "likelihood": ({"likelihood": "good"}, "likelihood must be one of"),
    "checksum": ({"data_sha256": "12"}, "64 hexadecimal digits"),
    "constant": ({"constants": {"mean": "1"}}, r"constants\.mean"),
    "newer": ({"format": 2, "more": 1}, "reads up to 1. Upgrade keras-flows"),
}


@pytest.mark.parametrize("name", BAD_FIELDS)
def test_damaged_descriptions(calibration, tmp_path, name):
    path = tmp_path / "calibration.npz"
    save_calibration(calibration, path)
    scores, description = parts(path)
    change, message = BAD_FIELDS[name]
    description = {k: v for k, v in {**description, **change}.items() if v is not ...}
    write(path, scores=scores, description=json.dumps(description))
    with pytest.raises(PresetError, match=message):
        load_calibration(path)


@pytest.mark.parametrize("text", ["{", "[1]", "3"])
def test_descriptions_that_are_none(calibration, tmp_path, text):
    path = write(tmp_path / "c.npz", scores=np.zeros(1, "float32"), description=text)
    with pytest.raises(PresetError, match="is damaged"):
        load_calibration(path)
    write(path, scores=np.zeros(1, "float32"), description=np.zeros(1))
    with pytest.raises(PresetError, match="description is no text"):
        load_calibration(path)
