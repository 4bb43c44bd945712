"""Columns of integers."""

import keras
import tensorflow as tf

from keras_flows.transforms.columns.base import ColumnMap, where_inside


@keras.saving.register_keras_serializable("keras_flows")
class IntegerColumn(ColumnMap):
    """An integer, dequantized: `z = x + u` with `u ~ U[0, 1)`, `ln dz/dx = 0`.

    The log_prob of a flow is then a lower bound on that of the integer, in expectation. Decoding
    takes the floor. A number that is no integer has a log_prob of -inf.

    Source: Theis et al. 2016, *A Note on the Evaluation of Generative Models*, section 3.1.
    """

    draws = True

    def encode(self, x: tf.Tensor, u: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        return x + u, where_inside(x == tf.floor(x), tf.zeros_like(x))

    def decode(self, z: tf.Tensor) -> tf.Tensor:
        return tf.floor(z)
