"""Couplings of a mask, a network and a map."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_flows.transforms import AffineCoupling, Coupling
from keras_flows.transforms.maps import AffineMap, ElementwiseMap
from keras_flows.transforms.masks import ChannelHalves
from tests.derivatives import random


@keras.saving.register_keras_serializable("tests")
class Fixed(keras.layers.Layer):
    """A network that makes the same channels for every input: 0, 0.1, 0.2, …"""

    def __init__(self, channels, **kwargs):
        super().__init__(**kwargs)
        self.channels = channels

    def call(self, x, context=None, training=False):
        made = 0.1 * tf.range(self.channels, dtype=x.dtype)
        return tf.broadcast_to(made, tf.concat([tf.shape(x)[:-1], [self.channels]], axis=0))

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.channels)

    def get_config(self):
        return {**super().get_config(), "channels": self.channels}


class Cubic(ElementwiseMap):
    """`z = (x + p)^3`, with one parameter."""

    parameters = 1

    def encode(self, x, parameters):
        y = x + parameters[..., 0]
        return y**3, tf.math.log(3.0 * y**2)

    def decode(self, z, parameters):
        return tf.sign(z) * tf.abs(z) ** (1 / 3) - parameters[..., 0]


def test_a_map_of_ones_own_is_all_it_takes():
    coupling = Coupling(ChannelHalves(), Fixed(2), Cubic())
    x = tf.constant([[1.0, 2.0, 3.0, 4.0]])
    coupling.build((None, 4))
    z, log_det = coupling.encode(x)
    np.testing.assert_allclose(z, [[1.0, 2.0, 27.0, 4.1**3]], rtol=1e-6)
    np.testing.assert_allclose(log_det, [np.log(3 * 9) + np.log(3 * 4.1**2)], rtol=1e-6)
    np.testing.assert_allclose(coupling.decode(z), x, rtol=1e-6)


def test_parameter_k_of_channel_j_is_what_the_network_makes_last():
    # Of five channels three pass; of the two others, the raw scales are 0 and 0.2.
    coupling = Coupling(ChannelHalves(), Fixed(4), AffineMap(bound=2.0))
    coupling.build((None, 3, 5))
    x = tf.cast(random(1, 3, 5), "float32")
    z, log_det = coupling.encode(x)
    s = 2.0 * np.tanh(np.array([0.0, 0.2]) / 2.0)
    np.testing.assert_array_equal(z[..., :3], x[..., :3])
    np.testing.assert_allclose(z[..., 3:], [0.1, 0.3] + np.exp(s) * x[..., 3:], rtol=1e-5)
    np.testing.assert_allclose(log_det, [3 * s.sum()], rtol=1e-5)


def test_the_affine_coupling_is_one_by_its_old_name():
    old, new = AffineCoupling(Fixed(4)), Coupling(ChannelHalves(), Fixed(4), AffineMap())
    x = tf.cast(random(3, 4), "float32")
    for one in (old, new):
        one.build((None, 4))
    for a, b in zip(old.encode(x), new.encode(x), strict=True):
        np.testing.assert_array_equal(a, b)
    assert old.network is old.net
    config = keras.saving.serialize_keras_object(old)
    assert set(config["config"]) >= {"net"}
    assert isinstance(keras.saving.deserialize_keras_object(config), AffineCoupling)


def test_the_parts_survive_json():
    coupling = Coupling(ChannelHalves(), Fixed(4), AffineMap(1.5))
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(coupling)))
    again = keras.saving.deserialize_keras_object(config)
    assert again.map.bound == 1.5 and isinstance(again.mask, ChannelHalves)


@pytest.mark.parametrize("bound", [0.0, -1.0, float("nan")])
def test_a_bound_that_is_none(bound):
    with pytest.raises(ValueError, match="bound must be a positive number"):
        AffineMap(bound)


def test_parts_of_another_kind_are_refused():
    with pytest.raises(ValueError, match=r"mask must be a keras_flows\.transforms\.masks"):
        Coupling("halves", Fixed(4), AffineMap())
    with pytest.raises(ValueError, match=r"map must be a keras_flows\.transforms\.maps"):
        Coupling(ChannelHalves(), Fixed(4), "affine")
    with pytest.raises(ValueError, match="network must be a"):
        Coupling(ChannelHalves(), lambda x: x, AffineMap())


def test_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match=r"must make the shape \(4,\): 2 channels for each"):
        Coupling(ChannelHalves(), Fixed(3), AffineMap()).build((None, 4))
    with pytest.raises(ValueError, match="at least two channels; got 1"):
        Coupling(ChannelHalves(), Fixed(2), AffineMap()).build((None, 1))
