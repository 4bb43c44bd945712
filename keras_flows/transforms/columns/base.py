"""The contract of a column map."""

import math

import keras
import numpy as np
import tensorflow as tf

from keras_flows.numerics.configured import Configured

# The smallest number that float32 computes with everywhere: some processors take others for 0.
TINY = float(np.finfo("float32").tiny)


class ColumnMap(Configured):
    """A monotone map of the values that a column of a table can have to all real numbers.

    A column on a circle may have angles instead. An object with a configuration, without weights.

    Attributes:
        draws: Whether encoding takes a uniform random number for each value.
    """

    draws = False

    def encode(self, x: tf.Tensor, u: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        """Data to latent.

        Args:
            x: Tensor `(batch, columns)`, of one column or several of the same kind.
            u: Of that shape, in [0, 1); None for a map that does not draw.

        Returns:
            `(z, log_derivative)`, both of the shape of x: the image, and `ln dz/dx`, which is -inf
            where x is no value of such a column; z is finite there too.
        """
        raise NotImplementedError

    def decode(self, z: tf.Tensor) -> tf.Tensor:
        """Latent to data: the x of which z is the image."""
        raise NotImplementedError


@keras.saving.register_keras_serializable("keras_flows")
class RealColumn(ColumnMap):
    """Any number, as it is: `z = x`."""

    def encode(self, x: tf.Tensor, u: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        return x, tf.zeros_like(x)

    def decode(self, z: tf.Tensor) -> tf.Tensor:
        return z


def where_inside(inside: tf.Tensor, log_derivative: tf.Tensor) -> tf.Tensor:
    """A log-derivative, and -inf outside: what a row out of bounds has as its log_prob."""
    return tf.where(inside, log_derivative, tf.constant(-math.inf, log_derivative.dtype))
