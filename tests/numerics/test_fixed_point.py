"""Inverses of residual maps: convergence example by example, failures, gradients."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_flows import ConvergenceError, Flow, NonFiniteError
from keras_flows.models import IDenseNet, ResidualFlow
from keras_flows.numerics import fixed_point
from keras_flows.transforms import Affine, Chain, Reverse, Sigmoid
from tests.derivatives import jacobians, random
from tests.registry import dense_net, move_weights, residual_block

# Scalar contractions with a known rate: g(x) = rate * x.
RATES = (0.0, 0.1, 0.5, -0.9, 0.9)


def solve_linear(rate, y, atol=1e-12, rtol=0.0, max_iterations=1000):
    return fixed_point.solve(lambda x, _: rate * x, y, atol, rtol, max_iterations)


def newton_linear(rate, y, atol=1e-12, rtol=0.0, max_iterations=1000):
    def value_and_jacobian(x, _):
        jacobian = tf.eye(x.shape[1], batch_shape=[len(x)], dtype=x.dtype)
        return rate * x, rate * jacobian

    return fixed_point.newton(value_and_jacobian, y, atol, rtol, max_iterations)


@functools.cache
def block(features):
    """A residual block that is far from the identity; its inverse uses Jacobians up to 8-D."""
    keras.utils.set_random_seed(0)
    made = residual_block("float64", features=features)
    made.build((None, features))
    for weight in made.trainable_weights:
        if weight.name == "kernel":
            weight.assign(4.0 * weight)
        if weight.name == "k":
            weight.assign([2.0, 0.5])
    for layer in made._flatten_layers():
        if hasattr(layer, "converge"):
            layer.converge()
    return made


BLOCKS = pytest.mark.parametrize("features", [1, 3, 9])


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("solve", [solve_linear, newton_linear])
def test_linear_maps(solve, rate):
    y = random(5, 3)
    result = solve(rate, y)
    assert result.converged.numpy().all()
    # A last step of 1e-12 leaves an error of at most 1e-12 / (1 - rate).
    np.testing.assert_allclose(result.x, y / (1.0 + rate), rtol=0.0, atol=2e-11)


def test_iterations_and_residual_are_those_of_the_geometric_series():
    y = tf.constant([[8.0], [0.0], [-1.0]], tf.float64)
    result = solve_linear(0.5, y, atol=1e-3)
    # Step k has the size 0.5^k |y|; eight more follow the one that is small enough.
    expected = [int(np.ceil(np.log2(8.0 / 1e-3))), 1, int(np.ceil(np.log2(1.0 / 1e-3)))]
    expected = [count + 8 for count in expected]
    np.testing.assert_array_equal(result.iterations, expected)
    np.testing.assert_allclose(result.residual, np.abs(y[:, 0]) * 0.5 ** np.array(expected))
    capped = solve_linear(0.5, y, atol=1e-3, max_iterations=10)
    np.testing.assert_array_equal(capped.iterations, [10, 9, 10])
    np.testing.assert_array_equal(capped.converged, [False, True, True])
    np.testing.assert_allclose(capped.residual, [8.0 * 0.5**10, 0.0, 0.5**10])


@pytest.mark.parametrize("solve", [solve_linear, newton_linear])
def test_tolerance_is_absolute_and_relative(solve):
    y = tf.constant([[1e6], [1.0]], tf.float64)
    for atol, rtol in ((1e-3, 0.0), (0.0, 1e-6), (1e-6, 1e-6)):
        result = solve(0.5, y, atol, rtol)
        assert result.converged.numpy().all()
        bound = atol + rtol * np.abs(y[:, 0])
        assert (result.residual <= bound).numpy().all()
        assert (np.abs(result.x - y / 1.5)[:, 0] <= 2.0 * bound).all()


@pytest.mark.parametrize("solve", [solve_linear, newton_linear])
def test_no_contraction_is_not_converged(solve):
    # x - x = y has no solution; -2 x + x = y has one, which no contraction leads to.
    result = solve(-1.0, tf.constant([[1.0]], tf.float64), max_iterations=50)
    assert not bool(result.converged[0])
    marked = fixed_point.mark_unconverged(result)
    assert np.isnan(marked).all()


def test_only_the_examples_that_failed_are_marked():
    y = tf.constant([[8.0, 1.0], [0.0, 0.0]], tf.float64)
    marked = fixed_point.mark_unconverged(solve_linear(0.5, y, atol=1e-3, max_iterations=5))
    np.testing.assert_array_equal(np.isnan(marked), [[True, True], [False, False]])


@pytest.mark.parametrize("everywhere", [False, True])
def test_an_example_that_is_done_leaves_the_computation(everywhere):
    rates = tf.constant([[0.5], [0.0], [0.9], [0.1]], tf.float64)
    y, seen = tf.ones((4, 1), tf.float64), []

    def g(x, pick):
        seen.append(len(x))
        return pick(rates) * x

    result = fixed_point.solve(g, y, 1e-6, 0.0, 1000, everywhere)
    np.testing.assert_allclose(result.x, y / (1.0 + rates), rtol=0.0, atol=1e-6)
    iterations = result.iterations.numpy()
    assert len(set(iterations)) == 4 and len(seen) == max(iterations)
    # Every example is in as many steps as it takes, unless it cannot leave.
    assert sum(seen) == (4 * max(iterations) if everywhere else sum(iterations))


def test_newton_leaves_out_what_is_done():
    y, seen = tf.constant([[0.0], [3.0], [0.1]], tf.float64), []

    def value_and_jacobian(x, pick):
        assert len(pick(y)) == len(x)
        seen.append(len(x))
        return 0.9 * tf.sin(x), 0.9 * tf.cos(x)[:, :, None]

    result = fixed_point.newton(value_and_jacobian, y, 1e-12, 0.0, 1000)
    np.testing.assert_allclose(result.x + 0.9 * np.sin(result.x), y, rtol=0.0, atol=1e-12)
    # All are in the first evaluation, which finds what is done from the start.
    assert sum(seen) == 3 + sum(result.iterations.numpy()) and min(result.iterations.numpy()) == 0


@BLOCKS
def test_inverse_of_a_block(features):
    x = 3.0 * random(20, features)
    z, _ = block(features).encode(x)
    result = block(features).invert(z)
    assert result.converged.numpy().all()
    np.testing.assert_allclose(result.x, x, rtol=0.0, atol=1e-10)
    assert (result.iterations.numpy() > 1).all()
    assert (result.residual.numpy() <= 1e-12 * (1.0 + np.abs(z).max(axis=1))).all()


def test_newton_takes_fewer_steps_to_the_same_place():
    small = block(3)
    z = 3.0 * random(20, 3)
    limits = 1e-12, 1e-12, 1000
    plain = fixed_point.solve(lambda x, _: small.net(x), z, *limits)
    newton = small.invert(z)
    np.testing.assert_allclose(newton.x, plain.x, rtol=0.0, atol=1e-10)
    assert newton.iterations.numpy().max() < 0.5 * plain.iterations.numpy().min()


@pytest.mark.slow
@BLOCKS
def test_convergence_does_not_depend_on_companions(features):
    z = random(12, features) * np.geomspace(1e-3, 1e5, 12)[:, None]
    together = block(features).invert(z)
    assert len(set(together.iterations.numpy())) > 1
    for i in range(12):
        result = block(features).invert(z[i : i + 1])
        assert result.iterations[0] == together.iterations[i]
        # Up to the rounding of matrix products, which depends on the number of rows.
        size = 0.1 + np.abs(z[i]).max()
        np.testing.assert_allclose(result.x[0], together.x[i], rtol=0, atol=1e-14 * size)
        np.testing.assert_allclose(
            result.residual[0], together.residual[i], rtol=0, atol=1e-14 * size
        )


@pytest.mark.slow
@BLOCKS
def test_gradient_is_that_of_the_inverse_jacobian(features):
    made = block(features)
    x = random(5, features)
    z, _ = made.encode(x)
    forward = jacobians(lambda x: made.encode(x)[0], x)
    backward = jacobians(made.decode, tf.identity(z))
    np.testing.assert_allclose(backward, np.linalg.inv(forward), rtol=1e-7, atol=1e-9)


@pytest.mark.slow
@BLOCKS
def test_gradient_of_the_weights(features):
    made = block(features)
    z = random(5, features)
    weights = made.trainable_variables
    probe = random(5, features, seed=1)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(made.decode(z) * probe)
    step = 1e-5
    for i, (weight, gradient) in enumerate(
        zip(weights, tape.gradient(total, weights), strict=True)
    ):
        direction = random(*weight.shape, seed=2 + i)
        ends = []
        for sign in (1.0, -2.0, 1.0):
            weight.assign_add(sign * step * direction)
            ends.append(tf.reduce_sum(made.decode(z) * probe))
        slope = (ends[0] - ends[1]) / (2.0 * step)
        expected = 0.0 if gradient is None else tf.reduce_sum(gradient * direction)
        np.testing.assert_allclose(slope, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("features", [3, 9])
def test_gradients_compile(features):
    made = block(features)
    z = random(4, features)

    def gradient(z):
        with tf.GradientTape() as tape:
            tape.watch(z)
            total = tf.reduce_sum(tf.square(made.decode(z)))
        return tape.gradient(total, z)

    compiled = tf.function(gradient, jit_compile=True, autograph=False)(z)
    np.testing.assert_allclose(compiled, gradient(z), rtol=1e-9)


def unfinished(features, **arguments):
    """A flow whose inverse is given too few steps."""
    keras.utils.set_random_seed(0)
    steps = [
        Affine(0.0, 2.0, dtype="float64"),
        residual_block("float64", features=features),
        Reverse(dtype="float64"),
    ]
    flow = Flow(Chain(steps, dtype="float64"), (features,), dtype="float64", **arguments)
    move_weights(flow)
    flow.transform.steps[1].max_iterations = 2
    return flow


@pytest.mark.parametrize("features", [2, 9])
def test_an_unconverged_inverse_is_an_error_with_numbers(features):
    flow = unfinished(features)
    z = np.concatenate([np.zeros((1, features)), 5.0 + np.zeros((2, features))])
    result = flow.transform.steps[1].invert(tf.constant(z[:, ::-1]))
    failed = ~result.converged.numpy()
    assert failed.any()
    with pytest.raises(ConvergenceError) as error:
        flow.decode(z)
    message = str(error.value)
    for part in (
        "The inverse of '1/ResidualBlock' did not converge within 2 iterations",
        f"for {failed.sum()} of 3 examples",
        f"the first at index {failed.argmax()}",
        f"the largest residual is {result.residual.numpy()[failed].max():.3g}",
        "the tolerance 1e-12",
    ):
        assert part in message, message
    with pytest.raises(ConvergenceError):
        flow.sample(5, seed=0)


@pytest.mark.parametrize("features", [pytest.param(2, marks=pytest.mark.slow), 9])
def test_a_call_has_the_tolerance_it_asks_for(features):
    flow = unfinished(features)
    flow.transform.steps[1].max_iterations = 100
    z = 3.0 * random(6, features)
    exact, steps, differences = flow.decode(z), [], []
    for tolerance in (1e-1, 1e-5):
        with fixed_point.tolerance(tolerance):
            result = flow.transform.steps[1].invert(z[:, ::-1])
        assert (result.residual <= tolerance * (1.0 + abs(z).numpy().max(axis=1))).numpy().all()
        steps.append(result.iterations.numpy().sum())
        differences.append(abs(flow.decode(z, tolerance=tolerance) - exact).numpy().max())
    assert steps[0] < steps[1]
    assert 0.0 < differences[1] < 1e-4 and differences[1] < differences[0] < 1.0
    # Of that call only.
    np.testing.assert_array_equal(flow.decode(z), exact)
    np.testing.assert_array_equal(
        flow.sample(3, seed=0, tolerance=1e-4), flow.sample(3, seed=0, tolerance=1e-4)
    )


def test_an_error_states_the_tolerance_of_the_call():
    with pytest.raises(ConvergenceError, match="the tolerance 1e-11 absolute"):
        unfinished(9).decode(5.0 + np.zeros((1, 9)), tolerance=1e-11)


@pytest.mark.parametrize("tolerance", [0.0, -1e-3, float("nan"), "small", True])
def test_a_tolerance_is_a_positive_number(tolerance):
    with pytest.raises(ValueError, match="tolerance must be a positive number"):
        unfinished(2).sample(1, tolerance=tolerance)


def test_a_tolerance_needs_an_inverse_that_has_one():
    flow = Flow(Chain([Reverse()]), (2,))
    with pytest.raises(ValueError, match="this flow has none: leave tolerance out"):
        flow.decode([[0.5, 0.5]], tolerance=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("jit_compile", [False, True])
def test_in_a_graph_it_is_nan(jit_compile):
    flow = unfinished(2)
    z = tf.constant([[0.0, 0.0], [5.0, 5.0]], tf.float64)
    x = tf.function(flow.decode, jit_compile=jit_compile)(z).numpy()
    assert np.isnan(x[1]).all()


def test_enough_steps_are_no_error():
    flow = unfinished(2)
    flow.transform.steps[1].max_iterations = 1000
    z = random(4, 2)
    np.testing.assert_allclose(flow.encode(flow.decode(z)), z, atol=1e-10)


def test_a_latent_outside_the_range_of_a_step_is_named():
    flow = Flow(Chain([Reverse(), Sigmoid()]), (2,))
    with pytest.raises(NonFiniteError, match=r"Decoding makes NaN for 1 of 2 .* step '1/Sigmoid'"):
        flow.decode([[0.5, 0.5], [0.5, 1.5]])


@pytest.mark.slow
def test_float32_converges_at_every_size():
    keras.utils.set_random_seed(0)
    flow = IDenseNet((2,), blocks=2, depth=2, growth=8, block_bound=0.99)
    move_weights(flow)
    for scale in (1e-6, 1.0, 1e3, 1e6):
        x = (scale * random(50, 2)).numpy().astype("float32")
        np.testing.assert_allclose(flow.decode(flow.encode(x)), x, rtol=0, atol=1e-5 + 1e-4 * scale)


def test_contexts_are_passed_to_the_inverse():
    made = residual_block("float64", net=dense_net, context_size=2)
    made.build((None, 2))
    x, context = random(4, 2), random(4, 2, seed=1)
    z, _ = made.encode(x, context)
    np.testing.assert_allclose(made.decode(z, context), x, atol=1e-10)
    assert np.abs(made.decode(z, context[::-1]) - x).max() > 1e-3


def test_second_derivatives_beyond_newton_are_an_error():
    flow = ResidualFlow((9,), blocks=1, widths=(4,))
    z = tf.ones((2, 9))
    with pytest.raises(ValueError, match="up to 8 numbers"), tf.GradientTape() as outer:
        outer.watch(z)
        with tf.GradientTape() as inner:
            inner.watch(z)
            x = flow.decode(z)
        outer.gradient(inner.gradient(x, z), z)
