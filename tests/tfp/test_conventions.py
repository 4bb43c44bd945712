"""What TensorFlow Probability expects of its distributions and bijectors."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import keras_flows as kf
from keras_flows import transforms
from tests.test_bad_input import Shift

tfb, tfd = tfp.bijectors, tfp.distributions
X = np.random.default_rng(0).standard_normal((4, 2)).astype("float32")


@pytest.fixture(scope="module")
def conditional():
    return kf.Flow(Shift(), (2,), (3,))


@pytest.fixture(scope="module")
def integers():
    chain = transforms.Chain([transforms.UniformDequantization(3), transforms.Logit(0.05)])
    return kf.Flow(chain, (2, 2))


def test_a_flow_on_integers_is_discrete(integers):
    pixels = np.random.default_rng(0).integers(8, size=(5, 2, 2)).astype("float32")
    flow = integers.as_distribution()
    doubled = tfd.TransformedDistribution(flow, tfb.Scale(2.0))
    seed = {"seed": (1, 2)}
    got = doubled.log_prob(2.0 * pixels, distribution_kwargs=seed)
    np.testing.assert_allclose(got, flow.log_prob(pixels, **seed), rtol=1e-5)


def test_a_continuous_flow_is_not(conditional):
    flow = conditional.as_distribution(np.ones(3, "float32"))
    doubled = tfd.TransformedDistribution(flow, tfb.Scale(2.0))
    expected = flow.log_prob(X) - 2.0 * np.log(2.0)
    np.testing.assert_allclose(doubled.log_prob(2.0 * X), expected, rtol=1e-5)


@pytest.mark.parametrize("kind", ["variable", "transformed"])
@pytest.mark.parametrize("view", ["as_distribution", "as_bijector"])
def test_a_context_that_changes_stays_live(conditional, kind, view):
    if kind == "variable":
        context = tf.Variable([1.0, 2.0, 3.0])
    else:
        context = tfp.util.TransformedVariable([1.0, 2.0, 3.0], tfb.Exp())
    made = getattr(conditional, view)(context)
    variable = context if kind == "variable" else context.trainable_variables[0]
    assert any(one is variable for one in made.trainable_variables)

    def number():
        return made.log_prob(X) if view == "as_distribution" else made.inverse(X)

    with tf.GradientTape() as tape:
        before = number()
    assert np.any(tape.gradient(before, variable) != 0.0)
    variable.assign_add([0.5, 0.0, 0.0])
    value = tf.convert_to_tensor(context)
    expected = (
        conditional.log_prob(X, value)
        if view == "as_distribution"
        else conditional.encode(X, value)
    )
    np.testing.assert_allclose(number(), expected, rtol=1e-6)
    assert not np.allclose(before, expected)


def test_a_bijector_is_found_in_a_set(conditional):
    context = np.ones(3, "float32")
    first, second = (conditional.as_bijector(context) for _ in range(2))
    assert first in {first} and {first: 1}[first] == 1
    assert hash(first) == hash(first)
    assert first == second and hash(first) == hash(second)


@pytest.mark.parametrize("log_det", ["exact", "unbiased"])
def test_the_default_event_space_bijector(log_det):
    keras.utils.set_random_seed(0)
    flow = kf.models.IDenseNet((2,), blocks=1, depth=1, growth=2, log_det=log_det)
    bijector = flow.as_distribution().experimental_default_event_space_bijector()
    assert (bijector is None) == (log_det == "unbiased")


def test_batches_are_sliced(conditional):
    contexts = np.random.default_rng(1).standard_normal((3, 3)).astype("float32")
    whole = conditional.as_distribution(contexts)
    part = whole[1:]
    assert part.batch_shape == (2,)
    np.testing.assert_allclose(part.log_prob(X[0]), whole.log_prob(X[0])[1:], rtol=1e-6)
    assert whole[..., 0].batch_shape == ()
    sliced = conditional.as_bijector(contexts)[..., 0]
    np.testing.assert_allclose(sliced.inverse(X), X + contexts[0, :1], rtol=1e-6)


def test_a_flow_without_a_context_has_no_batch_axes():
    dist = kf.Flow(transforms.Reverse(), (2,)).as_distribution()
    for slices in (0, tf.newaxis, (tf.newaxis, ...), slice(1)):
        with pytest.raises(ValueError, match=r"no batch axes.*BatchBroadcast"):
            dist[slices]
    assert dist[...].batch_shape == dist[()].batch_shape == ()


@pytest.mark.slow
@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_seed_that_is_an_argument_gives_the_same_numbers_in_functions(jit_compile):
    chain = transforms.Chain([transforms.UniformDequantization(3), transforms.Logit(0.05)])
    for flow in (kf.Flow(transforms.Affine(1.0, 2.0), (2,)), kf.Flow(chain, (2,))):
        dist, seed = flow.as_distribution(), tf.constant([1, 2])

        def both(seed, dist=dist):
            x = dist.sample(5, seed=seed)
            return x, dist.log_prob(x, seed=seed)

        x, log_prob = tf.function(both, jit_compile=jit_compile, autograph=False)(seed)
        np.testing.assert_allclose(x, flow.sample(5, seed=(1, 2)), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(log_prob, flow.log_prob(x, seed=(1, 2)), rtol=1e-4)


def test_a_context_too_many_is_refused():
    flow = kf.Flow(transforms.Reverse(), (2,))
    for view in (flow.as_distribution, flow.as_bijector):
        with pytest.raises(ValueError, match="This flow has no context"):
            view(np.ones(3))
