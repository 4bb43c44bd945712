"""The density of the last latent of Glow."""

import keras
import numpy as np
import tensorflow as tf

from keras_flows.layers.coupling.padded_convolution import ZeroConv
from keras_flows.noise import Noise
from keras_flows.numerics.events import reshape_events, sum_event
from keras_flows.transforms.base import Transform
from keras_flows.transforms.maps import NormalMap


@keras.saving.register_keras_serializable("keras_flows")
class TopPrior(Transform):
    """`z = (x - mean) exp(-s)`, mean and s trained, and of a pixel by where the image ends.

    They are what a `ZeroConv` makes of an image that is 1 around the data and 0 where these are.
    `log_det = -sum s`. Input and output `(batch, height, width, channels)`.

    Source: Kingma & Dhariwal 2018, *Glow*, and its published code, where it is the base density, of
    a convolution that sees channels of zeros besides.
    """

    map = NormalMap()

    def build(self, input_shape: tuple) -> None:
        _, height, width, channels = input_shape
        self.conv = ZeroConv(2 * channels, (3, 3), ((0, 0), (0, 0)), dtype=self.dtype_policy)
        self.conv.build((1, height + 2, width + 2, 1))
        super().build(input_shape)

    def _parameters(self, x):
        ring = np.pad(np.zeros(x.shape[1:3]), 1, constant_values=1.0)
        made = self.conv(tf.constant(ring[None, :, :, None], x.dtype))
        parameters = reshape_events(made, (*x.shape[1:], 2))
        return tf.broadcast_to(parameters, tf.concat([tf.shape(x), [2]], axis=0))

    def encode(
        self,
        x: tf.Tensor,
        context: tf.Tensor | None = None,
        noise: Noise | None = None,
        training: bool = False,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        z, log_slope = self.map.encode(x, self._parameters(x))
        return z, sum_event(log_slope)

    def decode(
        self, z: tf.Tensor, context: tf.Tensor | None = None, noise: Noise | None = None
    ) -> tf.Tensor:
        return self.map.decode(z, self._parameters(z))
