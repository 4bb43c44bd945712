"""Every entry of the zoo: what its card claims, and that it exports."""

import numpy as np
import pytest

import keras_flows as kf
from keras_flows import data
from keras_flows.measure import evaluation as evaluate
from keras_flows.training import sources

NAMES = [entry.name for entry in kf.zoo.list()]
TOYS = [name for name in NAMES if name.endswith(tuple(data.names()))]


def toy_of(name):
    return next(data.toy(toy) for toy in data.names() if name.endswith(toy))


@pytest.mark.parametrize("name", NAMES)
def test_an_entry_has_what_a_person_looks_at(name):
    entry = kf.zoo.show(name)
    card = kf.zoo.card(name)
    assert entry.summary in card
    assert f"{entry.parameters:,}" in card
    assert "![" in card and any(file.endswith(".png") for file in entry.files)
    assert entry.test is not None
    assert entry.largest_bound is None or entry.largest_bound < 1.0


@pytest.mark.parametrize("name", [entry.name for entry in kf.zoo.list() if entry.columns])
def test_an_entry_on_a_table_is_calibrated_and_says_what_it_is_not_for(name):
    entry, card = kf.zoo.show(name), kf.zoo.card(name)
    assert entry.calibration is not None and entry.calibration.scores == entry.test.examples
    assert "**It must not be used** for decisions about people" in card
    assert "| Licence of the data | CC BY 4.0 (UCI Machine Learning Repository: " in card
    assert all(f"| {column.name} | " in card for column in entry.columns)


@pytest.mark.slow  # loads every flow
@pytest.mark.parametrize("name", NAMES)
def test_the_certificate_is_that_of_the_weights(name):
    entry, flow = kf.zoo.show(name), kf.zoo.load(name)
    assert flow.certify().bounds == pytest.approx(entry.lipschitz, rel=1e-6)
    assert sum(np.prod(w.shape, dtype=int) for w in flow.trainable_weights) == entry.parameters


@pytest.mark.slow  # a hundred thousand points each
@pytest.mark.parametrize("name", TOYS)
def test_the_test_result_reproduces(name):
    test, flow, density = kf.zoo.show(name).test, kf.zoo.load(name), toy_of(name)
    x = density.sample(test.examples, seed=sources.TEST_SEED)
    log_prob = evaluate.log_probs(flow, x).astype("float64")
    assert -log_prob.mean() == pytest.approx(test.nll, abs=1e-4)
    assert np.mean(density.log_prob(x) - log_prob) == pytest.approx(test.kl_divergence, abs=1e-4)


@pytest.mark.slow  # up to a minute each
@pytest.mark.parametrize("export", [kf.export.to_saved_model, kf.export.to_onnx])
@pytest.mark.parametrize("name", NAMES)
def test_an_entry_exports_and_verifies(name, export, tmp_path):
    export(kf.zoo.load(name), tmp_path / name)
    assert all(row.passed for row in kf.export.verify(tmp_path / name).rows)
