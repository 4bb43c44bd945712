"""Batch normalisation against Keras' own, and where it differs."""

import keras
import numpy as np
import tensorflow as tf

from keras_flows.layers import BatchNorm
from tests.derivatives import random


def both(dtype="float64"):
    mine, theirs = (
        BatchNorm(momentum=0.9, epsilon=1e-5, dtype=dtype),
        keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, dtype=dtype),
    )
    for layer in (mine, theirs):
        layer.build((None, 3, 4, 5))
        layer.gamma.assign(1.0 + 0.3 * random(5, seed=1))
        layer.beta.assign(random(5, seed=2))
    return mine, theirs


def test_values_gradients_and_averages_are_those_of_keras():
    (mine, theirs), variance = both(), np.ones(5)
    for i in range(3):
        x, weights = 2.0 * random(6, 3, 4, 5, seed=i) + 1.0, random(6, 3, 4, 5, seed=9)
        results = []
        for layer in (mine, theirs):
            before = layer(x)
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = layer(x, training=True)
                total = tf.reduce_sum(weights * y)
            gradients = tape.gradient(total, [x, layer.gamma.value, layer.beta.value])
            results.append([before, y, *gradients, layer.moving_mean.numpy()])
        for one, other in zip(*results, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-8, atol=1e-10)
        # The unbiased variance of 72 positions.
        variance = 0.9 * variance + 0.1 * np.var(x, axis=(0, 1, 2), ddof=1)
        np.testing.assert_allclose(mine.moving_variance, variance, rtol=1e-12)
        theirs.moving_variance.assign(mine.moving_variance)


def test_a_batch_with_a_nan_moves_nothing():
    layer, _ = both("float32")
    x = random(6, 3, 4, 5).numpy().astype("float32")
    layer(x, training=True)
    before = layer.get_weights()
    x[2, 1, 1, 1] = np.nan
    assert np.isnan(layer(x, training=True)).any()
    for old, new in zip(before, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert np.any(before[2] != 0.0)


def test_one_number_a_channel():
    layer = BatchNorm(momentum=0.9)
    layer.build((None, 1, 1, 2))
    y = layer(tf.ones((1, 1, 1, 2)), training=True)
    np.testing.assert_array_equal(y, np.zeros((1, 1, 1, 2)))
    np.testing.assert_allclose(layer.moving_variance, 0.9, rtol=1e-6)


def test_statistics_of_a_half_precision_network_are_single():
    layer = BatchNorm(momentum=0.9, dtype="mixed_bfloat16")
    layer.build((None, 4, 4, 2))
    x = random(50, 4, 4, 2).numpy() * 3.0 + 100.0
    y = layer(x, training=True)
    assert y.dtype == "bfloat16"
    assert {weight.dtype for weight in layer.weights} == {"float32"}
    np.testing.assert_allclose(layer.moving_mean, 10.0, rtol=1e-2)


def test_configuration():
    layer = BatchNorm(momentum=0.5, epsilon=0.1)
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert (copy.momentum, copy.epsilon) == (0.5, 0.1)
    x = random(4, 2, 2, 3)
    layer(x, training=True)
    np.testing.assert_allclose(layer.moving_mean, 0.5 * np.mean(x, axis=(0, 1, 2)), rtol=1e-5)
