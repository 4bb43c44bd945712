"""The dense + attention block and the network around it."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_flows import layers
from tests.derivatives import random


def block(attention="proper", shape=(4, 4, 6), **arguments):
    keras.utils.set_random_seed(0)
    layer = layers.DenseAttentionBlock(2, 3, attention, **arguments, dtype="float64")
    layer.build((None, *shape))
    layer.norm.gamma.assign(1.0 + 0.3 * random(*layer.norm.gamma.shape, seed=1))
    layer.norm.beta.assign(0.3 * random(*layer.norm.beta.shape, seed=2))
    return layer


@pytest.mark.parametrize("attention", ["published", "proper", None])
def test_the_block_is_its_parts(attention):
    layer, x = block(attention), random(3, 4, 4, 6)
    both = layer.dense(x)
    if attention is not None:
        assert layer.attention.layout == attention
        both = np.concatenate([layer.attention(x), both], axis=-1)
    both = np.asarray(both)

    def rest(y, mean, variance):
        gamma, beta = layer.norm.gamma.numpy(), layer.norm.beta.numpy()
        y = gamma * (y - mean) / np.sqrt(variance + 1e-5) + beta
        return np.maximum(y, 0.0) @ layer.mix.kernel.numpy()[0, 0]

    np.testing.assert_allclose(layer(x), rest(both, 0.0, 1.0), rtol=1e-9, atol=1e-12)
    # In training, the statistics of the batch; afterwards, a tenth of them.
    mean, variance = both.mean(axis=(0, 1, 2)), both.var(axis=(0, 1, 2))
    y = layer(x, training=True)
    np.testing.assert_allclose(y, rest(both, mean, variance), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(layer.norm.moving_mean, 0.1 * mean, rtol=1e-9)
    moving = 0.9 + 0.1 * np.reshape(both, (48, -1)).var(axis=0, ddof=1)
    y = rest(both, 0.1 * mean, moving)
    np.testing.assert_allclose(layer(x), y, rtol=1e-9, atol=1e-12)
    assert layer.mix.use_bias is False


def test_the_network_starts_at_zero():
    net = layers.CouplingNetwork(8, 6, [layers.DenseAttentionBlock(2, 3)])
    net.build((None, 4, 4, 5))
    y = net(tf.ones((2, 4, 4, 5)))
    assert y.shape == (2, 4, 4, 8) == net.compute_output_shape((2, 4, 4, 5))
    np.testing.assert_array_equal(y, 0.0)


def test_a_context_is_concatenated_at_every_position():
    net = layers.CouplingNetwork(8, 6, [block()], context_size=2, dtype="float64")
    net.build((None, 4, 4, 5))
    net.last.kernel.assign(random(*net.last.kernel.shape, seed=3))
    x, vector = random(3, 4, 4, 5), random(3, 2, seed=4)
    same = tf.broadcast_to(vector[:, None, None], (3, 4, 4, 2))
    np.testing.assert_array_equal(net(x, vector), net(x, same))
    plain = layers.CouplingNetwork(8, 6, net.blocks, dtype="float64")
    plain.build((None, 4, 4, 7))
    plain.set_weights(net.get_weights())
    np.testing.assert_array_equal(net(x, same), plain(tf.concat([x, same], axis=-1)))
    assert np.abs(net(x, vector) - net(x, -vector)).max() > 1e-3


def test_configuration():
    net = layers.CouplingNetwork(
        8, 6, [block("published", landmarks=8, heads=3)], context_size=2, dtype="float64"
    )
    net.build((None, 4, 4, 5))
    net.last.kernel.assign(random(*net.last.kernel.shape, seed=3))
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(net))
    assert copy.get_config() == net.get_config()
    copy.set_weights(net.get_weights())
    x, context = random(3, 4, 4, 5), random(3, 2)
    np.testing.assert_array_equal(copy(x, context), net(x, context))


def test_attention_in_an_odd_number_of_channels_embeds_in_half_rounded_down():
    layer = block("published", (4, 4, 5))
    assert layer.attention.embedding == 2 and layer.attention.qkv.filters == 6
    assert layer(random(3, 4, 4, 5)).shape == (3, 4, 4, 5)


def test_errors():
    with pytest.raises(ValueError, match=r"half of the channels, .* two or more; got 1"):
        layers.DenseAttentionBlock(2, 3).build((None, 4, 4, 1))
    with pytest.raises(ValueError, match="width must be an integer, at least 1; got 0"):
        layers.CouplingNetwork(8, 0, [])
    net = layers.CouplingNetwork(8, 6, [], context_size=2)
    net.build((None, 4, 4, 5))
    with pytest.raises(ValueError, match="needs a context of 2 channels"):
        net(tf.zeros((1, 4, 4, 5)))
