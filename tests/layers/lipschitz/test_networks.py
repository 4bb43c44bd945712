"""The networks of residual blocks: derivatives, bounds, context."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_flows.layers import (
    ConditionedDense,
    LipschitzDenseLayer,
    LipschitzSequential,
    SpectralConv2D,
)
from tests.derivatives import check_products, check_second_order, jacobians, random
from tests.layers.lipschitz.test_spectral_conv import norm
from tests.registry import dense_net, plain_net

NETS = pytest.mark.parametrize("net", [dense_net, plain_net])
ACTIVATIONS = pytest.mark.parametrize("activation", ["lipswish", "tanh"])


def grown(net, activation="lipswish", context_size=None, scale=2.0, features=2):
    """A network whose matrices are large enough to be normalised."""
    keras.utils.set_random_seed(0)
    made = net("float64", activation, context_size, features)
    made.build((None, features))
    for weight in made.trainable_weights:
        if weight.name == "kernel":
            weight.assign(scale * weight)
    converge(made)
    return made


def converge(net):
    for layer in net._flatten_layers():
        if hasattr(layer, "converge"):
            layer.converge()


def empirical(net, context=None, n=400):
    """The largest norm of the Jacobian at many points."""
    x = tf.constant(np.random.default_rng(1).normal(scale=2.0, size=(n, 2)))
    if context is not None:
        context = tf.tile(context[:1], (n, 1))
    return np.linalg.norm(jacobians(lambda x: net(x, context=context), x), 2, axis=(1, 2)).max()


@NETS
@pytest.mark.parametrize("context_size", [None, 3])
@pytest.mark.parametrize("activation", ["lipswish", "clipswish", "softplus"])
def test_derivatives(net, context_size, activation):
    if net is plain_net and activation == "clipswish":
        pytest.skip("the plain network keeps its channels")
    context = None if context_size is None else random(5, context_size, seed=3)
    check_products(grown(net, activation, context_size), random(5, 2), context=context)


@NETS
def test_second_derivatives(net):
    context = random(5, 3, seed=3)
    # In training, where the norms follow the weights.
    check_second_order(grown(net, context_size=3), random(5, 2), context=context, training=True)


@NETS
@ACTIVATIONS
@pytest.mark.parametrize("scale", [0.3, 1.0, 50.0])
def test_bound_dominates_the_slopes(net, activation, scale):
    made = grown(net, activation, scale=scale)
    bound = made.lipschitz_bound()
    assert bound < 1.0
    assert 0.0 < empirical(made) <= bound


def test_bound_is_reached_where_the_network_is_linear():
    # A softplus far to the right is the identity: what is left is a product of matrices.
    layer = ConditionedDense(3, "softplus", coeff=0.9, dtype="float64")
    layer.build((None, 3))
    layer.dense.kernel.assign(4.0 * layer.dense.kernel)
    layer.dense.converge()
    slope = jacobians(layer, tf.fill((1, 3), tf.constant(1e3, tf.float64)))[0]
    assert np.linalg.norm(slope, 2) == pytest.approx(layer.lipschitz_bound(), rel=1e-9)
    assert layer.lipschitz_bound() == pytest.approx(0.9, rel=1e-9)
    # A dense layer too, its branch linear: the rows of both parts add up in squares.
    dense = LipschitzDenseLayer(3, "softplus", coeff=0.5, dtype="float64")
    dense.build((None, 3))
    dense.linear.dense.kernel.assign(4.0 * np.eye(3))
    dense.linear.dense.converge()
    dense.concatenation.k.assign([0.0, 2.0])
    slope = jacobians(dense, tf.fill((1, 3), tf.constant(1e3, tf.float64)))[0]
    assert np.linalg.norm(slope, 2) == pytest.approx(dense.lipschitz_bound(), rel=1e-9)
    eta = dense.concatenation.coefficients().numpy()
    assert dense.lipschitz_bound() == pytest.approx(np.hypot(eta[0], 0.5 * eta[1]), rel=1e-9)


@NETS
def test_the_context_is_free(net):
    made = grown(net, context_size=3)
    bound = made.lipschitz_bound()
    for layer in made._flatten_layers():
        if layer.name == "context_dense":
            layer.kernel.assign(100.0 * layer.kernel)
    converge(made)
    context = random(5, 3, seed=3)
    # Its own slope is large, that of x is bounded as before.
    slopes = jacobians(lambda context: made(random(5, 2), context=context), context)
    assert np.linalg.norm(slopes, 2, axis=(1, 2)).max() > 2.0
    assert made.lipschitz_bound() == bound
    assert empirical(made, context) <= bound


def test_context_is_added_as_columns_of_the_matrix():
    layer = ConditionedDense(4, context_size=3, dtype="float64")
    layer.build((None, 2))
    x, context = random(5, 2), random(5, 3, seed=1)
    matrix = np.concatenate([layer.dense.kernel, layer.context_dense.kernel])
    assert matrix.shape == (5, 4)
    layer.dense.sigma.assign(0.0)
    expected = np.concatenate([x, context], axis=1) @ matrix + layer.dense.bias
    np.testing.assert_allclose(layer(x, context=context), expected)


def test_the_last_matrix_takes_no_context():
    layer = ConditionedDense(4, dtype="float64")
    layer.build((None, 2))
    np.testing.assert_array_equal(layer(random(5, 2), context=random(5, 3)), layer(random(5, 2)))


@pytest.mark.parametrize("layer", [LipschitzDenseLayer(4), ConditionedDense(5, "relu")])
def test_output_shapes(layer):
    layer.build((None, 3))
    shape = layer.compute_output_shape((7, 3))
    assert layer(np.zeros((7, 3), "float32")).shape == shape


def test_half_the_filters_where_channels_double():
    layer = LipschitzDenseLayer(6, "clipswish")
    layer.build((None, 2))
    assert layer.linear.dense.kernel.shape == (2, 3)
    assert layer.compute_output_shape((None, 2)) == (None, 8)


def test_sequential_is_its_layers_in_order():
    made = grown(dense_net, context_size=3)
    x, context = random(5, 2), random(5, 3, seed=1)
    expected = x
    for layer in made.layers:
        expected = layer(expected, context=context)
    np.testing.assert_allclose(made(x, context=context), expected)
    bounds = [layer.lipschitz_bound() for layer in made.layers]
    assert made.lipschitz_bound() == pytest.approx(np.prod(bounds))


@pytest.mark.parametrize("activation", [None, "lipswish"])
def test_what_follows_a_dense_layer_sees_its_coefficients(activation):
    # A matrix takes them itself; an activation, and the end of a network, cannot.
    net = LipschitzSequential(
        [
            LipschitzDenseLayer(4, "clipswish", dtype="float64"),
            ConditionedDense(3, activation, dtype="float64"),
            LipschitzSequential([LipschitzDenseLayer(2, dtype="float64")], dtype="float64"),
            LipschitzDenseLayer(2, dtype="float64"),
        ],
        dtype="float64",
    )
    net.build((None, 2))
    for weight in net.trainable_weights:
        if weight.name == "k":
            weight.assign([-1.0, 2.0])
    x = random(5, 2)
    expected = x
    for layer in net.layers:
        expected = layer(expected)
    np.testing.assert_allclose(net(x), expected, rtol=1e-12)
    check_products(net, x)


@NETS
def test_configuration(net):
    made = grown(net, context_size=3)
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(made))
    for weight, given in zip(copy.weights, made.weights, strict=True):
        weight.assign(given)
    x, context = random(5, 2), random(5, 3, seed=1)
    np.testing.assert_array_equal(copy(x, context=context), made(x, context=context))


def test_a_built_layer_keeps_its_weights_and_its_shape():
    layer = ConditionedDense(2, dtype="float64")
    layer.build((None, 2))
    kernel = layer.dense.kernel
    net = LipschitzSequential([layer], dtype="float64")
    net.build((None, 2))
    assert layer.dense.kernel is kernel
    with pytest.raises(ValueError, match=r"was built for inputs of shape \(2,\).* given \(3,\)"):
        LipschitzSequential([layer], dtype="float64").build((None, 3))


def test_errors():
    for growth, activation in ((0, "relu"), (-2, "clipswish"), (5, "clipswish")):
        with pytest.raises(ValueError, match=f"growth must be.*got {growth}"):
            LipschitzDenseLayer(growth, activation)


def test_layers_build_themselves_when_first_called():
    x, context = np.ones((4, 3), "float32"), np.ones((4, 2), "float32")
    dense = ConditionedDense(3, "tanh")
    assert LipschitzSequential([dense])(x).shape == (4, 3)
    assert dense.dense.kernel.shape == (3, 3)
    assert ConditionedDense(5, context_size=2)(x, context=context).shape == (4, 5)
    assert LipschitzDenseLayer(4, context_size=2)(x, context).shape == (4, 7)


# On images ----------------------------------------------------------------------------------------

IMAGE = (4, 3, 2)


def image_net(kind="dense", activation="lipswish", context_size=None):
    """The networks of both models on images of two channels, their norms at the coefficient."""
    keras.utils.set_random_seed(0)
    shared = {"context_size": context_size, "dtype": "float64"}
    if kind == "dense":
        hidden = [LipschitzDenseLayer(4, activation, kernel_size=3, **shared) for _ in range(2)]
        output = ConditionedDense(2, kernel_size=1, dtype="float64")
    else:
        hidden = [ConditionedDense(5, activation, kernel_size=size, **shared) for size in (3, 1)]
        output = ConditionedDense(2, activation, kernel_size=3, **shared)
    net = LipschitzSequential([*hidden, output], dtype="float64")
    net.build((None, *IMAGE))
    for weight in net.trainable_weights:
        if weight.name == "kernel":
            weight.assign(4.0 * weight)
    converge(net)
    return net


KINDS = pytest.mark.parametrize("kind", ["dense", "plain"])


@KINDS
@pytest.mark.parametrize("activation", ["lipswish", "clipswish"])
@pytest.mark.parametrize("context_size", [None, 3])
def test_derivatives_on_images(kind, activation, context_size):
    context = None if context_size is None else random(3, context_size, seed=3)
    check_products(image_net(kind, activation, context_size), random(3, *IMAGE), context=context)


@KINDS
def test_second_derivatives_on_images(kind):
    check_second_order(image_net(kind), random(2, *IMAGE), training=True)


@KINDS
def test_bound_dominates_the_slopes_on_images(kind):
    net = image_net(kind)
    slopes = jacobians(net, random(30, *IMAGE, seed=2))
    largest = np.linalg.norm(slopes, 2, axis=(1, 2)).max()
    assert 0.01 < largest <= net.lipschitz_bound() < 1.0
    # That of the layers, one by one.
    for layer in net._flatten_layers():
        if isinstance(layer, SpectralConv2D):
            kernel = layer.normalized_kernel().numpy()
            np.testing.assert_allclose(norm(kernel, *IMAGE[:2]), 0.9, rtol=1e-6)


def test_the_context_of_an_image_shifts_every_pixel_alike():
    layer = ConditionedDense(5, context_size=3, kernel_size=3, dtype="float64")
    layer.build((None, *IMAGE))
    x, context = random(2, *IMAGE), random(2, 3, seed=1)
    shift = context @ layer.context_dense.kernel
    expected = layer(x, context=tf.zeros_like(context)) + np.reshape(shift, (2, 1, 1, 5))
    np.testing.assert_allclose(layer(x, context=context), expected, rtol=1e-12)


@KINDS
def test_configuration_on_images(kind):
    net = image_net(kind)
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(net))
    for weight, given in zip(copy.weights, net.weights, strict=True):
        weight.assign(given)
    x = random(2, *IMAGE)
    np.testing.assert_array_equal(copy(x), net(x))


# What is derived from the weights -----------------------------------------------------------------


@pytest.mark.parametrize("net", [lambda: image_net("dense"), lambda: image_net("plain", "tanh")])
def test_bound_weights_give_the_same_numbers_and_are_computed_once(net):
    net = net()
    x, tangents = random(2, *IMAGE), random(3, 2, *IMAGE, seed=1)
    cotangents = random(3, 2, *IMAGE, seed=2)

    def numbers():
        y, pullback = net.vjp(x)
        return y, pullback(cotangents), *net.jvp(x, tangents)

    expected = numbers()
    with net.bound():
        inside = numbers()
        kernel, _ = net.layers[-1].dense.derived()
        assert kernel is net.layers[-1].dense.derived()[0]
        # Held: a change of the weights shows afterwards only.
        net.layers[-1].dense.kernel.assign(2.0 * net.layers[-1].dense.kernel)
        held = numbers()
    for one, two, three in zip(expected, inside, held, strict=True):
        np.testing.assert_array_equal(one, two)
        np.testing.assert_array_equal(one, three)
    assert net.layers[-1].dense.derived()[0] is not kernel
    assert not np.array_equal(numbers()[0], expected[0])


def test_a_bound_is_released_after_an_error():
    net = image_net()
    with pytest.raises(ZeroDivisionError), net.bound():
        raise ZeroDivisionError
    assert all(getattr(layer, "_bound", None) is None for layer in net._flatten_layers())


def test_bound_weights_have_gradients():
    net = image_net()
    x = random(2, *IMAGE)
    gradients = []
    for held in (False, True):
        with tf.GradientTape() as tape:
            if held:
                with net.bound(training=True):
                    y = net(x, training=True)
            else:
                y = net(x, training=True)
            total = tf.reduce_sum(tf.square(y))
        gradients.append(tape.gradient(total, net.trainable_variables))
    for one, other in zip(*gradients, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)
