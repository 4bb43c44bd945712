"""Scores with a standard error."""

import numpy as np
import pytest
from scipy import stats

from keras_flows import Flow
from keras_flows.measure import evaluation as evaluate
from keras_flows.transforms import Affine, UniformDequantization
from tests.registry import CASES


@pytest.fixture
def gaussian():
    return Flow(Affine(1.0, 2.0, dtype="float64"), (3,), dtype="float64")


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(1.0, 2.0, size=(1000, 3))


def test_mean_and_standard_error(gaussian, x):
    result = evaluate.evaluate(gaussian, x)
    nll = -stats.norm(1.0, 2.0).logpdf(x).sum(axis=1)
    assert result.nll == pytest.approx(nll.mean(), rel=1e-12)
    assert result.standard_error == pytest.approx(stats.sem(nll), rel=1e-12)
    assert result.examples == 1000
    assert result.likelihood == "exact"
    assert result.bits_per_dim is None
    # The entropy is known: the mean is within its error.
    entropy = 3.0 * stats.norm(1.0, 2.0).entropy()
    assert abs(result.nll - entropy) < 3.5 * result.standard_error


def test_batches_make_no_difference(gaussian, x):
    whole = evaluate.log_probs(gaussian, x)
    assert whole.shape == (1000,)
    seen = []
    parts = evaluate.log_probs(gaussian, x, batch_size=300, progress=seen.append)
    np.testing.assert_allclose(parts, whole, rtol=1e-12)
    assert seen == [300, 300, 300, 100]


def test_contexts_go_with_their_examples():
    case = CASES["idensenet_context"]
    flow, x, context = case.flow(), case.data(10), case.context(10)
    expected = flow.log_prob(x, context)
    np.testing.assert_allclose(evaluate.log_probs(flow, x, context, batch_size=3), expected)
    result = evaluate.evaluate(flow, x, context, batch_size=3)
    assert result.nll == pytest.approx(-np.mean(expected))


def test_random_log_probs_repeat_by_seed():
    case = CASES["idensenet_unbiased"]
    flow, x = case.flow(), case.data(20)
    one, same, other = (evaluate.log_probs(flow, x, batch_size=7, seed=i) for i in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (one != other).all()
    # Each batch has draws of its own.
    twice = evaluate.log_probs(flow, np.concatenate([x[:7], x[:7]]), batch_size=7, seed=1)
    assert (twice[:7] != twice[7:]).all()
    assert evaluate.evaluate(flow, x).likelihood == "unbiased"


def test_probes_tell_the_error_of_the_estimator():
    case = CASES["idensenet_unbiased"]
    flow, x = case.flow(), case.data(20)
    result = evaluate.evaluate(flow, x, batch_size=8, seed=3, probes=5)
    batches = [(start, x[start : start + 8]) for start in (0, 8, 16)]
    draws = [flow.log_prob_draws(part, 5, seed=(3, start)).numpy() for start, part in batches]
    scores = -np.concatenate(draws, axis=1).mean(axis=0)
    assert result.nll == pytest.approx(scores.mean(), rel=1e-10)
    assert result.standard_error == pytest.approx(stats.sem(scores), rel=1e-10)
    assert (result.probes, result.examples, result.likelihood) == (5, 20, "unbiased")
    # The variance of a weighted sum of independent means.
    variance = sum((len(d.T) / 20) ** 2 * stats.sem(d.mean(axis=1)) ** 2 for d in draws)
    assert result.estimator_standard_error == pytest.approx(variance**0.5, rel=1e-10)
    one = evaluate.evaluate(flow, x, batch_size=8, seed=3)
    assert one.probes is None and one.estimator_standard_error is None


@pytest.mark.slow
def test_the_error_of_the_estimator_is_the_spread_of_its_repetitions():
    flow = Flow(UniformDequantization(1), (1,), dtype="float64")
    x = np.zeros((40, 1))
    results = [evaluate.evaluate(flow, x, batch_size=10, seed=i, probes=4) for i in range(50)]
    # log_prob = -(u / 2)^2 / 2 + constant; var(u^2) = 4 / 45.
    exact = np.sqrt(4.0 / 45.0 / 64.0 / (40 * 4))
    errors = np.array([result.estimator_standard_error for result in results])
    assert np.sqrt(np.mean(errors**2)) == pytest.approx(exact, rel=0.15)
    spread = np.std([result.nll for result in results], ddof=1)
    assert spread == pytest.approx(exact, rel=0.35)


def test_probes_that_make_no_sense(gaussian, x):
    flow = CASES["idensenet_unbiased"].flow()
    with pytest.raises(ValueError, match="probes must be an integer, at least 1; got 0"):
        evaluate.evaluate(flow, x[:, :2], probes=0)
    with pytest.raises(ValueError, match="either importance_samples or probes"):
        evaluate.evaluate(flow, x[:, :2], importance_samples=2, probes=2)
    with pytest.raises(ValueError, match="draws no random numbers"):
        evaluate.evaluate(gaussian, x, probes=2)


def test_bits_per_dim():
    flow = Flow(UniformDequantization(3), (2,))
    x = np.random.default_rng(0).integers(8, size=(50, 2))
    result = evaluate.evaluate(flow, x)
    assert result.bits_per_dim == pytest.approx(result.nll / (2.0 * np.log(2.0)))
    assert result.likelihood == "lower_bound"


def test_norms_are_brought_up_to_date():
    case = CASES["idensenet"]
    flow, x = case.flow(), case.data(10)
    expected = evaluate.evaluate(flow, x)
    for layer in flow.blocks[0].net.layers:
        getattr(layer, "linear", layer).dense.sigma.assign(30.0)
    assert evaluate.evaluate(flow, x) == expected


def test_too_few_examples(gaussian, x):
    with pytest.raises(ValueError, match="needs at least two examples; got 1"):
        evaluate.evaluate(gaussian, x[:1])
    with pytest.raises(ValueError, match="x is an empty batch"):
        evaluate.log_probs(gaussian, x[:0])
