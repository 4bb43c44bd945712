"""Soft spectral normalisation of matrices, against the singular value decomposition."""

import numpy as np
import pytest
import tensorflow as tf

from keras_flows.layers import SpectralDense
from tests.derivatives import check_products, check_second_order, jacobians, random


def layer_with(kernel, coeff=0.9, iterations=5, dtype="float64"):
    """A layer with this kernel and u, v and sigma as they were before."""
    layer = SpectralDense(kernel.shape[1], coeff, iterations, dtype=dtype)
    layer.build((None, kernel.shape[0]))
    layer.kernel.assign(kernel)
    return layer


def kernel_of_norm(norm, shape=(4, 3), seed=0):
    kernel = np.random.default_rng(seed).standard_normal(shape)
    return kernel * norm / np.linalg.norm(kernel, 2)


def applied(layer, training=False):
    """The matrix that the layer multiplies by, from its derivative."""
    x = tf.zeros((1, layer.kernel.shape[0]), layer.compute_dtype)
    return jacobians(lambda x: layer(x, training=training), x)[0].T


@pytest.mark.parametrize("norm", [0.1, 0.5, 0.8999])
def test_small_kernels_are_left_alone(norm):
    layer = layer_with(kernel_of_norm(norm))
    layer.converge()
    np.testing.assert_array_equal(applied(layer), layer.kernel)
    np.testing.assert_array_equal(applied(layer, training=True), layer.kernel)


@pytest.mark.parametrize("shape", [(4, 3), (3, 4), (1, 5), (5, 1), (1, 1), (6, 6)])
@pytest.mark.parametrize("coeff", [0.3, 0.9, 1.0])
def test_large_kernels_are_brought_to_the_coefficient(shape, coeff):
    kernel = kernel_of_norm(7.0, shape)
    layer = layer_with(kernel, coeff)
    layer.converge()
    for training in (False, True):
        np.testing.assert_allclose(applied(layer, training), kernel * coeff / 7.0, rtol=1e-12)
    bias = random(shape[1])
    layer.bias.assign(bias)
    x = random(2, shape[0], seed=1)
    np.testing.assert_allclose(layer(x), x @ kernel * coeff / 7.0 + bias, rtol=1e-12)


def test_converge_finds_the_singular_triple():
    kernel = kernel_of_norm(2.5, (5, 8))
    layer = layer_with(kernel)
    layer.converge()
    left, values, right = np.linalg.svd(kernel.T)
    assert float(layer.sigma) == pytest.approx(values[0], rel=1e-12)
    assert abs(np.dot(layer.u, left[:, 0])) == pytest.approx(1.0, rel=1e-12)
    assert abs(np.dot(layer.v, right[0])) == pytest.approx(1.0, rel=1e-12)


def test_power_iteration_converges_to_the_largest_singular_value():
    kernel = kernel_of_norm(2.5, (5, 8))
    layer = layer_with(kernel)
    start = random(8), random(5, seed=1)
    norms = []
    for iterations in (1, 5, 25, 200):
        u, v = layer.power_iteration(tf.constant(kernel), *start, iterations)
        np.testing.assert_allclose([np.linalg.norm(u), np.linalg.norm(v)], 1.0, rtol=1e-12)
        norms.append(float(layer._norm_estimate(tf.constant(kernel), u, v)))
    # From below, and ever closer.
    assert norms == sorted(norms)
    assert norms[0] < 2.5 - 1e-3
    assert norms[-1] == pytest.approx(2.5, rel=1e-10)


def test_after_update_runs_the_iterations_and_stores_the_norm():
    kernel = kernel_of_norm(2.5, (5, 8))
    layer = layer_with(kernel, iterations=3)
    before = tf.constant(layer.u), tf.constant(layer.v)
    u, v = layer.power_iteration(tf.constant(kernel), *before, 3)
    layer.after_update()
    np.testing.assert_array_equal(layer.u, u)
    np.testing.assert_array_equal(layer.v, v)
    assert float(layer.sigma) == pytest.approx(u.numpy() @ kernel.T @ v.numpy(), rel=1e-12)
    # A running start: the stored vectors go on to the decomposition's.
    for _ in range(100):
        layer.after_update()
    assert float(layer.sigma) == pytest.approx(2.5, rel=1e-10)


def test_at_inference_the_stored_norm_is_a_constant():
    layer = layer_with(kernel_of_norm(2.5))
    layer.after_update()
    layer.sigma.assign(5.0)
    np.testing.assert_allclose(applied(layer), layer.kernel * 0.9 / 5.0)
    # In training it comes from the stored vectors.
    expected = layer.u.numpy() @ layer.kernel.numpy().T @ layer.v.numpy()
    assert expected > 1.0
    np.testing.assert_allclose(applied(layer, training=True), layer.kernel * 0.9 / expected)


def test_derivatives_of_the_map():
    layer = layer_with(kernel_of_norm(2.5))
    layer.converge()
    for training in (False, True):
        check_products(layer, random(5, 4), training=training)


def test_gradients_reach_the_kernel_through_its_norm():
    layer = layer_with(kernel_of_norm(2.5))
    layer.after_update()
    check_second_order(layer, random(5, 4), training=True)
    weights = random(4, 3, seed=5)

    def gradient(training):
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(layer.normalized_kernel(training) * weights)
        return tape.gradient(total, [layer.kernel, layer.u, layer.v, layer.sigma])

    # W c / s with s = <u, W^T v>, u and v held: the second term is the gradient of s.
    u, v, kernel = layer.u.numpy(), layer.v.numpy(), layer.kernel.numpy()
    sigma = u @ kernel.T @ v
    through_norm = np.sum(kernel * weights) / sigma * np.outer(v, u)
    expected = 0.9 / sigma * (weights - through_norm)
    got, *others = gradient(training=True)
    np.testing.assert_allclose(got, expected, rtol=1e-10)
    assert others == [None, None, None]
    got, *_ = gradient(training=False)
    np.testing.assert_allclose(got, 0.9 / float(layer.sigma) * weights, rtol=1e-10)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(4, 3), (3, 40), (40, 3), (1, 1)])
def test_lipschitz_bound_is_above_the_norm_and_close(shape, dtype):
    for seed in range(10):
        for norm in (0.2, 0.9, 30.0):
            layer = layer_with(kernel_of_norm(norm, shape, seed), dtype=dtype)
            layer.converge()
            true = np.linalg.norm(np.asarray(layer.normalized_kernel(), "float64"), 2)
            assert true <= layer.lipschitz_bound() <= true * (1.0 + 1e-9)
            assert layer.lipschitz_bound() <= 0.9 * (1.0 + 1e-6)


def test_a_stale_norm_shows_in_the_bound():
    layer = layer_with(kernel_of_norm(0.5))
    layer.converge()
    layer.kernel.assign(10.0 * layer.kernel)
    assert layer.lipschitz_bound() == pytest.approx(5.0)
    layer.converge()
    assert layer.lipschitz_bound() == pytest.approx(0.9)


def test_a_zero_kernel():
    layer = layer_with(np.zeros((4, 3)))
    for update in (layer.converge, layer.after_update):
        update()
        assert np.isfinite(layer(random(2, 4))).all()
        assert np.isfinite(layer(random(2, 4), training=True)).all()
        assert layer.lipschitz_bound() == 0.0


def test_the_norm_is_stored_beside_the_trained_weights():
    layer = layer_with(kernel_of_norm(2.5))
    assert [weight.name for weight in layer.trainable_weights] == ["kernel", "bias"]
    assert [weight.name for weight in layer.non_trainable_weights] == ["u", "v", "sigma"]


def test_a_large_matrix_starts_from_a_bound():
    layer = SpectralDense(130, dtype="float64")
    layer.build((None, 140))
    assert layer.fresh
    for training in (False, True):
        fresh = np.linalg.norm(layer.normalized_kernel(training), 2)
        assert 0.0 < fresh <= 0.9
    layer.converge()
    assert not layer.fresh
    np.testing.assert_allclose(layer.sigma, np.linalg.norm(layer.kernel, 2), rtol=1e-10)
    # Where that takes no time, the norm is found at once.
    small = SpectralDense(128, dtype="float64")
    small.build((None, 140))
    assert not small.fresh
    np.testing.assert_allclose(small.sigma, np.linalg.norm(small.kernel, 2), rtol=1e-10)


def test_power_iteration_up_to_a_tolerance():
    kernel = tf.constant(kernel_of_norm(2.5, (5, 8)))
    layer = layer_with(kernel.numpy())
    u, v = layer.power_iteration(kernel, random(8), random(5, seed=1), "tolerance")
    more = layer.power_iteration(kernel, u, v, 1)
    for one, other in zip((u, v), more, strict=True):
        assert np.sqrt(np.mean(np.square(one - other))) < 2e-3
    # Two nearly equal singular values: it stops after 200 iterations.
    values = np.diag([1.0, 1.0 - 1e-9])
    start = tf.constant([0.6, 0.8], tf.float64)
    flip = tf.constant(values @ [[0.0, 1.0], [-1.0, 0.0]])
    u, v = layer_with(flip.numpy()).power_iteration(flip, start, start, "tolerance")
    assert np.isfinite(u).all() and np.isfinite(v).all()


def test_errors():
    for coeff in (0.0, -1.0, 1.01, float("nan")):
        with pytest.raises(ValueError, match=r"coeff must be in \(0, 1\]; got"):
            SpectralDense(3, coeff)
    with pytest.raises(ValueError, match=r"iterations, where .* at least 1; got 0"):
        SpectralDense(3, iterations=0)
    with pytest.raises(
        ValueError, match="where it is not 'tolerance', must be an integer, at least 1; got 'many'"
    ):
        SpectralDense(3, iterations="many")
