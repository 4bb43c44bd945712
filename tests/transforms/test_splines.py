"""Spline maps: what their parameters mean, their ends, far inputs."""

import math

import numpy as np
import pytest
import tensorflow as tf

from keras_flows.transforms.maps import BoundedSplineMap, PeriodicSplineMap, SplineMap


def numbers(*shape, seed=0, scale=1.5):
    return tf.constant(scale * np.random.default_rng(seed).standard_normal(shape))


def derivative(map, x, parameters):
    with tf.GradientTape() as tape:
        tape.watch(x)
        z, _ = map.encode(x, parameters)
    return tape.gradient(z, x)


MAPS = {
    "linear": (SplineMap(6, 3.0), -5.0, 5.0),
    "one_bin": (SplineMap(1, 3.0), -5.0, 5.0),
    "periodic": (PeriodicSplineMap(6, 3.0), -20.0, 20.0),
    "bounded": (BoundedSplineMap(6, (-2.0, 1.0), (0.5, 7.0)), -1.9999, 0.9999),
}


@pytest.mark.parametrize("name", MAPS)
def test_the_log_derivative_and_the_inverse(name):
    map, low, high = MAPS[name]
    x = tf.constant(np.random.default_rng(1).uniform(low, high, 2000))
    parameters = numbers(2000, map.parameters)
    z, log_derivative = map.encode(x, parameters)
    np.testing.assert_allclose(
        log_derivative, np.log(derivative(map, x, parameters)), rtol=1e-9, atol=1e-9
    )
    np.testing.assert_allclose(map.decode(z, parameters), x, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("scale", [1.0, 10.0, 1e3])
def test_in_float32_what_is_decoded_has_the_value_asked_for(scale):
    # In flat bins x is ill-conditioned, and its image is not.
    map = SplineMap(8, 5.0)
    x = np.random.default_rng(1).uniform(-5.0, 5.0, 5000)
    parameters = tf.cast(numbers(5000, map.parameters, scale=scale), "float32")
    z, _ = map.encode(tf.constant(x, "float32"), parameters)
    decoded = map.decode(z, parameters)
    assert np.abs(decoded).max() <= 5.0 + 1e-6
    np.testing.assert_allclose(map.encode(decoded, parameters)[0], z, atol=2e-4)


@pytest.mark.parametrize("name", ["linear", "periodic"])
def test_no_parameters_make_the_identity(name):
    map, low, high = MAPS[name]
    x = tf.constant(np.linspace(low, high, 101))
    z, log_derivative = map.encode(x, tf.zeros((101, map.parameters), tf.float64))
    np.testing.assert_allclose(z, x, atol=1e-14)
    np.testing.assert_allclose(log_derivative, np.zeros(101), atol=1e-14)


def test_the_tails_are_the_identity_and_join_smoothly():
    map, parameters = SplineMap(5, 3.0), numbers(1, 14)
    x = tf.constant([-1e6, -3.0 - 1e-9, 3.0 + 1e-9, 1e6], tf.float64)
    z, log_derivative = map.encode(x, tf.repeat(parameters, 4, axis=0))
    np.testing.assert_array_equal(z, x)
    np.testing.assert_array_equal(log_derivative, np.zeros(4))
    x = tf.constant([-3.0, -3.0 + 1e-9, 3.0 - 1e-9, 3.0], tf.float64)
    z, log_derivative = map.encode(x, tf.repeat(parameters, 4, axis=0))
    np.testing.assert_allclose(z, x, atol=1e-8)
    np.testing.assert_allclose(log_derivative, np.zeros(4), atol=1e-6)


def test_a_circle_is_kept_and_closed():
    map = PeriodicSplineMap(5, 3.0)
    parameters = tf.repeat(numbers(1, 15), 50, axis=0)
    x = tf.constant(np.linspace(-3.0, 2.99, 50))
    z, log_derivative = map.encode(x, parameters)
    for turns in (-2.0, 1.0, 40.0):
        moved, log_moved = map.encode(x + 6.0 * turns, parameters)
        np.testing.assert_allclose(moved, z + 6.0 * turns, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(log_moved, log_derivative, rtol=1e-7, atol=1e-9)
    # Over the end: no jump, neither of the map nor of its slope.
    z, log_derivative = map.encode(
        tf.constant([3.0 - 1e-9, 3.0 + 1e-9], tf.float64), parameters[:2]
    )
    np.testing.assert_allclose(z[0], z[1], atol=1e-7)
    np.testing.assert_allclose(log_derivative[0], log_derivative[1], atol=1e-6)


def test_out_of_an_interval():
    map = BoundedSplineMap(4, (-2.0, 1.0), (0.5, 7.0))
    parameters = tf.repeat(numbers(1, 13), 4, axis=0)
    z, log_derivative = map.encode(tf.constant([-2.1, -2.0, 1.0, 1e6], tf.float64), parameters)
    np.testing.assert_allclose(z, [0.5, 0.5, 7.0, 7.0], atol=1e-12)
    assert np.isinf(log_derivative).tolist() == [True, False, False, True]
    assert np.max(log_derivative[::3]) == -math.inf
    x = map.decode(tf.constant([0.4, 0.5, 7.0, 7.1], tf.float64), parameters)
    np.testing.assert_allclose(x, [np.nan, -2.0, 1.0, np.nan], atol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", MAPS)
def test_far_inputs_and_parameters_stay_finite(name, dtype):
    map, _, _ = MAPS[name]
    x = tf.constant(np.tile([-1e6, -3.0, -1.0, 0.0, 0.5, 1.0, 3.0, 1e6], 8), dtype)
    parameters = tf.cast(numbers(64, map.parameters, scale=1e6), dtype)
    for direction in (lambda: map.encode(x, parameters)[0], lambda: map.decode(x, parameters)):
        with tf.GradientTape() as tape:
            tape.watch([x, parameters])
            made = direction()
            total = tf.reduce_sum(tf.where(tf.math.is_nan(made), tf.zeros_like(made), made))
        for gradient in tape.gradient(total, [x, parameters]):
            assert np.isfinite(gradient).all()
    inside = ~np.isinf(map.encode(x, parameters)[1])
    assert inside.any() and not np.isnan(map.encode(x, parameters)[1]).any()
    with tf.GradientTape() as tape:
        tape.watch([x, parameters])
        log_derivative = tf.boolean_mask(map.encode(x, parameters)[1], inside)
    for gradient in tape.gradient(log_derivative, [x, parameters]):
        assert np.isfinite(gradient).all()


def test_wrong_arguments_are_errors():
    for make in (SplineMap, PeriodicSplineMap):
        with pytest.raises(ValueError, match="bound must be a positive number; got 0"):
            make(4, 0)
        with pytest.raises(ValueError, match="bins must be an integer, at least 1; got 0"):
            make(0)
        with pytest.raises(ValueError, match="there can be fewer than 1000 bins; got 1000"):
            make(1000)
    with pytest.raises(ValueError, match=r"domain must rise from low to high; got \(1, 0\)"):
        BoundedSplineMap(4, (1, 0))
    with pytest.raises(ValueError, match="image must be a pair of numbers"):
        BoundedSplineMap(4, image=3.0)
    with pytest.raises(ValueError, match="Each end of domain must be a finite number; got inf"):
        BoundedSplineMap(4, (0.0, math.inf))
