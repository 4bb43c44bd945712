"""Every entry of the zoo, fine-tuned: better on a mild shift, no worse on its own data."""

import importlib
from pathlib import Path

import pytest

import keras_flows as kf
from tests.conftest import SHARED

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)
    return importlib.import_module("measure_finetuning")


def result(script, entry, shift):
    data_dir = SHARED / "tfds"
    mnist = script.kind_of(entry) == "images" and entry.training["data"]["images"] == "mnist"
    if mnist and not data_dir.is_dir():
        pytest.skip(f"no MNIST at {data_dir}: set KERAS_FLOWS_SHARED to the folder above tfds")
    return script.measure(entry, shift, seed=0, data_dir=data_dir)


@pytest.mark.slow
@pytest.mark.parametrize("entry", kf.zoo.list(), ids=lambda entry: entry.name)
def test_an_entry_improves_on_a_mild_shift(script, entry):
    shifted = result(script, entry, script.mild_shift(entry))
    assert shifted["epoch"] > 0 and shifted["gain"] > 2.0 * shifted["gain_error"]


@pytest.mark.slow
@pytest.mark.parametrize("entry", kf.zoo.list(), ids=lambda entry: entry.name)
def test_an_entry_stays_as_good_on_its_own_data(script, entry):
    own = result(script, entry, "its own")
    assert own["after"] <= own["before"] + own["before_error"]


def test_the_table_of_the_documentation_is_that_of_the_results(script):
    marked, results = importlib.import_module("marked"), script.read(script.RESULTS)
    text = script.PAGE.read_text(encoding="utf-8")
    assert marked.updated(text, script.SCRIPT, script.table(results)) == text
    assert not [x for x in results if script.is_worse(x)]
    mild = {x["entry"]: x["gain"] for x in results if x["shift"] != "its own"}
    assert mild.keys() == {entry.name for entry in kf.zoo.list()}
    assert min(mild.values()) > 0.0


def test_a_result_that_is_worse_is_known(script):
    own = {"shift": "its own", "gain": -0.02, "before_error": 0.03, "gain_error": 0.001}
    assert not script.is_worse(own)
    assert script.is_worse({**own, "gain": -0.04})
    assert script.is_worse({**own, "shift": "mirrored"})
