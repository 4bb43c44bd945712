"""The gated dense blocks, against NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_flows import layers
from tests.derivatives import random


def pixelwise(conv, x):
    """A 1×1 convolution in NumPy."""
    return x @ conv.kernel.numpy()[0, 0] + conv.bias.numpy()


def three(conv, x):
    """A 3×3 convolution in NumPy, zeros around the image."""
    height, width = x.shape[1:3]
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    kernel = conv.kernel.numpy()
    return conv.bias.numpy() + sum(
        padded[:, dy : dy + height, dx : dx + width] @ kernel[dy, dx]
        for dy in range(3)
        for dx in range(3)
    )


def gated(layer, x):
    a, b, c = np.split(pixelwise(layer.conv, x), 3, axis=-1)
    return a + b / (1.0 + np.exp(-c))


def dense(layer, x):
    for narrow, wide in layer.pairs:
        new = three(wide, np.maximum(pixelwise(narrow, x), 0.0))
        x = np.concatenate([x, np.maximum(new, 0.0)], axis=-1)
    return gated(layer.gate, x)


def made(layer, shape=(3, 4, 5)):
    layer.build((None, *shape))
    rng = np.random.default_rng(1)
    for weight in layer.trainable_weights:
        weight.assign_add(0.3 * rng.standard_normal(weight.shape))
    return layer


X = random(2, 3, 4, 5)


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (layers.GatedConv1x1(3, dtype="float64"), gated),
        (layers.GatedDenseBlock(6, 3, 2, dtype="float64"), dense),
        (
            layers.ResidualDenseBlock(2, 3, dtype="float64"),
            lambda layer, x: x + dense(layer.dense, x),
        ),
    ],
    ids=["gated", "dense", "residual"],
)
def test_values(layer, expected):
    made(layer)
    y = layer(X)
    np.testing.assert_allclose(y, expected(layer, X.numpy()), rtol=1e-12, atol=1e-12)
    assert tuple(y.shape) == layer.compute_output_shape(X.shape)
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    copy.set_weights(layer.get_weights())
    np.testing.assert_array_equal(copy(X), y)


def test_the_published_dense_block_has_as_many_parameters_as_counted_by_hand():
    layer = layers.GatedDenseBlock(48, 7, 64)
    layer.build((None, 4, 4, 48))
    count = 0
    for i in range(7):
        channels = 48 + 64 * i
        count += channels * channels + channels + 9 * channels * 64 + 64
    count += (48 + 64 * 7) * 3 * 48 + 3 * 48
    assert layer.count_params() == count


def test_kernels_start_within_their_bound():
    layer = layers.GatedDenseBlock(8, 1, 40)
    layer.build((None, 4, 4, 30))
    kernel = tf.convert_to_tensor(layer.pairs[0][1].kernel).numpy()
    bound = 1.0 / np.sqrt(9 * 30)
    assert 0.98 * bound < np.abs(kernel).max() <= bound
    np.testing.assert_array_equal(layer.pairs[0][1].bias, 0.0)


def test_errors():
    with pytest.raises(ValueError, match="filters must be an integer, at least 1; got 0"):
        layers.GatedConv1x1(0)
    with pytest.raises(ValueError, match="depth must be an integer, at least 1; got 0"):
        layers.GatedDenseBlock(4, 0, 3)
    with pytest.raises(ValueError, match=r"growth must be an integer, at least 1; got 1\.5"):
        layers.GatedDenseBlock(4, 2, 1.5)
