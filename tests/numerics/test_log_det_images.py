"""Estimators of the log-det on a block of convolutions: no bias in value and gradient, memory."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_flows.layers import ConditionedDense, LipschitzDenseLayer, LipschitzSequential
from keras_flows.noise import SeededNoise
from keras_flows.numerics.log_det import Exact, Unbiased
from tests.derivatives import jacobians, random, with_gradients

IMAGE = (3, 3, 2)


@functools.cache
def block():
    """A dense net of convolutions on images of 18 numbers, and two of them."""
    keras.utils.set_random_seed(1)
    layers = [LipschitzDenseLayer(6, coeff=0.98, kernel_size=3, dtype="float64") for _ in range(2)]
    output = ConditionedDense(2, coeff=0.98, kernel_size=1, dtype="float64")
    net = LipschitzSequential([*layers, output], dtype="float64")
    net.build((None, *IMAGE))
    for weight in net.trainable_weights:
        if weight.name == "kernel":
            weight.assign(6.0 * tf.abs(weight))  # of one sign: no slopes that cancel
        if weight.name == "bias":
            weight.assign(weight + 2.0)  # where the activations are steep
    for layer in net._flatten_layers():
        if hasattr(layer, "converge"):
            layer.converge()
    return net, random(2, *IMAGE, seed=4)


def value_and_gradients(estimator, noise, training=True):
    """The sum of the log-dets and its gradients, by the images and all weights, in one vector."""
    net, x = block()

    def total():
        return tf.reduce_sum(estimator(net, x, noise=noise, training=training)[1])

    return with_gradients(total, x, net.trainable_variables)


def compiled(estimator):
    block()  # made outside of the graph
    return tf.function(
        lambda seed: value_and_gradients(estimator, SeededNoise(seed)),
        input_signature=[tf.TensorSpec((2,), tf.int32)],
        autograph=False,
    )


def test_the_block_is_worth_testing_on():
    net, x = block()
    jacobian = jacobians(net, x)
    assert (np.linalg.norm(jacobian, 2, axis=(1, 2)) > 0.4).all()
    _, expected = np.linalg.slogdet(np.eye(18) + jacobian)
    assert (np.abs(expected) > 0.05).all()
    np.testing.assert_allclose(Exact()(net, x)[1], expected, rtol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("gradient", ["neumann", "series"])
@pytest.mark.parametrize("probe", ["normal", "rademacher"])
@pytest.mark.parametrize("distribution", ["geometric", "poisson"])
def test_value_and_gradient_are_unbiased(distribution, probe, gradient):
    estimator = Unbiased(distribution, probe=probe, gradient=gradient, exact_terms=(1, 20))
    draw = compiled(estimator)
    sample = np.stack([draw(tf.constant([23, i])) for i in range(2500)])
    exact = value_and_gradients(Exact(), None).numpy()
    error = sample.std(axis=0, ddof=1) / np.sqrt(len(sample))
    assert error[0] > 1e-3
    deviation = np.abs(sample.mean(axis=0) - exact)
    # The value within three standard errors of the exact determinant; so the gradient in the
    # direction of the exact one, and of its signs.
    assert deviation[0] <= 3.0 * error[0]
    for direction in (exact[1:], np.sign(exact[1:])):
        along = sample[:, 1:] @ direction
        spread = along.std(ddof=1) / np.sqrt(len(along))
        assert abs(along.mean() - exact[1:] @ direction) <= 3.0 * spread
        # That says something: the error is small beside the gradient itself.
        assert spread < 0.2 * abs(exact[1:] @ direction)
    # Of many components a few may be farther off by chance.
    assert np.mean(deviation[1:] <= 3.0 * error[1:] + 1e-12) > 0.97


def operations(function):
    """The kinds of all operations in the graph of a function and those it calls."""
    graph = function.get_concrete_function().graph.as_graph_def()
    nodes = [*graph.node, *(node for made in graph.library.function for node in made.node_def)]
    return [node.op for node in nodes]


def test_the_neumann_gradient_keeps_nothing_of_the_series():
    # What a loop keeps for its gradient goes into lists of tensors, one entry for every term.
    kept = {
        gradient: [
            op for op in operations(compiled(Unbiased(gradient=gradient))) if "TensorList" in op
        ]
        for gradient in ("neumann", "series")
    }
    assert not kept["neumann"]
    assert kept["series"]


@pytest.mark.slow  # half a minute
def test_both_gradients_agree_on_a_complete_series():
    # With many exact terms, both are the exact gradient of the same trace estimate: they differ
    # by their probes only, which signs in all combinations would average out.
    complete = {
        gradient: compiled(Unbiased(gradient=gradient, exact_terms=(60, 60), probes=200))
        for gradient in ("neumann", "series")
    }
    one, other = (draw(tf.constant([1, 2])).numpy() for draw in complete.values())
    np.testing.assert_allclose(one[0], other[0], rtol=1e-10)
    exact = value_and_gradients(Exact(), None).numpy()[1:]
    for gradient in (one[1:], other[1:]):
        assert np.linalg.norm(gradient - exact) < 0.5 * np.linalg.norm(exact)
