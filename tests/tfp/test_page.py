"""What docs/tfp.md says: its code runs in order, and gives what the comments beside it say."""

import re
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from keras_flows.tfp import FlowBijector, FlowDistribution

pytestmark = pytest.mark.slow  # XLA compiles a decoding

PAGE = Path(__file__).resolve().parents[2] / "docs" / "tfp.md"
tfd = tfp.distributions


@pytest.fixture(scope="module")
def page():
    names = {}
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 6
    for block in blocks:
        exec(block, names)
    return names


def close(one, other, **tolerance):
    np.testing.assert_allclose(one, other, **{"rtol": 1e-4, "atol": 1e-4, **tolerance})


def test_both_views(page):
    flow, x = page["flow"], page["x"]
    assert (x.shape, page["log_prob"].shape) == ((3, 4, 2), (3, 4))
    flat = tf.reshape(x, (-1, 2))
    close(tf.reshape(page["z"], (-1, 2)), flow.encode(flat))
    close(page["x_again"], x)
    close(tf.reshape(page["log_prob"], -1), flow.log_prob(flat))
    close(page["same"], page["log_prob"])


def test_contexts(page):
    x = page["x"][0, 0]
    batch, contexts = page["batch"], page["contexts"]
    shapes = [page[name].batch_shape for name in ("batch", "some", "column", "other")]
    assert shapes == [(5,), (2,), (5, 1), ()]
    close(page["some"].log_prob(x), batch.log_prob(x)[1:3])
    close(page["other"].log_prob(x), batch.log_prob(x)[0])
    close(page["column"].log_prob(x)[:, 0], batch.log_prob(x))
    expected = page["conditional"].encode(x[None], contexts[:1])[0]
    close(page["first"].inverse(x), expected)
    assert page["column"].log_prob(tf.zeros((5, 3, 2))).shape == (5, 3)


@pytest.mark.parametrize("kind", [FlowDistribution, FlowBijector])
def test_the_context_is_the_one_parameter(page, kind):
    assert list(kind.parameter_properties()) == ["context"]
    given = page["batch"] if kind is FlowDistribution else page["first"]
    assert set(given.parameters) == {"flow", "context", "name"}


def test_a_flow_without_a_context_gets_a_batch_by_broadcasting(page):
    dist = page["dist"]
    many = tfd.BatchBroadcast(dist, [3])
    assert many.batch_shape == (3,)
    close(many.log_prob(page["x"][0, 0]), [page["log_prob"][0, 0]] * 3)


def test_a_batch_of_something_around_a_flow_without_a_context(page):
    scales = tf.constant([[1.0, 1.0], [2.0, 2.0]])
    around = tfd.TransformedDistribution(page["dist"], tfp.bijectors.Scale(scales))
    x = page["x"][0, 0]
    close(around[1].log_prob(2.0 * x), page["log_prob"][0, 0] - 2.0 * np.log(2.0))


def test_a_context_that_is_live(page):
    assert any(one is page["context"].trainable_variables[0] for one in page["live"].variables)
    (gradient,) = page["gradient"]
    assert np.any(gradient != 0.0)


def test_integers(page):
    close(page["as_much"], page["log_probs"])
    assert page["levels"].experimental_default_event_space_bijector() is None
    with tf.GradientTape() as tape:
        drawn = page["levels"].sample(2, seed=(1, 2))
    assert tape.gradient(drawn, page["flow"].trainable_variables[:1]) == [None]
    assert page["levels"].reparameterization_type == tfd.NOT_REPARAMETERIZED


def test_seeds(page):
    close(page["compiled_samples"], page["eager_samples"], rtol=1e-3)
    close(page["eager_samples"], page["flow"].sample(100, seed=(1, 2)))
    own, shared = page["own_draws"].numpy(), page["one_draw"].numpy()
    assert len(set(own)) == 3 and len(set(shared)) == 1
    close(shared[:1], page["noisy"].log_prob(tf.zeros((1, 2)), seed=(1, 2)))


@pytest.mark.parametrize("view", ["dist", "bijector"])
def test_functions_take_a_view_and_cannot_return_one(page, view):
    traced = []

    @tf.function
    def take(view, x):
        traced.append(1)
        return view.log_prob(x) if isinstance(view, FlowDistribution) else view.inverse(x)

    given = page[view]
    for _ in range(3):
        made = take(given, page["x"])
    close(made, page["log_prob"] if view == "dist" else page["z"])
    assert len(traced) == 1
    with pytest.raises(TypeError, match="must return zero or more Tensors"):
        tf.function(lambda: given, autograph=False)()


def test_equality(page):
    flow = page["flow"]
    one, other = flow.as_bijector(), flow.as_bijector()
    assert one == other and len({one, other}) == 1
    assert one != page["first"]
    assert page["dist"] == page["dist"] != flow.as_distribution()


def test_what_there_is_not(page):
    dist = page["dist"]
    for ask in (dist.mean, dist.stddev, dist.entropy, lambda: dist.cdf(page["x"])):
        with pytest.raises(NotImplementedError):
            ask()
    with pytest.raises(NotImplementedError):
        tfd.kl_divergence(dist, dist)
