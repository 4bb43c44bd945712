"""Autoregressive steps and masked networks: who depends on whom, and what does not fit."""

import numpy as np
import pytest
import tensorflow as tf

from keras_flows import Flow
from keras_flows.layers import MADE, ResidualMADE
from keras_flows.transforms import Autoregressive
from keras_flows.transforms.maps import AffineMap, SplineMap
from tests.derivatives import jacobians, random
from tests.registry import move_weights


def step_of(net, reverse, map=None, features=4, context_size=None):
    """A step with a network wide enough that some unit of each kind is active."""
    map = map or AffineMap()
    size = {"widths": (24, 20)} if net is MADE else {"width": 24, "blocks": 1}
    shared = {"context_size": context_size, "reverse": reverse, "dtype": "float64"}
    made = net(features, map.parameters, **size, **shared)
    step = Autoregressive(made, map, dtype="float64")
    move_weights(Flow(step, (features,), context_size and (context_size,), dtype="float64"))
    return step


@pytest.mark.parametrize("net", [MADE, ResidualMADE])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("map", [AffineMap(), SplineMap(3, 3.0)], ids=["affine", "spline"])
def test_the_jacobian_is_triangular(net, reverse, map):
    step = step_of(net, reverse, map)
    jacobian = jacobians(lambda x: step.encode(x)[0], 0.5 * random(5, 4))
    order = step.order
    assert order == ([3, 2, 1, 0] if reverse else [0, 1, 2, 3])
    jacobian = jacobian[:, order][:, :, order]
    assert np.abs(np.triu(jacobian, 1)).max() == 0.0
    # And nothing that may depend does not.
    assert (np.abs(jacobian[:, np.tri(4, dtype=bool)]).max(axis=0) > 1e-6).all()
    _, terms = step.encode_terms(0.5 * random(5, 4))
    expected = np.log(np.diagonal(jacobian, axis1=1, axis2=2))
    np.testing.assert_allclose(terms.numpy()[:, order], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("net", [MADE, ResidualMADE])
@pytest.mark.parametrize("reverse", [False, True])
def test_every_parameter_sees_the_context(net, reverse):
    step = step_of(net, reverse, features=3, context_size=2)
    x, context = random(4, 3), random(4, 2, seed=1)
    jacobian = jacobians(lambda context: step.network(x, context), context)
    assert (np.abs(jacobian).max(axis=0) > 1e-6).all()
    with pytest.raises(ValueError, match="needs a context of 2 numbers"):
        step.encode(x)


@pytest.mark.slow
@pytest.mark.parametrize("jit_compile", [False, True])
def test_decoding_in_a_graph_has_the_gradients_of_the_inverse(jit_compile):
    step = step_of(ResidualMADE, False, SplineMap(3, 3.0), features=3)
    z = random(5, 3)

    def gradient(z):
        with tf.GradientTape() as tape:
            tape.watch(z)
            x = step.decode(z)
        return x, tape.batch_jacobian(x, z, experimental_use_pfor=False)

    x, jacobian = tf.function(gradient, jit_compile=jit_compile)(z)
    np.testing.assert_allclose(step.encode(x)[0], z, rtol=1e-9, atol=1e-9)
    inverse = np.linalg.inv(jacobians(lambda x: step.encode(x)[0], x))
    np.testing.assert_allclose(jacobian, inverse, rtol=1e-7, atol=1e-9)


def test_the_loop_of_decoding_is_one_in_the_graph():
    step = step_of(MADE, False)
    graph = tf.function(step.decode).get_concrete_function(random(5, 4)).graph
    kinds = [operation.type for operation in graph.get_operations()]
    assert kinds.count("StatelessWhile") + kinds.count("While") == 1
    assert "MatMul" not in kinds


def test_what_does_not_fit_is_an_error():
    with pytest.raises(ValueError, match="makes 3 parameters of each number; this map takes 2"):
        Autoregressive(MADE(4, 3), AffineMap())
    with pytest.raises(ValueError, match=r"network must be an? .*AutoregressiveNetwork"):
        Autoregressive(tf.keras.layers.Dense(8), AffineMap())
    with pytest.raises(ValueError, match=r"events of shape \(4,\), .*; got \(5,\)"):
        Flow(Autoregressive(MADE(4, 2), AffineMap()), (5,))
    with pytest.raises(ValueError, match="widths must be a sequence of integers"):
        MADE(4, 2, widths=8)
    with pytest.raises(ValueError, match="features must be an integer, at least 1; got 0"):
        ResidualMADE(0, 2)
    with pytest.raises(ValueError, match="reverse must be True or False"):
        MADE(4, 2, reverse="yes")
