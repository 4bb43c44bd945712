"""Columns of numbers on a circle."""

from typing import Self

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from keras_flows import checks
from keras_flows.transforms.columns.base import TINY, ColumnMap, where_inside


@keras.saving.register_keras_serializable("keras_flows")
class PeriodicColumn(ColumnMap):
    """A number on a circle, which is cut open at one place: `z = ln a - ln(period - a)`.

    `a = (x - cut) mod period`, and `ln dz/dx = ln(period) - ln a - ln(period - a)`. Numbers that
    differ by the period have the same density, which is one on the circle: it integrates to one
    over a period. At the cut it is 0, and log_prob is -inf: cut where there are no data, with
    `between`. Decoding gives numbers from the cut to the cut plus the period.

    Args:
        period: The circumference, positive.
        cut: Where the circle is cut.

    Raises:
        ValueError: If the period is not positive, or the cut is not finite.
    """

    def __init__(self, period: float, cut: float = 0.0):
        checks.positive(period, "period")
        checks.number(cut, "cut", -checks.LARGE, checks.LARGE, "a finite number")
        self.period, self.cut = float(period), float(cut)

    @classmethod
    def between(cls, values: ArrayLike, period: float) -> Self:
        """A map that is cut in the middle of the largest gap between values.

        Args:
            values: Array `(n,)`, of at least one finite number.
            period: See the class.

        Raises:
            ValueError: If the values or the period do not fit.
        """
        checks.positive(period, "period")
        given = np.asarray(values, "float64")
        if given.ndim != 1 or not len(given) or not np.isfinite(given).all():
            raise ValueError(
                f"values must be finite numbers, an array (n,); got the shape {given.shape}."
            )
        places = np.unique(given % period)
        gaps = np.diff(np.append(places, places[0] + period))
        widest = gaps.argmax()
        return cls(period, float((places[widest] + 0.5 * gaps[widest]) % period))

    def encode(self, x: tf.Tensor, u: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        a = tf.math.floormod(x - self.cut, self.period)
        inside = (a >= TINY) & (a < self.period)
        a = tf.where(inside, a, tf.constant(0.5 * self.period, x.dtype))
        up, down = tf.math.log(a), tf.math.log(self.period - a)
        size = tf.math.log(tf.constant(self.period, x.dtype))
        return up - down, where_inside(inside, size - up - down)

    def decode(self, z: tf.Tensor) -> tf.Tensor:
        return self.cut + self.period * tf.sigmoid(z)

    def get_config(self) -> dict:
        return {"period": self.period, "cut": self.cut}
