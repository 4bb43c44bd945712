"""Mixtures of logistics: tails, densities, masses and quantiles."""

import math

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats
from scipy.special import logsumexp

from keras_flows.numerics import logistic_mixture as mixtures
from tests.derivatives import random


def some(n, components=3, dtype="float64", spread=1.0):
    logits, means, scales = (spread * random(n, components, seed=i) for i in range(3))
    return mixtures.mixture(*(tf.cast(part, dtype) for part in (logits, 3.0 * means, scales)))


def of_scipy(function, x, mixture):
    """The logarithm of a mixture of what scipy says of every component."""
    weights, means, log_scales = (part.numpy() for part in mixture)
    each = function(np.asarray(x)[:, None], means, np.exp(log_scales))
    return logsumexp(weights + each, axis=-1)


def test_tails_and_density_are_those_of_scipy():
    mixture, x = some(40), 8.0 * random(40, seed=5)
    below, above = mixtures.log_tails(x, mixture)
    np.testing.assert_allclose(
        below, of_scipy(stats.logistic.logcdf, x, mixture), rtol=1e-12, atol=1e-14
    )
    np.testing.assert_allclose(
        above, of_scipy(stats.logistic.logsf, x, mixture), rtol=1e-12, atol=1e-14
    )
    density = mixtures.log_density(x, mixture)
    np.testing.assert_allclose(
        density, of_scipy(stats.logistic.logpdf, x, mixture), rtol=1e-12, atol=1e-14
    )


def test_weights_sum_to_one_and_scales_have_bounds():
    mixture = mixtures.mixture(*[tf.constant([[800.0, -900.0, -10.0]])] * 3)
    np.testing.assert_allclose(tf.exp(mixture.log_weights), [[1.0, 0.0, 0.0]])
    np.testing.assert_array_equal(mixture.log_scales, [[20.0, -7.0, -7.0]])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_quantiles(dtype):
    mixture = some(300, dtype=dtype, spread=2.0)
    z = tf.cast(20.0 * random(300, seed=7), dtype)
    x = mixtures.quantile(z, mixture)
    back, log_slope = mixtures.logit_and_log_slope(x, mixture)
    # As exact as x can be told: to its own rounding, times the slope.
    unit = np.finfo(dtype).eps
    error = np.abs(back - z) / (unit * (8.0 + np.abs(z) + np.abs(x) * np.exp(log_slope)))
    assert error.max() < 4.0


def test_a_quantile_does_not_depend_on_its_neighbours():
    mixture, z = some(50, spread=2.0), 20.0 * random(50, seed=7)
    whole = mixtures.quantile(z, mixture)
    for i in (0, 17, 49):
        alone = mixtures.quantile(z[i : i + 1], mixtures.Mixture(*(p[i : i + 1] for p in mixture)))
        np.testing.assert_array_equal(alone, whole[i : i + 1])


def test_quantiles_between_components_far_apart():
    # Between them F is flat at 1/2 to all digits, and Newton's steps lead nowhere.
    mixture = mixtures.mixture(
        *(tf.constant([v] * 3) for v in ([0.0, 0.0], [-50.0, 50.0], [-7.0] * 2))
    )
    z = tf.constant([-1e-5, 0.0, 1e-5])
    x = mixtures.quantile(z, mixture).numpy()
    assert -50.0 < x[0] < -49.9 < x[1] < 49.9 < x[2] < 50.0


@pytest.mark.slow
def test_the_gradient_of_a_quantile_is_that_of_the_implicit_function():
    z, raw = random(5, seed=1), [random(5, 3, seed=2 + i) for i in range(3)]

    def x_of(z, raw):
        return mixtures.quantile(z, mixtures.mixture(*raw))

    with tf.GradientTape() as tape:
        tape.watch([z, raw])
        x = x_of(z, raw)
    gradients = tape.gradient(x, [z, *raw])
    sources, step = [z, *raw], 1e-6
    for i, gradient in enumerate(gradients):
        direction = random(*sources[i].shape, seed=20 + i)
        ends = []
        for sign in (1.0, -1.0):
            moved = [s + sign * step * direction if j == i else s for j, s in enumerate(sources)]
            ends.append(x_of(moved[0], moved[1:]))
        slope = (ends[0] - ends[1]) / (2.0 * step)
        expected = tf.reduce_sum(tf.reshape(gradient * direction, (5, -1)), axis=1)
        np.testing.assert_allclose(slope, expected, rtol=1e-6, atol=1e-8)


def test_parameters_that_are_no_numbers_have_no_quantile():
    good = some(2)
    means = tf.constant([[math.nan, 0.0, 0.0], [0.0, 0.0, 0.0]], tf.float64)
    x = mixtures.quantile(tf.zeros(2, tf.float64), good._replace(means=means))
    assert np.isnan(x).tolist() == [True, False]


@pytest.mark.parametrize("log_scale", [-7.0, 0.0, 9.0])
def test_masses_of_bins_sum_to_one(log_scale):
    edges = tf.constant((np.arange(256) - 0.5) / 127.5 - 1.0)
    components = mixtures.mixture(
        *(tf.fill((256, 2), v) for v in map(tf.constant, (0.0, 0.3, log_scale)))
    )
    components = mixtures.Mixture(*(tf.cast(part, tf.float64) for part in components))
    levels = tf.range(256)
    masses = mixtures.log_masses(edges, 1 / 127.5, (levels == 0, levels == 255), components)
    assert masses.shape == (256, 2) and np.isfinite(masses).all()
    np.testing.assert_allclose(tf.reduce_sum(tf.exp(masses), axis=0), 1.0, rtol=1e-12, atol=1e-14)
    if log_scale == 0.0:
        cdf = stats.logistic.cdf(edges.numpy(), np.float32(0.3))
        np.testing.assert_allclose(np.exp(masses[:, 0]), np.diff([0.0, *cdf[1:], 1.0]), rtol=1e-9)
