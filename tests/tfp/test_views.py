"""Flows as TensorFlow Probability distributions and bijectors.

Longer than other files: both views of the same flows.
"""

import importlib.util
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from keras_flows import Flow
from keras_flows.models import IDenseNet
from keras_flows.transforms import Affine, Chain, Logit, Squeeze, UniformDequantization
from tests.registry import move_weights

tfd, tfb = tfp.distributions, tfp.bijectors

TINY = {"blocks": 2, "depth": 1, "growth": 8, "block_bound": 0.8, "actnorm": True}
MODES = {
    "eager": lambda f: f,
    "graph": tf.function,
    "xla": lambda f: tf.function(f, jit_compile=True),
}


def make(**arguments):
    """A flow on the plane whose weights are far from their start."""
    keras.utils.set_random_seed(1)
    flow = IDenseNet((2,), **{**TINY, **arguments})
    move_weights(flow)
    return flow


@pytest.fixture(scope="module")
def flow():
    return make()


@pytest.fixture(scope="module")
def flow64():
    return make(dtype="float64")


@pytest.fixture(scope="module")
def conditional():
    return make(context_shape=(3,))


@pytest.fixture(scope="module")
def noisy():
    """A flow whose log_prob is random and unbiased."""
    return make(log_det="unbiased")


@pytest.fixture(scope="module")
def integers():
    steps = [UniformDequantization(bits=3), Affine(0.5, 0.3)]
    return Flow(Chain(steps), (2,))


@pytest.fixture
def changing():
    """A flow that a test may change."""
    return make()


def numbers(*shape, seed=0, dtype="float32"):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def standard_normal(dtype="float32"):
    return tfd.MultivariateNormalDiag(np.zeros(2, dtype), np.ones(2, dtype))


def nudge(flow):
    """Changes the weights so that every log_prob changes."""
    flow.transform.steps[0].bias.assign_add([0.3, -0.2])
    flow.transform.steps[0].log_scale.assign_add([0.2, 0.1])


def differences(f, z, eps=1e-6):
    """`d f / d z_j` by central differences, stacked last."""
    return np.stack(
        [(np.asarray(f(z + eps * e)) - np.asarray(f(z - eps * e))) / (2 * eps) for e in np.eye(2)],
        axis=-1,
    )


# The distribution -----------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(), (5,), (3, 4)])
def test_log_prob_of_any_sample_shape(flow, shape):
    x = numbers(*shape, 2)
    got = flow.as_distribution().log_prob(x)
    assert got.shape == shape
    np.testing.assert_allclose(
        np.reshape(got, -1), flow.log_prob(x.reshape(-1, 2)), rtol=1e-5, atol=1e-5
    )


def test_what_it_says_of_itself(flow):
    distribution = flow.as_distribution()
    assert distribution.event_shape == (2,)
    assert distribution.event_shape_tensor().numpy().tolist() == [2]
    assert distribution.batch_shape == ()
    assert distribution.dtype == tf.float32
    assert distribution.likelihood == "exact"
    assert distribution.reparameterization_type == tfd.FULLY_REPARAMETERIZED


def test_a_wrong_event_shape_is_an_error(flow):
    # (4, 3) would otherwise be read as six points of the plane.
    with pytest.raises(ValueError, match=r"event shape \(2,\); got .*\(4, 3\)"):
        flow.as_distribution().log_prob(numbers(4, 3))


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(), 5, (3, 4)])
def test_sample_repeats_with_a_stateless_seed(flow, shape):
    distribution = flow.as_distribution()
    x = distribution.sample(shape, seed=(1, 2))
    assert x.shape == (*np.atleast_1d(np.array(shape, int)), 2)
    np.testing.assert_array_equal(x, distribution.sample(shape, seed=(1, 2)))
    assert not np.any(x == distribution.sample(shape, seed=(1, 3)))


def test_sample_with_the_same_stateless_seed_is_that_of_the_flow(flow):
    np.testing.assert_allclose(
        flow.as_distribution().sample(5, seed=(1, 2)), flow.sample(5, seed=(1, 2)), rtol=1e-5
    )


@pytest.mark.slow
def test_integer_seeds_are_those_of_tfp(flow):
    distribution = flow.as_distribution()

    def draw():
        tf.random.set_seed(7)
        return distribution.sample(3, seed=5).numpy(), distribution.sample(3, seed=5).numpy()

    first, second = draw()
    assert not np.any(first == second)  # with an integer, TFP draws on
    np.testing.assert_array_equal([first, second], draw())
    assert not np.any(first == distribution.sample(3))


def test_samples_are_distributed_as_the_flow_says(flow64):
    x = flow64.as_distribution().sample(20_000, seed=(3, 4))
    z = flow64.encode(x).numpy()
    error = 5 / np.sqrt(len(z))
    np.testing.assert_allclose(np.mean(z, 0), 0.0, atol=error)
    np.testing.assert_allclose(np.cov(z.T), np.eye(2), atol=error * np.sqrt(2))


def test_sample_and_log_prob(flow):
    distribution = flow.as_distribution()
    x, log_prob = distribution.experimental_sample_and_log_prob((3, 2), seed=(1, 2))
    np.testing.assert_array_equal(x, distribution.sample((3, 2), seed=(1, 2)))
    np.testing.assert_allclose(log_prob, distribution.log_prob(x), rtol=1e-5)


def test_the_weights_are_found(flow):
    expected = {id(v.value) for v in flow.trainable_variables}
    joint = tfd.JointDistributionSequential([flow.as_distribution()])
    for view in (flow.as_distribution(), flow.as_bijector(), joint):
        assert {id(v) for v in view.trainable_variables} == expected
    assert expected


@pytest.mark.parametrize("mode", MODES)
def test_log_prob_and_its_gradients(flow, mode):
    distribution = flow.as_distribution()
    variables = [v.value for v in flow.trainable_variables]

    def value_and_gradients(log_prob, x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = log_prob(x)
        return [value, *tape.gradient(value, [x, *variables])]

    x = tf.constant(numbers(6, 2))
    expected = value_and_gradients(flow.log_prob, x)
    got = MODES[mode](lambda x: value_and_gradients(distribution.log_prob, x))(x)
    for mine, right in zip(got, expected, strict=True):
        assert np.any(right != 0.0)
        np.testing.assert_allclose(mine, right, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_samples_carry_gradients_to_the_weights(flow64, mode):
    distribution = flow64.as_distribution()
    kernel = next(v for v in flow64.trainable_variables if v.name == "kernel").value

    @MODES[mode]
    def total():
        return tf.reduce_sum(tf.sin(distribution.sample(3, seed=(1, 2))))

    @MODES[mode]
    def gradient():
        with tf.GradientTape() as tape:
            value = total()
        return tape.gradient(value, kernel)

    got = gradient().numpy()
    start, direction = kernel.numpy(), numbers(*kernel.shape, seed=1, dtype="float64")

    def along(step):
        kernel.assign(start + step * direction)
        return total().numpy()

    try:
        expected = (along(1e-5) - along(-1e-5)) / 2e-5
    finally:
        kernel.assign(start)
    assert abs(expected) > 1e-3
    np.testing.assert_allclose(np.sum(got * direction), expected, rtol=1e-5)


def test_nan_is_an_error_outside_a_function_and_a_nan_inside(flow):
    distribution, x = flow.as_distribution(), np.array([[0.0, 1.0], [np.nan, 0.0]], "float32")
    with pytest.raises(ValueError, match="NaN or infinity in 1 of 2 examples"):
        distribution.log_prob(x)
    inside = tf.function(distribution.log_prob)(x)
    assert np.isnan(inside).tolist() == [False, True]
    with pytest.raises(ValueError, match="NaN or infinity in 1 of 2 examples"):
        flow.as_bijector().inverse_log_det_jacobian(x)


# Distributions made of it ---------------------------------------------------------------------


def joint(kind, distribution):
    if kind == "Sequential":
        return tfd.JointDistributionSequential([distribution, lambda x: tfd.Normal(x[..., 0], 0.5)])
    if kind == "Named":
        return tfd.JointDistributionNamed(
            {"x": distribution, "y": lambda x: tfd.Normal(x[..., 0], 0.5)}
        )
    root = tfd.JointDistributionCoroutine.Root if kind == "Coroutine" else lambda d: d

    def model():
        x = yield root(distribution)
        yield tfd.Normal(x[..., 0], 0.5)

    return getattr(tfd, f"JointDistribution{kind}")(model)


@pytest.mark.parametrize("kind", ["Sequential", "Named", "Coroutine", "CoroutineAutoBatched"])
def test_joint_distributions(flow, kind):
    model = joint(kind, flow.as_distribution())
    drawn = tf.nest.map_structure(
        lambda *parts: tf.stack(parts), *(model.sample(seed=(3, i)) for i in range(3))
    )
    x, y = drawn.values() if kind == "Named" else drawn
    assert x.shape == (3, 2)
    assert y.shape == (3,)
    expected = flow.log_prob(x) + tfd.Normal(x[:, 0], 0.5).log_prob(y)
    np.testing.assert_allclose(model.log_prob(drawn), expected, rtol=1e-4, atol=1e-4)


def test_independent_copies(flow):
    copies = tfd.Sample(flow.as_distribution(), 3)
    x = copies.sample(4, seed=(1, 2))
    assert x.shape == (4, 3, 2)
    expected = tf.reduce_sum(tf.reshape(flow.log_prob(tf.reshape(x, (-1, 2))), (4, 3)), axis=1)
    np.testing.assert_allclose(copies.log_prob(x), expected, rtol=1e-4)


# Conditional flows ----------------------------------------------------------------------------


def test_a_context_makes_a_batch(conditional):
    context = numbers(4, 3, seed=1)
    distribution = conditional.as_distribution(context)
    assert distribution.batch_shape == (4,)
    x = numbers(5, 4, 2)
    expected = [conditional.log_prob(row, context) for row in x]
    np.testing.assert_allclose(distribution.log_prob(x), expected, rtol=1e-4, atol=1e-5)
    one = np.broadcast_to(x[0, 0], (4, 2))
    np.testing.assert_allclose(
        distribution.log_prob(x[0, 0]), conditional.log_prob(one, context), rtol=1e-4, atol=1e-5
    )
    assert np.ptp(distribution.log_prob(x[0, 0])) > 0.01  # the context matters
    independent = tfd.Independent(distribution, 1)
    np.testing.assert_allclose(independent.log_prob(x), np.sum(expected, axis=1), rtol=1e-4)
    part = distribution[2]
    assert part.batch_shape == ()
    np.testing.assert_allclose(
        part.log_prob(x[:, 2]), distribution.log_prob(x)[:, 2], rtol=1e-4, atol=1e-5
    )


def test_samples_given_a_context(conditional):
    context = numbers(3, 3, seed=1)
    distribution = conditional.as_distribution(context)
    x = distribution.sample(4000, seed=(1, 2))
    assert x.shape == (4000, 3, 2)
    for i in range(3):
        z = conditional.encode(x[:, i], context[i]).numpy()
        np.testing.assert_allclose(np.mean(z, 0), 0.0, atol=5 / np.sqrt(4000))
        np.testing.assert_allclose(np.cov(z.T), np.eye(2), atol=7 / np.sqrt(4000))


@pytest.mark.slow
def test_gradients_to_a_context(conditional):
    context = tf.Variable(numbers(4, 3, seed=1, dtype="float64"))
    distribution, bijector = conditional.as_distribution(context), conditional.as_bijector(context)
    x = numbers(4, 2)

    def gradient(function, *arguments):
        with tf.GradientTape() as tape:
            value = function(*arguments)
        return tape.gradient(value, context)

    for mine, expected in (
        (gradient(distribution.log_prob, x), gradient(conditional.log_prob, x, context)),
        (gradient(bijector.forward, x), gradient(conditional.decode, x, context)),
    ):
        assert np.all(np.any(expected != 0.0, axis=1))
        np.testing.assert_allclose(mine, expected, rtol=1e-3, atol=1e-5)
    context.assign(context + 1.0)
    np.testing.assert_allclose(
        distribution.log_prob(x), conditional.log_prob(x, context), rtol=1e-4, atol=1e-5
    )


def test_a_conditional_bijector(conditional):
    context = numbers(4, 3, seed=1)
    bijector = conditional.as_bijector(context)
    z = numbers(5, 4, 2)
    x = bijector.forward(z)
    np.testing.assert_allclose(x[1], conditional.decode(z[1], context), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(bijector.inverse(x), z, rtol=1e-4, atol=1e-4)
    made = tfd.TransformedDistribution(standard_normal(), bijector)
    assert made.batch_shape == (4,)
    expected = conditional.as_distribution(context).log_prob(x)
    np.testing.assert_allclose(made.log_prob(x), expected, rtol=1e-4, atol=1e-5)


def test_labels_as_context():
    flow = make(context_shape=(), context_embedding=keras.layers.Embedding(3, 2))
    labels, x = [0, 2, 1], numbers(3, 2)
    distribution = flow.as_distribution(labels)
    assert distribution.batch_shape == (3,)
    np.testing.assert_allclose(
        distribution.log_prob(x), flow.log_prob(x, labels), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("view", ["as_distribution", "as_bijector"])
def test_context_errors(flow, conditional, view):
    with pytest.raises(ValueError, match="no context; got one"):
        getattr(flow, view)(numbers(4, 3))
    with pytest.raises(ValueError, match=r"conditional: give a `context` of shape \(\*batch, 3\)"):
        getattr(conditional, view)()
    with pytest.raises(ValueError, match=r"shape \(\*batch, 3\); got \(4, 2\)"):
        getattr(conditional, view)(numbers(4, 2))


# Flows whose log_prob is random or a bound ----------------------------------------------------


def test_a_random_log_prob(noisy):
    distribution = noisy.as_distribution()
    assert distribution.likelihood == "unbiased"
    x = np.broadcast_to(numbers(2), (20_000, 2))
    draws = distribution.log_prob(x).numpy()
    # The same weights, by the same seeds.
    exact = make().log_prob(x[:1]).numpy()
    error = np.std(draws) / np.sqrt(len(draws))
    assert error > 0.0
    np.testing.assert_allclose(np.mean(draws), exact[0], atol=5 * error)


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_a_random_log_prob_draws_anew_unless_given_a_seed(noisy, mode):
    distribution = noisy.as_distribution()
    x = tf.constant(numbers(3, 2))
    log_prob = MODES[mode](distribution.log_prob)
    assert not np.any(log_prob(x).numpy() == log_prob(x).numpy())
    seeded = MODES[mode](lambda x: distribution.log_prob(x, seed=(1, 2)))
    np.testing.assert_array_equal(seeded(x), seeded(x))
    np.testing.assert_allclose(seeded(x), noisy.log_prob(x, seed=(1, 2)), rtol=1e-4)


def test_sample_and_a_random_log_prob_repeat(noisy):
    distribution = noisy.as_distribution()
    first = distribution.experimental_sample_and_log_prob(4, seed=(1, 2))
    second = distribution.experimental_sample_and_log_prob(4, seed=(1, 2))
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])
    other = distribution.experimental_sample_and_log_prob(4, seed=(1, 3))
    assert not np.any(first[1] == other[1])


def test_a_flow_on_integers(integers):
    distribution = integers.as_distribution()
    assert distribution.likelihood == "lower_bound"
    assert distribution.reparameterization_type == tfd.NOT_REPARAMETERIZED
    x = distribution.sample(100, seed=(1, 2)).numpy()
    assert set(np.unique(x)) <= set(range(8))
    assert len(np.unique(x)) > 3
    np.testing.assert_allclose(
        distribution.log_prob(x, seed=3), integers.log_prob(x, seed=3), rtol=1e-5
    )
    assert distribution.experimental_default_event_space_bijector() is None


# The bijector ---------------------------------------------------------------------------------


def test_forward_is_decode_and_inverse_is_encode(flow):
    bijector, z = flow.as_bijector(), numbers(3, 4, 2)
    x = bijector.forward(z)
    flat = tf.reshape(x, (-1, 2))
    np.testing.assert_array_equal(flat, flow.decode(z.reshape(-1, 2)))
    np.testing.assert_allclose(
        tf.reshape(bijector.inverse(x), (-1, 2)), flow.encode(flat), rtol=1e-5
    )
    np.testing.assert_allclose(bijector.inverse(x), z, rtol=1e-4, atol=1e-5)
    one = bijector.forward(z[0, 0])  # an event alone
    assert one.shape == (2,)
    np.testing.assert_allclose(one, x[0, 0], rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_jacobian_of_forward(flow64, mode):
    bijector = flow64.as_bijector()

    def jacobian(function, z):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(z)
            parts = tf.unstack(function(z), axis=-1)
        return tf.stack([tape.gradient(part, z) for part in parts], axis=1)

    def both(z):
        return jacobian(bijector.forward, z), jacobian(bijector.inverse, bijector.forward(z))

    z = tf.constant(numbers(3, 2, dtype="float64"))
    decoding, encoding = MODES[mode](both)(z)
    assert np.max(np.abs(decoding - np.eye(2))) > 0.1
    np.testing.assert_allclose(decoding, np.linalg.inv(encoding), rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(decoding, differences(bijector.forward, z), rtol=1e-6, atol=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_log_det_and_its_gradient(flow64, mode):
    bijector = flow64.as_bijector()

    def log_det(z):
        with tf.GradientTape() as tape:
            tape.watch(z)
            value = bijector.forward_log_det_jacobian(z)
        return value, tape.gradient(value, z)

    z = tf.constant(numbers(3, 2, dtype="float64"))
    value, gradient = MODES[mode](log_det)(z)
    jacobian = differences(bijector.forward, z)
    np.testing.assert_allclose(value, np.linalg.slogdet(jacobian)[1], rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(
        value, -bijector.inverse_log_det_jacobian(bijector.forward(z)), rtol=1e-9
    )
    expected = differences(bijector.forward_log_det_jacobian, z)
    assert np.max(np.abs(expected)) > 1e-3
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-8)


@pytest.mark.slow
def test_second_derivatives_of_forward():
    bijector = make(blocks=1, dtype="float64").as_bijector()

    @tf.function
    def gradient(z):
        with tf.GradientTape() as tape:
            tape.watch(z)
            value = tf.reduce_prod(bijector.forward(z), axis=-1)
        return tape.gradient(value, z)

    @tf.function
    def product(z, vector):
        with tf.GradientTape() as tape:
            tape.watch(z)
            slope = tf.reduce_sum(gradient(z) * vector)
        return tape.gradient(slope, z)

    z = tf.constant(numbers(3, 2, dtype="float64"))
    hessian = np.stack([product(z, vector) for vector in np.eye(2)], axis=1)
    assert np.min(np.max(np.abs(hessian), axis=(1, 2))) > 0.1
    np.testing.assert_allclose(hessian, differences(gradient, z), rtol=1e-6, atol=1e-7)


def test_transformed_distributions(flow):
    bijector, x = flow.as_bijector(), numbers(5, 2)
    expected = flow.log_prob(x)
    made = tfd.TransformedDistribution(standard_normal(), bijector)
    np.testing.assert_allclose(made.log_prob(x), expected, rtol=1e-4, atol=1e-5)
    drawn, log_prob = made.experimental_sample_and_log_prob(5, seed=(1, 2))
    np.testing.assert_allclose(log_prob, flow.log_prob(drawn), rtol=1e-4, atol=1e-5)
    default = flow.as_distribution().experimental_default_event_space_bijector()
    np.testing.assert_array_equal(default.forward(x), bijector.forward(x))
    # A scale of 2 on the data: density and derivative.
    scaled = tfd.TransformedDistribution(standard_normal(), tfb.Chain([tfb.Scale(2.0), bijector]))
    np.testing.assert_allclose(
        scaled.log_prob(2.0 * x), expected - 2 * np.log(2.0), rtol=1e-4, atol=1e-4
    )
    # The other way round: the density of encoded standard normal draws.
    inverted = tfd.TransformedDistribution(standard_normal(), tfb.Invert(bijector))
    density = standard_normal().log_prob(bijector.forward(x)) + bijector.forward_log_det_jacobian(x)
    np.testing.assert_allclose(inverted.log_prob(x), density, rtol=1e-4, atol=1e-4)


def test_events_of_several_points(flow):
    base = tfd.Sample(tfd.Normal(0.0, 1.0), (3, 2))
    made = tfd.TransformedDistribution(base, flow.as_bijector())
    x = numbers(5, 3, 2)
    assert made.event_shape == (3, 2)
    expected = np.sum(np.reshape(flow.log_prob(x.reshape(-1, 2)), (5, 3)), axis=1)
    np.testing.assert_allclose(made.log_prob(x), expected, rtol=1e-4)


def test_a_latent_of_another_shape():
    flow = Flow(Chain([Affine(0.5, 2.0), Squeeze()]), (4, 4, 1))
    bijector = flow.as_bijector()
    assert bijector.forward_event_shape((3, 2, 2, 4)) == (3, 4, 4, 1)
    assert bijector.inverse_event_shape((3, 4, 4, 1)) == (3, 2, 2, 4)
    assert bijector.forward_event_shape_tensor([2, 2, 4]).numpy().tolist() == [4, 4, 1]
    assert bijector.inverse_event_shape_tensor([3, 4, 4, 1]).numpy().tolist() == [3, 2, 2, 4]
    made = tfd.TransformedDistribution(tfd.Sample(tfd.Normal(0.0, 1.0), (2, 2, 4)), bijector)
    assert made.event_shape == (4, 4, 1)
    x = made.sample(3, seed=(1, 2))
    assert x.shape == (3, 4, 4, 1)
    np.testing.assert_allclose(made.log_prob(x), flow.log_prob(x), rtol=1e-5)
    np.testing.assert_allclose(flow.as_distribution().log_prob(x), flow.log_prob(x), rtol=1e-5)


def test_what_is_no_bijector(integers, noisy):
    with pytest.raises(ValueError, match=r"UniformDequantization adds random.*as_distribution"):
        integers.as_bijector()
    with pytest.raises(
        ValueError, match=r"ResidualBlock estimates it .*'unbiased'.*log_det='exact'"
    ):
        noisy.as_bijector()
    assert noisy.as_distribution().experimental_default_event_space_bijector() is None


def test_an_inverse_that_does_not_converge():
    flow = make(blocks=1)
    flow.blocks[0].max_iterations = 0
    bijector = flow.as_bijector()
    with pytest.raises(ArithmeticError, match="did not converge"):
        bijector.forward(numbers(3, 2))
    assert np.all(np.isnan(tf.function(bijector.forward)(numbers(3, 2))))


def test_an_encoding_that_is_nan():
    bijector = Flow(Chain([Logit()]), (2,)).as_bijector()
    x = np.array([[0.5, 0.2], [0.5, 2.0]], "float32")
    for method in (bijector.inverse, bijector.inverse_log_det_jacobian):
        with pytest.raises(ArithmeticError, match="NaN for 1 of 2 examples in step"):
            method(x)
    assert np.isnan(tf.function(bijector.inverse_log_det_jacobian)(x)).tolist() == [False, True]


# One pass, and nothing stale ------------------------------------------------------------------


def operations(function):
    """How many matrix products and loops the graph of a function of points has."""
    point = tf.TensorSpec((None, 2), tf.float32)
    graph = tf.function(function).get_concrete_function(point).graph
    types = [operation.type for operation in graph.get_operations()]
    return types.count("MatMul"), types.count("While") + types.count("StatelessWhile")


@pytest.mark.slow
def test_a_value_and_its_log_det_take_one_pass(flow):
    bijector = flow.as_bijector()
    encode = operations(bijector.inverse)
    decode = operations(bijector.forward)
    assert decode[1] == len(flow.blocks)
    assert operations(bijector.inverse_log_det_jacobian) == encode

    def both(x):
        return bijector.inverse(x), bijector.inverse_log_det_jacobian(x)

    def both_forward(z):
        return bijector.forward(z), bijector.forward_log_det_jacobian(z)

    assert operations(both) == encode
    assert operations(both_forward) == tuple(np.add(encode, decode))
    made = tfd.TransformedDistribution(standard_normal(), bijector)
    assert operations(made.log_prob) == encode

    def under_a_tape(x):
        with tf.GradientTape():
            return made.log_prob(x)

    assert operations(under_a_tape) == encode


def chained(bijector):
    return tfb.Chain([tfb.Scale(1.0), bijector])


def inverted_twice(bijector):
    return tfb.Invert(tfb.Invert(bijector))


def unchanged(bijector):
    return bijector


@pytest.mark.slow
@pytest.mark.parametrize("around", [unchanged, chained, inverted_twice])
def test_nothing_is_stale_after_a_weight_update(changing, around):
    bijector = around(changing.as_bijector())
    made = tfd.TransformedDistribution(standard_normal(), bijector)
    z = tf.constant(numbers(5, 2))
    x = made.sample(5, seed=(1, 2))
    y = bijector.forward(z)

    def everything():
        return (
            made.log_prob(x),
            changing.as_distribution().log_prob(x),
            bijector.inverse(x),
            bijector.inverse_log_det_jacobian(x, 1),
            bijector.forward(z),
            bijector.forward_log_det_jacobian(z, 1),
            bijector.inverse(y),
        )

    before = everything()
    nudge(changing)
    after = everything()
    latent = changing.encode(x)
    log_det = changing.log_prob(x) - changing.base.log_prob(latent)
    decoded = changing.decode(z)
    expected = (
        changing.log_prob(x),
        changing.log_prob(x),
        latent,
        log_det,
        decoded,
        changing.base.log_prob(z) - changing.log_prob(decoded),
        changing.encode(y),
    )
    for old, new, right in zip(before, after, expected, strict=True):
        assert np.max(np.abs(old - new)) > 0.01
        np.testing.assert_allclose(new, right, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_nothing_is_stale_after_an_update_inside_a_function(changing):
    bijector = changing.as_bijector()

    @tf.function
    def run(z):
        def everything():
            return (
                bijector.forward(z),
                bijector.forward_log_det_jacobian(z),
                bijector.inverse(z),
                bijector.inverse_log_det_jacobian(z),
            )

        before = everything()
        nudge(changing)
        return before, everything()

    z = tf.constant(numbers(5, 2))
    before, after = run(z)
    expected = (
        bijector.forward(z),
        bijector.forward_log_det_jacobian(z),
        bijector.inverse(z),
        bijector.inverse_log_det_jacobian(z),
    )
    for old, new, right in zip(before, after, expected, strict=True):
        assert np.max(np.abs(old - new)) > 0.01
        np.testing.assert_allclose(new, right, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["eager", "graph"])
def test_gradients_do_not_miss_what_came_before_the_tape(flow, mode):
    # TFP's cache would return the latent of a sample without its dependence on the sample.
    made = tfd.TransformedDistribution(standard_normal(), flow.as_bijector())
    bijector = flow.as_bijector()
    weight = flow.trainable_variables[0].value

    def through_views():
        x = made.sample(3, seed=(1, 2))
        bijector.inverse(x)
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = made.log_prob(x) + 0.5 * bijector.inverse_log_det_jacobian(x)
        return x, tape.gradient(value, [x, weight])

    x, got = MODES[mode](through_views)()
    with tf.GradientTape() as tape:
        tape.watch(x)
        log_prob = flow.log_prob(x)
        value = log_prob + 0.5 * (log_prob - flow.base.log_prob(flow.encode(x)))
    for mine, right in zip(got, tape.gradient(value, [x, weight]), strict=True):
        assert np.any(right != 0.0)
        np.testing.assert_allclose(mine, right, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_a_bijector_as_an_argument_traces_once(flow):
    bijector, traces = flow.as_bijector(), []

    @tf.function
    def run(bijector, z):
        traces.append(1)
        return bijector.forward(z)

    for _ in range(3):
        run(bijector, tf.zeros((2, 2)))
    assert len(traces) == 1


# Markov chains --------------------------------------------------------------------------------


@pytest.mark.slow
def test_hmc_through_a_flow_samples_the_flow():
    # In the latent space its own density is a standard normal one, however bent the flow.
    flow = make(blocks=1)
    distribution = flow.as_distribution()
    kernel = tfp.mcmc.TransformedTransitionKernel(
        tfp.mcmc.HamiltonianMonteCarlo(distribution.log_prob, step_size=0.4, num_leapfrog_steps=4),
        flow.as_bijector(),
    )

    @tf.function(jit_compile=True)
    def run(start):
        return tfp.mcmc.sample_chain(
            50,
            start,
            kernel=kernel,
            trace_fn=lambda _, results: results.inner_results.is_accepted,
            num_burnin_steps=10,
            seed=(1, 2),
        )

    draws, accepted = run(tf.zeros((64, 2)))
    assert np.mean(accepted) > 0.95
    z = flow.encode(tf.reshape(draws, (-1, 2))).numpy()
    np.testing.assert_allclose(np.mean(z, 0), 0.0, atol=0.1)
    np.testing.assert_allclose(np.cov(z.T), np.eye(2), atol=0.15)


# The example ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def banana():
    path = Path(__file__).resolve().parents[2] / "scripts" / "hmc_banana.py"
    spec = importlib.util.spec_from_file_location("hmc_banana", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def banana_draws(banana, steps=400, chains=8):
    x, noise = numbers(2, steps, chains, dtype="float64")
    y = banana.STEEPNESS * (np.sqrt(1.0 + x * x) - banana.BEND) + banana.WIDTH * noise
    return np.stack([x, y], axis=-1).astype("float32")


def measured(banana, draws, seconds=1.0):
    return banana.measure(draws, np.ones(draws.shape[:2]), np.ones(len(draws)), seconds)


def test_the_example_measures_independent_draws(banana):
    result = measured(banana, banana_draws(banana), seconds=2.0)
    assert 0.7 * 3200 < result.effective < 1.3 * 3200
    assert result.per_step == pytest.approx(1000 * result.effective / 3200)
    assert result.per_gradient == pytest.approx(result.per_step / banana.LEAPFROG_STEPS)
    assert result.per_second == pytest.approx(result.effective / 2.0)
    assert all(abs(error) < 4 for error in result.errors.values())


def test_the_example_fails_when_it_should(banana):
    good = measured(banana, banana_draws(banana))
    slow = measured(banana, np.repeat(banana_draws(banana, 40), 10, axis=0))
    assert slow.per_gradient < good.per_gradient / 5
    assert banana.problems(slow, good) == []
    assert any("does not mix" in problem for problem in banana.problems(good, slow))
    assert any("does not mix" in problem for problem in banana.problems(good, good))
    shifted = measured(banana, banana_draws(banana) + np.float32(0.2))
    assert any("plain: the mean of x is" in problem for problem in banana.problems(shifted, good))
    assert banana.problems(slow, shifted)
    lost = good._replace(errors={"x": float("nan")})
    assert banana.problems(slow, lost)


@pytest.mark.slow
def test_the_example_runs(banana):
    assert banana.main(chains=32, steps=400, pilot_steps=300, epochs=12) == []
