"""Columns of numbers on a circle, as angles."""

import math

import keras
import tensorflow as tf

from keras_flows import checks
from keras_flows.transforms.columns.base import ColumnMap


@keras.saving.register_keras_serializable("keras_flows")
class CircleColumn(ColumnMap):
    """A number on a circle, as an angle: `z = 2 pi ((x - start) mod period) / period - pi`.

    `ln dz/dx = ln(2 pi / period)`. The angle is in `[-pi, pi]`, and the steps behind it have to be
    on the circle too, as those of a `SplineFlow` with `circles` are: for other flows take
    `PeriodicColumn`. Numbers that differ by the period have the same density, which is one on the
    circle, without a cut. Decoding gives numbers from the start to the start plus the period.

    Args:
        period: The circumference, positive.
        start: Where the numbers begin that are decoded.

    Raises:
        ValueError: If the period is not positive, or the start is not finite.
    """

    def __init__(self, period: float, start: float = 0.0):
        checks.positive(period, "period")
        checks.number(start, "start", -checks.LARGE, checks.LARGE, "a finite number")
        self.period, self.start = float(period), float(start)

    def encode(self, x: tf.Tensor, u: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        share = tf.math.floormod(x - self.start, self.period) / self.period
        log_derivative = math.log(2.0 * math.pi) - math.log(self.period)
        return 2.0 * math.pi * share - math.pi, tf.zeros_like(x) + log_derivative

    def decode(self, z: tf.Tensor) -> tf.Tensor:
        share = tf.math.floormod(z + math.pi, 2.0 * math.pi) / (2.0 * math.pi)
        return self.start + self.period * share

    def get_config(self) -> dict:
        return {"period": self.period, "start": self.start}
