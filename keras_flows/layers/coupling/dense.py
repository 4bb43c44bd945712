"""Matrices as the networks inside flows on vectors use them."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_flows.layers.coupling.masked_start import masked_start

_START = {
    "uniform": lambda: keras.initializers.VarianceScaling(1.0 / 3.0, "fan_in", "uniform"),
    "small": lambda: keras.initializers.RandomUniform(-1e-3, 1e-3),
    "zeros": keras.initializers.Zeros,
}


class Linear(keras.layers.Dense):
    """`x W + b`, or `x (W * mask) + b` with a mask of zeros and ones; b starts at zero.

    Args:
        units: Size of the output.
        start: How the weights start: `"uniform"`, in `±1 / sqrt(inputs)`; `"small"`, in ±0.001; or
            `"zeros"`.
        mask: Array `(inputs, units)`, or None.
    """

    def __init__(
        self, units: int, start: str = "uniform", mask: np.ndarray | None = None, **kwargs: Any
    ):
        super().__init__(units, kernel_initializer=masked_start(_START[start](), mask), **kwargs)
        self.mask = mask

    def build(self, input_shape: tuple) -> None:
        super().build(input_shape)
        # All of it is masked where a feature is the only one: there is nothing to train.
        self.kernel.trainable = self.mask is None or bool(self.mask.any())

    def call(self, x: tf.Tensor) -> tf.Tensor:
        # Not by Keras, whose BiasAdd makes TensorFlow's optimizer fail on what residual networks
        # are made of, and warn of it.
        kernel, bias = tf.cast(self.kernel, x.dtype), tf.cast(self.bias, x.dtype)
        if self.mask is not None:
            kernel *= tf.constant(self.mask, x.dtype)
        return tf.matmul(x, kernel) + bias
