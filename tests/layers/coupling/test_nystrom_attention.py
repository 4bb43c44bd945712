"""Nyström attention: both layouts against NumPy, and the exact attention it approximates."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.special import softmax

from keras_flows import layers
from keras_flows.layers.coupling.nystrom_attention import pseudo_inverse
from tests.derivatives import random


def made(*arguments, shape=(4, 6, 5), **keywords):
    keras.utils.set_random_seed(0)
    layer = layers.NystromAttention(*arguments, **keywords, dtype="float64")
    layer.build((None, *shape))
    layer.qkv.kernel.assign(3.0 * layer.qkv.kernel)
    layer.qkv.bias.assign(random(*layer.qkv.bias.shape, seed=3))
    return layer


def inverse(k):
    v = k.T / (np.abs(k).sum(axis=0).max() * np.abs(k).sum(axis=1).max())
    one = np.eye(len(k))
    for _ in range(6):
        v = 0.25 * v @ (13 * one - k @ v @ (15 * one - k @ v @ (7 * one - k @ v)))
    return v


def published(layer, x):
    """One image, channels first: the words of the paper's models, one head."""
    _, height, width = x.shape
    tokens, size = height * width, layer.embedding
    kernel = layer.qkv.kernel.numpy()[0, 0]
    qkv = np.einsum("chw,cd->dhw", x, kernel) + layer.qkv.bias.numpy()[:, None, None]
    q, k, v = np.split(qkv.reshape(tokens, 3 * size), 3, axis=1)
    groups = (layer.landmarks, tokens // layer.landmarks, size)
    qm, km = (a.reshape(groups).mean(axis=1) / np.sqrt(tokens) for a in (q, k))
    k1, k2, k3 = (softmax(a @ b.T, axis=0) for a, b in ((q, km), (qm, km), (qm, k)))
    y = (k1 @ inverse(k2) @ (k3 @ v) + v).reshape(size, height, width)
    kernel = layer.output_conv.kernel.numpy()[0, 0]
    return np.einsum("chw,cd->dhw", y, kernel) + layer.output_conv.bias.numpy()[:, None, None]


def proper(layer, x):
    """One image, channels last."""
    height, width, _ = x.shape
    tokens, size = height * width, layer.embedding // layer.heads
    qkv = x @ layer.qkv.kernel.numpy()[0, 0] + layer.qkv.bias.numpy()
    q, k, v = np.split(qkv.reshape(tokens, -1), 3, axis=1)
    heads = []
    for i in range(layer.heads):
        own = slice(i * size, (i + 1) * size)
        qi, ki, vi = q[:, own] / np.sqrt(size), k[:, own], v[:, own]
        groups = (layer.landmarks, tokens // layer.landmarks, size)
        qm, km = (a.reshape(groups).mean(axis=1) for a in (qi, ki))
        k1, k2, k3 = (softmax(a @ b.T, axis=1) for a, b in ((qi, km), (qm, km), (qm, ki)))
        heads.append(k1 @ inverse(k2) @ (k3 @ vi) + vi)
    y = np.concatenate(heads, axis=1).reshape(height, width, -1)
    return y @ layer.output_conv.kernel.numpy()[0, 0] + layer.output_conv.bias.numpy()


@pytest.mark.parametrize("landmarks", [1, 2, 3, 4, 8, 24])
def test_published_layout(landmarks):
    layer, x = made(4, landmarks, "published"), random(3, 4, 6, 5)
    expected = [published(layer, np.moveaxis(one, -1, 0)) for one in x.numpy()]
    expected = np.moveaxis(np.stack(expected), 1, -1)
    np.testing.assert_allclose(layer(x), expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("heads", [1, 2, 4])
@pytest.mark.parametrize("landmarks", [1, 3, 24])
def test_proper_layout(heads, landmarks):
    layer, x = made(4, landmarks, "proper", heads), random(3, 4, 6, 5)
    expected = [proper(layer, one) for one in x.numpy()]
    np.testing.assert_allclose(layer(x), expected, rtol=1e-9, atol=1e-10)


def test_a_landmark_for_every_token_is_attention_without_approximation():
    layer, x = made(4, 6, "proper", shape=(2, 3, 5)), random(2, 2, 3, 5)
    layer.qkv.kernel.assign(5.0 * layer.qkv.kernel)  # a kernel far from singular
    qkv = np.reshape(layer.qkv(x), (2, 6, 3, 4))
    q, k, v = qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2]
    weights = softmax(np.einsum("bqe,bke->bqk", q, k) / 2.0, axis=-1)
    got = layer._attend(*(tf.constant(a)[:, None] for a in (q, k, v)))[:, 0]
    np.testing.assert_allclose(got, weights @ v + v, atol=2e-2)


def test_a_published_model_permutes_no_pixels_and_a_proper_one_may():
    # Tokens of the proper layout are pixels: with one landmark, permuting them permutes the output.
    x, order = random(2, 4, 6, 5), np.random.default_rng(0).permutation(24)

    def permuted(x):
        return tf.reshape(tf.gather(tf.reshape(x, (2, 24, 5)), order, axis=1), (2, 4, 6, 5))

    layer = made(4, 1, "proper")
    np.testing.assert_allclose(layer(permuted(x)), permuted(layer(x)), atol=1e-12)
    layer = made(4, 1, "published")
    assert np.abs(layer(permuted(x)) - permuted(layer(x))).max() > 1e-3


def test_pseudo_inverse():
    rng = np.random.default_rng(0)
    k = softmax(3.0 * np.eye(4) + rng.standard_normal((5, 4, 4)), axis=-1)
    result = pseudo_inverse(tf.constant(k))
    np.testing.assert_allclose(result, [inverse(one) for one in k], rtol=1e-10)
    np.testing.assert_allclose(result, np.linalg.pinv(k), atol=1e-3)


def test_every_example_by_itself():
    # The scale of the pseudo-inverse is that of an example, not of the batch.
    for layout in ("published", "proper"):
        layer, x = made(4, 4, layout), random(3, 4, 6, 5)
        np.testing.assert_allclose(layer(x)[1:2], layer(x[1:2]), rtol=1e-12)


def test_errors():
    with pytest.raises(
        ValueError,
        match=r"divide the 7×7 = 49 positions; got 4\. Possible are 1, 7, 49\.",
    ):
        layers.NystromAttention(4, 4).build((None, 7, 7, 8))
    with pytest.raises(ValueError, match="'published' or 'proper'; got 'pixels'"):
        layers.NystromAttention(4, 4, "pixels")
    with pytest.raises(ValueError, match="4 is not divisible by 3"):
        layers.NystromAttention(4, 4, heads=3)
    with pytest.raises(ValueError, match="landmarks must be an integer, at least 1; got 0"):
        layers.NystromAttention(4, 0)


def test_configuration():
    layer = made(4, 3, "published", 2)
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    copy.set_weights(layer.get_weights())
    np.testing.assert_array_equal(copy(random(2, 4, 6, 5)), layer(random(2, 4, 6, 5)))
