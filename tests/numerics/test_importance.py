"""The importance-weighted bound."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.special import logsumexp
from scipy.stats import norm
from typer.testing import CliRunner

import keras_flows as kf
from keras_flows import Flow
from keras_flows.cli.app import app
from keras_flows.measure import evaluation as evaluate
from keras_flows.models.denseflow import CrossUnitBlock
from keras_flows.noise import SeededNoise, fold_in
from keras_flows.transforms import Reverse, UniformDequantization
from tests.derivatives import random
from tests.registry import CASES


def by_hand(flow, x, seed, draws, context=None):
    parts = [flow.density(x, context, SeededNoise(fold_in(seed, k))).log_prob for k in range(draws)]
    return logsumexp(np.stack(parts), axis=0) - np.log(draws)


@pytest.mark.slow
@pytest.mark.parametrize("draws", [1, 2, 7])
def test_it_is_the_logarithm_of_the_mean(draws):
    case = CASES["denseflow_one_block"]
    flow, x = case.flow(), tf.constant(case.data(4))
    got = flow.log_prob(x, seed=(3, 4), num_importance_samples=draws)
    np.testing.assert_allclose(got, by_hand(flow, x, (3, 4), draws), rtol=1e-12)


def test_the_bound_reaches_the_truth():
    # Noise of deviation 1 is appended; its true density given x is a normal of another location.
    block = CrossUnitBlock(
        [Reverse(dtype="float64"), Shear(dtype="float64")], 1, 1, dtype="float64"
    )
    flow = Flow(block, (1, 1, 1), dtype="float64")
    x = random(200, 1, 1, 1)
    # (x, e) -> (x, e + x / 2) is standard normal, so x is.
    truth = norm.logpdf(np.reshape(x, -1))
    one = flow.log_prob(x, seed=0).numpy()
    many = flow.log_prob(x, seed=0, num_importance_samples=3000).numpy()
    np.testing.assert_allclose(many, truth, atol=0.1)
    assert one.mean() < truth.mean() - 0.1 < many.mean()
    assert abs(many.mean() - truth.mean()) < 0.01


@keras.saving.register_keras_serializable("tests")
class Shear(kf.transforms.Transform):
    """Adds half of the first channel to the second; log_det 0."""

    def encode(self, x, context=None, noise=None, training=False):
        z = tf.concat([x[..., :1], x[..., 1:] + 0.5 * x[..., :1]], axis=-1)
        return z, tf.zeros(tf.shape(x)[:1], x.dtype)


@pytest.mark.slow
def test_a_uniform_bound():
    # One bit in one dimension: the integral of the base density over half of the unit interval.
    flow = Flow(UniformDequantization(1, dtype="float64"), (1,), dtype="float64")
    x = np.array([[0.0], [1.0]])
    got = flow.log_prob(x, seed=1, num_importance_samples=20_000)
    expected = np.log(norm.cdf([0.5, 1.0]) - norm.cdf([0.0, 0.5]))
    np.testing.assert_allclose(got, expected, atol=1e-3)


@pytest.mark.slow
def test_contexts_seeds_and_batches():
    case = CASES["denseflow_labels"]
    flow, x, context = case.flow("float32"), case.data(3), case.context(3)
    arguments = {"num_importance_samples": 3}
    whole = flow.log_prob(x, context, seed=5, **arguments)
    again = flow.log_prob(x, context, seed=5, **arguments)
    np.testing.assert_array_equal(whole, again)
    other = flow.log_prob(x, context, seed=6, **arguments)
    fresh = [flow.log_prob(x, context, **arguments).numpy() for _ in range(2)]
    assert not np.array_equal(whole, other) and not np.array_equal(*fresh)
    assert flow.log_prob(x[:1], context[:1], **arguments).shape == (1,)
    labels = tf.constant(context)
    expected = by_hand(flow, tf.constant(x, tf.float32), (0, 5), 3, labels)
    np.testing.assert_allclose(whole, expected, rtol=1e-5)

    @tf.function
    def inside(x):
        return flow.log_prob(x, labels, seed=5, **arguments)

    np.testing.assert_allclose(inside(tf.constant(x, tf.float32)), whole, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("idensenet", "log_prob of this flow is 'exact'"),
        ("idensenet_unbiased", "log_prob of this flow is 'unbiased'"),
        ("residual_power_series", "log_prob of this flow is 'biased'"),
        ("dequantized_flow", "estimates log-dets at random"),
    ],
)
def test_where_it_is_no_bound(name, message):
    case = CASES[name]
    with pytest.raises(ValueError, match=message):
        case.flow().log_prob(case.data(), num_importance_samples=5)


def test_errors():
    case = CASES["dequantization"]
    flow, x = case.flow(), case.data()
    for bad in (0, -1, 2.0, True):
        with pytest.raises(ValueError, match="num_importance_samples must be an integer"):
            flow.log_prob(x, num_importance_samples=bad)
    for arguments in ({"noise": [x]}, {"training": True}, {"num_probes": 2}):
        with pytest.raises(ValueError, match=r"goes with a seed, .* outside of training"):
            flow.log_prob(x, **arguments, num_importance_samples=2)
    with pytest.raises(ValueError, match="x must have shape"):
        flow.log_prob(x[0], num_importance_samples=2)
    with pytest.raises(kf.NonFiniteError, match="UniformDequantization"):
        flow.log_prob(x + 0.5, num_importance_samples=2)


def test_evaluation_and_command_line(tmp_path):
    flow = Flow(UniformDequantization(3), (2,))
    x = CASES["dequantization"].data(6)
    seen = []
    result = evaluate.evaluate(
        flow, x, batch_size=4, seed=2, progress=seen.append, importance_samples=3
    )
    parts = [
        flow.log_prob(x[rows], seed=(2, rows.start), num_importance_samples=3)
        for rows in (slice(0, 4), slice(4, 6))
    ]
    nll = -np.concatenate(parts)
    assert result.nll == pytest.approx(nll.mean(), rel=1e-6)
    assert result.standard_error == pytest.approx(nll.std(ddof=1) / np.sqrt(6), rel=1e-5)
    assert (result.importance_samples, result.likelihood) == (3, "lower_bound")
    assert seen == [4, 2]
    pair = evaluate.log_probs(flow, x, seed=2)
    np.testing.assert_array_equal(pair, evaluate.log_probs(flow, x, batch_size=6, seed=2))
    flow.save_to_preset(tmp_path / "preset")
    np.save(tmp_path / "x.npy", x)
    arguments = ["evaluate", str(tmp_path / "preset"), str(tmp_path / "x.npy")]
    arguments += ["--importance-samples", "3", "--batch-size", "4", "--seed", "2"]
    done = CliRunner().invoke(app, [*arguments, "--json"])
    assert done.exit_code == 0, done.output
    printed = json.loads(done.stdout)
    assert printed["nll"] == pytest.approx(result.nll, rel=1e-6)
    assert printed["importance_samples"] == 3
    done = CliRunner().invoke(app, arguments)
    assert "importance samples" in done.output and "lower_bound" in done.output
    done = CliRunner().invoke(app, [*arguments[:4], "0"])
    assert done.exit_code == 2
