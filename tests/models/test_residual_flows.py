"""i-DenseNet and Residual Flow: sizes, configuration, bounds, coefficients, errors."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_flows.data import toy
from keras_flows.layers import LeakyLipSwish, VouchedActivation
from keras_flows.models import IDenseNet, ResidualFlow
from keras_flows.numerics.log_det import PowerSeries, Unbiased
from keras_flows.transforms import ActNorm, ResidualBlock
from tests.derivatives import random
from tests.registry import move_weights

TINY = {"blocks": 2, "depth": 2, "growth": 4}


def parameters(flow):
    return sum(weight.shape.num_elements() for weight in flow.trainable_variables)


@pytest.fixture(scope="module")
def published():
    return IDenseNet((2,))


@pytest.mark.slow
def test_published_sizes(published):
    assert parameters(published) == 504_180
    assert parameters(ResidualFlow((2,))) == 501_830


def test_size_without_learnable_concatenation(published):
    # Two numbers less in each of 10 x 4 Dense Layers.
    assert published.concatenation_coefficients().size == 80
    assert sum(weight.name == "k" for weight in published.trainable_weights) == 40
    free, fixed = (IDenseNet((2,), **TINY, learnable_concatenation=on) for on in (True, False))
    assert parameters(free) - parameters(fixed) == 2 * 2 * 2
    assert not any(weight.name == "k" for weight in fixed.trainable_weights)


@pytest.mark.parametrize("features", [1, 3])
@pytest.mark.parametrize("context", [None, 5])
@pytest.mark.parametrize("activation", ["lipswish", "clipswish", "tanh"])
def test_size_by_formula(features, context, activation):
    depth, growth, blocks = 3, 6, 2
    shape = None if context is None else (context,)
    flow = IDenseNet(
        (features,), blocks, depth, growth, activation=activation, actnorm=True, context_shape=shape
    )
    filters = growth // 2 if activation == "clipswish" else growth
    size = 0
    for i in range(depth):
        inputs = features + i * growth + (context or 0)
        size += (inputs + 1) * filters + 2 + (activation != "tanh")
    size += (features + depth * growth + 1) * features
    assert parameters(flow) == blocks * size + (blocks + 1) * 2 * features


def test_size_of_a_plain_flow():
    flow = ResidualFlow((3,), blocks=2, widths=(5, 7), context_shape=(4,))
    sizes = (3 * 5 + 5, 5 * 7 + 7, 7 * 3 + 3)
    # A context at every layer, and a beta for every activation.
    assert parameters(flow) == 2 * (sum(sizes) + 4 * (5 + 7 + 3) + 3)


def test_order_of_the_steps():
    kinds = [type(step) for step in IDenseNet((2,), **TINY).transform.steps]
    assert kinds == [ResidualBlock, ResidualBlock]
    flow = IDenseNet((2,), **TINY, actnorm=True)
    kinds = [type(step) for step in flow.transform.steps]
    assert kinds == [ActNorm, ResidualBlock, ActNorm, ResidualBlock, ActNorm]
    assert flow.blocks == flow.transform.steps[1::2]


CONFIGURATIONS = {
    "plain": (IDenseNet, TINY),
    "published": (
        IDenseNet,
        {
            **TINY,
            "activation": "clipswish",
            "learnable_concatenation": False,
            "coeff": 0.8,
            "lip_coeff": 0.9,
            "power_iterations": 3,
            "actnorm": True,
            "seed": 5,
            "name": "mine",
        },
    ),
    "objects": (
        IDenseNet,
        {
            **TINY,
            "activation": VouchedActivation("log_sigmoid"),
            "log_det": Unbiased("poisson", 3.0, exact_terms=(1, 7)),
            "block_bound": 0.95,
            "dtype": "float64",
        },
    ),
    "embedded": (
        IDenseNet,
        {
            **TINY,
            "concatenation_start": 4,
            "context_shape": (),
            "context_embedding": keras.layers.Embedding(3, 4),
        },
    ),
    "plain network": (
        ResidualFlow,
        {"blocks": 3, "widths": (4, 5), "log_det": PowerSeries(3), "activation": LeakyLipSwish()},
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_configuration_round_trip(name):
    model, arguments = CONFIGURATIONS[name]
    flow = model((2,), **arguments)
    config = flow.get_config()
    for argument, value in arguments.items():
        if isinstance(value, (str, int, float)) and argument != "dtype":
            assert config[argument] == value, argument
    copy = model.from_config(config)
    assert copy.get_config() == config
    assert copy.name == flow.name
    assert copy.compute_dtype == flow.compute_dtype == arguments.get("dtype", "float32")
    for weight, given in zip(copy.weights, flow.weights, strict=True):
        weight.assign(given)
    context = None if flow.context_shape is None else [0, 1, 2]
    x = random(3, 2)
    np.testing.assert_array_equal(
        copy.log_prob(x, context, seed=1), flow.log_prob(x, context, seed=1)
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "optimizer",
    [pytest.param(keras.optimizers.Adam, marks=pytest.mark.slow), keras.optimizers.SGD],
)
@pytest.mark.parametrize("model", [IDenseNet, ResidualFlow])
def test_block_bound_is_kept_by_any_training(model, optimizer):
    size = {"depth": 2, "growth": 8} if model is IDenseNet else {"widths": (8, 8)}
    keras.utils.set_random_seed(0)
    flow = model((2,), blocks=2, block_bound=0.99, **size)
    flow.compile(optimizer(0.3), jit_compile=False)
    x = toy("two_moons").sample(200, seed=0)
    flow.fit(x, batch_size=20, epochs=4, verbose=0)
    bounds = flow.certify().bounds.values()
    assert max(bounds) <= 0.99 * (1.0 + 1e-6)
    if optimizer is keras.optimizers.Adam:
        # Large steps grow the matrices: the budget is spent, and no more than that.
        assert max(bounds) > 0.95
    np.testing.assert_allclose(flow.decode(flow.encode(x)), x, atol=1e-3)


def test_block_bound_is_spent_in_the_last_matrix():
    flow = IDenseNet((2,), **TINY, block_bound=0.97, coeff=0.5, lip_coeff=0.6)
    *hidden, last = flow.blocks[0].net.layers
    for layer in hidden:
        assert layer.linear.coeff == layer.concatenation.lip_coeff == 1.0
    assert last.coeff == 0.97
    plain = IDenseNet((2,), **TINY, coeff=0.5, lip_coeff=0.6)
    *hidden, last = plain.blocks[0].net.layers
    for layer in hidden:
        assert (layer.linear.coeff, layer.concatenation.lip_coeff) == (0.5, 0.6)
    assert last.coeff == 0.5


def test_concatenation_coefficients():
    flow = IDenseNet((2,), blocks=3, depth=2, growth=4)
    coefficients = flow.concatenation_coefficients()
    assert coefficients.shape == (3, 2, 2)
    np.testing.assert_allclose(coefficients, 0.98 / np.sqrt(2.0), rtol=1e-6)
    layer = flow.blocks[2].net.layers[1]
    layer.concatenation.k.assign([3.0, -1.0])
    coefficients = flow.concatenation_coefficients()
    eta = np.log1p(np.exp([3.0, -1.0])) + 0.1
    np.testing.assert_allclose(coefficients[2, 1], 0.98 * eta / np.hypot(*eta), rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(coefficients, axis=-1), 0.98, rtol=1e-6)
    np.testing.assert_allclose(coefficients[:2], 0.98 / np.sqrt(2.0), rtol=1e-6)


def test_depth_and_learning_of_the_concatenation_reach_the_layers():
    flow = IDenseNet((2,), **TINY, concatenation_start=7, power_iterations=3)
    for block in flow.blocks:
        assert len(block.net.layers) == 3
        for layer in block.net.layers[:-1]:
            assert layer.concatenation.start == 7
            assert layer.linear.dense.iterations == 3


def test_contexts_do_not_enter_the_last_matrix():
    flow = IDenseNet((2,), **TINY, context_shape=(3,))
    *hidden, last = flow.blocks[0].net.layers
    assert all(layer.linear.context_dense is not None for layer in hidden)
    assert last.context_dense is None


def test_two_flows_with_one_seed_start_alike():
    flows = []
    for _ in range(2):
        keras.utils.set_random_seed(3)
        flows.append(IDenseNet((2,), **TINY))
    x = random(4, 2)
    np.testing.assert_array_equal(flows[0].log_prob(x), flows[1].log_prob(x))


def test_a_plain_residual_network_by_hand():
    flow = ResidualFlow((2,), blocks=1, widths=(3,), dtype="float64")
    move_weights(flow)
    x = random(5, 2)
    h = x
    for layer in flow.blocks[0].net.layers:
        beta = tf.nn.softplus(layer.activation.beta)
        h = h * tf.sigmoid(beta * h) / 1.1
        kernel = layer.dense.kernel.numpy()
        kernel = kernel / max(1.0, np.linalg.norm(kernel, 2) / 0.9)
        h = h @ kernel + layer.dense.bias
    np.testing.assert_allclose(flow.encode(x), x + h, rtol=1e-10)


def test_a_dense_network_by_hand():
    flow = IDenseNet((2,), blocks=1, depth=2, growth=3, dtype="float64")
    move_weights(flow)
    x = random(5, 2)
    h = x
    *hidden, last = flow.blocks[0].net.layers
    for layer in hidden:
        kernel = layer.linear.dense.kernel.numpy()
        kernel = kernel / max(1.0, np.linalg.norm(kernel, 2) / 0.9)
        y = h @ kernel + layer.linear.dense.bias
        y = y * tf.sigmoid(tf.nn.softplus(layer.activation.beta) * y) / 1.1
        eta = np.log1p(np.exp(layer.concatenation.k.numpy())) + 0.1
        eta *= 0.98 / np.hypot(*eta)
        h = np.concatenate([eta[0] * h, eta[1] * y], axis=1)
    kernel = last.dense.kernel.numpy()
    kernel = kernel / max(1.0, np.linalg.norm(kernel, 2) / 0.9)
    np.testing.assert_allclose(flow.encode(x), x + h @ kernel + last.dense.bias, rtol=1e-10)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"event_shape": (2, 3)}, r"IDenseNet takes vectors.* or images .*; got \(2, 3\)"),
        ({"bits": 5}, r"bits is for images; this flow is on vectors, of shape \(2,\)"),
        ({"event_shape": 2}, "event_shape must be a tuple of positive sizes.* got 2"),
        ({"event_shape": ()}, "event_shape must have at least one axis"),
        ({"event_shape": (0,)}, "event_shape must be a tuple of positive sizes"),
        ({"blocks": 0}, "blocks must be an integer, at least 1; got 0"),
        ({"blocks": 2.5}, "blocks must be an integer, at least 1; got 2.5"),
        ({"depth": 0}, "depth must be an integer, at least 1; got 0"),
        ({"growth": 0}, "growth must be an integer, at least 1; got 0"),
        ({"growth": 3, "activation": "clipswish"}, "growth must .* divisible by 2; got 3"),
        ({"activation": "lipswitch"}, "Did you mean 'lipswish'"),
        ({"log_det": "exakt"}, "Unknown log-det estimator 'exakt'"),
        ({"coeff": 1.5}, r"coeff must be in \(0, 1\]; got 1.5"),
        ({"lip_coeff": 0.0}, r"lip_coeff must be in \(0, 1\]; got 0.0"),
        ({"block_bound": 1.0}, r"block_bound must be in \(0, 1\); got 1.0"),
        ({"power_iterations": 0}, "iterations, where .* at least 1; got 0"),
        ({"power_iterations": "few"}, "iterations, where .* at least 1; got 'few'"),
        ({"concatenation_start": -1}, "concatenation_start must be an integer, at least 0"),
        ({"context_shape": (2, 2)}, "The networks take a context vector per example"),
        ({"context_embedding": keras.layers.Dense(2)}, "context_embedding needs a context_shape"),
        ({"seed": -1}, "seed must be an integer, at least 0"),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        IDenseNet(**{"event_shape": (2,), **TINY, **arguments})


def test_a_plain_network_whose_activations_double_the_channels():
    flow = ResidualFlow((2,), blocks=1, widths=(3,), activation="clipswish")
    kernels = [layer.dense.kernel.shape for layer in flow.blocks[0].net.layers]
    assert kernels == [(4, 3), (6, 2)]
    x = random(4, 2)
    np.testing.assert_allclose(flow.decode(flow.encode(x)), x, atol=1e-5)
