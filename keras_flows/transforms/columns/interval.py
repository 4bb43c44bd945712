"""Columns of numbers between two bounds."""

import keras
import numpy as np
import tensorflow as tf

from keras_flows import checks
from keras_flows.transforms.columns.base import TINY, ColumnMap, where_inside


@keras.saving.register_keras_serializable("keras_flows")
class IntervalColumn(ColumnMap):
    """A number in the open interval (low, high): `z = ln(x - low) - ln(high - x)`.

    `ln dz/dx = ln(high - low) - ln(x - low) - ln(high - x)`. A z so far out that its x would round
    to a bound decodes to the number next to it, inside.

    Args:
        low: The lower bound.
        high: The upper bound.

    Raises:
        ValueError: If the bounds are not finite, or do not rise.
    """

    def __init__(self, low: float, high: float):
        for value, name in ((low, "low"), (high, "high")):
            checks.number(value, name, -checks.LARGE, checks.LARGE, "a finite number")
        if not low < high:
            raise ValueError(f"The bounds of an interval must rise; got ({low:g}, {high:g}).")
        self.low, self.high = float(low), float(high)

    def encode(self, x: tf.Tensor, u: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        inside = (x - self.low >= TINY) & (self.high - x >= TINY)
        middle = tf.constant(0.5 * self.low + 0.5 * self.high, x.dtype)
        inner = tf.where(inside, x, middle)
        up, down = tf.math.log(inner - self.low), tf.math.log(self.high - inner)
        size = tf.math.log(tf.constant(self.high - self.low, x.dtype))
        return up - down, where_inside(inside, size - up - down)

    def decode(self, z: tf.Tensor) -> tf.Tensor:
        # From the nearer bound, so that what is near it keeps its digits.
        size = self.high - self.low
        x = tf.where(z < 0.0, self.low + size * tf.sigmoid(z), self.high - size * tf.sigmoid(-z))
        low, high = (np.asarray(end, z.dtype.as_numpy_dtype) for end in (self.low, self.high))
        step = low.dtype.type(TINY)
        least = np.maximum(np.nextafter(low, high), low + step)
        most = np.minimum(np.nextafter(high, low), high - step)
        return tf.clip_by_value(x, least, most)

    def get_config(self) -> dict:
        return {"low": self.low, "high": self.high}
