"""The rules of a fit, the Gaussian it is compared with, and what its report says."""

import dataclasses
import inspect
import re

import numpy as np
import pytest
from scipy import stats

import keras_flows as kf
from keras_flows.fitting import Report, Settings, defaults, settings
from keras_flows.fitting.gaussian import Gaussian
from keras_flows.models import registry


@pytest.mark.parametrize(
    ("rows", "batch", "steps", "every"),
    [
        (20, 20, 100, 20),
        (100, 32, 300, 20),
        (371, 32, 1100, 20),
        (4000, 250, 1600, 20),
        (100_000, 256, 4000, 200),
        (10**7, 256, 4000, 200),
    ],
)
def test_settings_follow_the_rows(rows, batch, steps, every):
    made = settings(rows)
    assert (made.batch_size, made.steps, made.report_every) == (batch, steps, every)
    assert made.steps % made.report_every == 0 and made.patience >= 10


def test_steps_and_epochs_that_are_given():
    assert settings(1000, steps=7).steps == settings(1000, steps=7).report_every == 7
    assert settings(1000, steps=101).steps == 120  # whole looks
    assert settings(4000, epochs=1).steps == 16


def test_the_share_that_is_held_out():
    assert defaults.holdout(5000) == defaults.holdout(10**6) == 0.2
    assert defaults.holdout(100) == 0.4
    for rows in (569, 700, 995, 1200):  # a half of it calibrates for 1 %
        table = kf.data.table(np.random.default_rng(0).normal(size=(rows, 2)))
        assert len(table.split(defaults.holdout(rows)).test) >= 99


def test_every_model_of_the_rules_takes_its_arguments():
    for name in ("SplineFlow", "RealNVP", "MaskedAutoregressiveFlow", "ResidualFlow", "IDenseNet"):
        small, large = (defaults.arguments(name, rows) for rows in (100, 50_000))
        assert small and small != large and small.keys() == large.keys()
        assert set(small) <= set(inspect.signature(registry.MODELS[name].__init__).parameters)
    assert defaults.MODEL in registry.MODELS


@pytest.mark.parametrize("name", ["steps", "batch_size", "report_every", "patience", "seed"])
@pytest.mark.parametrize("value", [-1, 1.5, "3", None, True])
def test_bad_settings(name, value):
    good = {"steps": 10, "batch_size": 5, "learning_rate": 0.1, "report_every": 5, "patience": 2}
    with pytest.raises(ValueError, match=f"{name} must be an integer"):
        Settings(**{**good, name: value})


def test_the_gaussian_is_that_of_maximum_likelihood():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(5000, 3)) @ rng.normal(size=(3, 3))
    expected = stats.multivariate_normal(x.mean(axis=0), np.cov(x.T, bias=True)).logpdf(x[:99])
    units = np.array([1.0, 1e6, 1e-6])
    made = Gaussian(units * x + [0.0, 5e6, 1.0]).log_prob(units * x[:99] + [0.0, 5e6, 1.0])
    np.testing.assert_allclose(made, expected - np.log(units).sum(), atol=0.01)


def test_the_gaussian_follows_the_context():
    rng = np.random.default_rng(1)
    context = np.eye(2)[rng.integers(2, size=4000)]
    x = context @ [[0.0, 1.0], [50.0, -1.0]] + rng.normal(size=(4000, 2))
    entropy = 2 * 0.5 * np.log(2 * np.pi * np.e)
    assert -Gaussian(x, context).log_prob(x, context).mean() == pytest.approx(entropy, abs=0.03)
    assert -Gaussian(x).log_prob(x).mean() > entropy + 2


def test_the_gaussian_of_few_rows_is_a_density():
    x = np.random.default_rng(2).normal(size=(5, 8))
    assert np.isfinite(Gaussian(x).log_prob(x + 1.0)).all()
    twice = np.repeat(x[:, :1], 2, axis=1)  # columns that depend on one another
    assert np.isfinite(Gaussian(twice).log_prob(twice)).all()


def report(**changed):
    good = {
        "data": "a.csv, 5,000 rows",
        "model": "SplineFlow",
        "parameters": 1234,
        "likelihood": "exact",
        "columns": 3,
        "train_rows": 4000,
        "validation_rows": 500,
        "test_rows": 500,
        "repeated_rows": 0,
        "dropped_rows": 0,
        "steps": 200,
        "best_step": 180,
        "ended": "steps",
        "seconds": 12.0,
        "validation_nll": 3.0,
        "test_nll": 3.1,
        "test_standard_error": 0.05,
        "gaussian_validation_nll": 4.0,
        "gaussian_test_nll": 4.1,
        "smallest_p_value": 1 / 501,
    }
    return Report(**{**good, **changed})


def test_a_good_report_has_no_warnings():
    assert report().warnings == []
    text = str(report())
    assert "3.1000 ± 0.0500 nats" in text and "4.1000 nats" in text and "!" not in text
    assert report().to_json() == {**dataclasses.asdict(report()), "warnings": []}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"train_rows": 89}, "Few rows: 89 to train 1,234 parameters on 3 columns"),
        ({"validation_nll": 4.5}, "never beat a Gaussian on held-out rows: 4.5000 against 4.0000"),
        ({"validation_nll": float("nan")}, "never beat a Gaussian"),
        ({"best_step": 0}, "No step of training made"),
        ({"smallest_p_value": 0.02, "test_rows": 49}, r"The 49 held-out .* 0\.01 needs 99"),
        ({"ended": "minutes"}, "stopped by the time given"),
    ],
)
def test_what_is_said_against_a_flow(changed, message):
    (warning,) = report(**changed).warnings
    assert re.search(message, warning)
    assert f"! {warning}" in str(report(**changed))


def test_rows_that_were_dropped_or_repeat_are_told():
    text = str(report(dropped_rows=7, repeated_rows=9))
    assert "7 rows with missing values" in text and "9, kept in one part" in text
