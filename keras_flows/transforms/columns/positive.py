"""Columns of numbers above 0."""

import keras
import tensorflow as tf

from keras_flows import checks
from keras_flows.transforms.columns.base import TINY, ColumnMap, where_inside


@keras.saving.register_keras_serializable("keras_flows")
class PositiveColumn(ColumnMap):
    """A number above 0: `z = ln x`, `ln dz/dx = -ln x`.

    Numbers below the smallest normal one of float32, 1.2e-38, count as 0.
    """

    def encode(self, x: tf.Tensor, u: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        inside = x >= TINY
        z = tf.math.log(tf.where(inside, x, tf.ones_like(x)))
        return z, where_inside(inside, -z)

    def decode(self, z: tf.Tensor) -> tf.Tensor:
        return tf.exp(z)


@keras.saving.register_keras_serializable("keras_flows")
class SoftplusColumn(ColumnMap):
    """A number above 0: `x = scale softplus(z / scale)`, a logarithm near 0 and the identity far.

    `z = x + scale ln(1 - exp(-x / scale))`, and `ln dz/dx = -ln(1 - exp(-x / scale))`. For columns
    with values near 0 whose large values are not spread over several orders of magnitude.

    Args:
        scale: Where one becomes the other, positive, in the unit of the column.

    Raises:
        ValueError: If the scale is not positive.
    """

    def __init__(self, scale: float = 1.0):
        checks.positive(scale, "scale")
        self.scale = float(scale)

    def encode(self, x: tf.Tensor, u: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        inside = x >= TINY
        y = tf.where(inside, x, tf.ones_like(x)) / self.scale
        # ln(1 - exp(-y)), near 0 as ln y - y / 2 + y^2 / 24, which loses no digits there.
        small = y < 0.1
        below, above = tf.minimum(y, 0.1), tf.maximum(y, 0.1)
        series = tf.math.log(below) - below / 2.0 + below**2 / 24.0 - below**4 / 2880.0
        log_rest = tf.where(small, series, tf.math.log(1.0 - tf.exp(-above)))
        return self.scale * (y + log_rest), where_inside(inside, -log_rest)

    def decode(self, z: tf.Tensor) -> tf.Tensor:
        return self.scale * tf.nn.softplus(z / self.scale)

    def get_config(self) -> dict:
        return {"scale": self.scale}
