"""The residual block of convolutions inside couplings of images."""

from typing import Any

import keras
import tensorflow as tf

from keras_flows.layers.coupling.convolution import convolution


@keras.saving.register_keras_serializable("keras_flows")
class ResidualConvolution(keras.layers.Layer):
    """`x + B relu(A relu(x))`, with 3×3 convolutions A and B that keep the number of channels.

    A block of a `CouplingNetwork`, which with such blocks is the network of a spline coupling on
    images. Input and output `(batch, height, width, channels)`.

    Sources: He et al. 2016, *Identity Mappings in Deep Residual Networks*; Durkan et al. 2019,
    *Neural Spline Flows*, appendix B, without their batch normalisation and dropout.

    >>> blocks = [ResidualConvolution(), ResidualConvolution()]
    >>> network = kf.layers.CouplingNetwork(2 * map.parameters, 64, blocks)
    """

    def build(self, input_shape: tuple) -> None:
        channels = input_shape[-1]
        self.inner = convolution(channels, 3, self.dtype_policy)
        self.outer = convolution(channels, 3, self.dtype_policy)
        for conv in (self.inner, self.outer):
            conv.build(input_shape)
        self.built = True

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return x + self.outer(tf.nn.relu(self.inner(tf.nn.relu(x))))

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        return super().get_config()
