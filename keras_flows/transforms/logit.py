"""The logit of data in [0, 1]."""

from typing import Any

import keras
import tensorflow as tf

from keras_flows import checks
from keras_flows.noise import Noise
from keras_flows.numerics.events import sum_event
from keras_flows.transforms.base import Transform


@keras.saving.register_keras_serializable("keras_flows")
class Logit(Transform):
    """`z = ln s - ln(1 - s)` with `s = alpha + (1 - 2 alpha) x`, for x in [0, 1].

    `log_det = sum (ln(1 - 2 alpha) - ln s - ln(1 - s))`. Shapes are kept; an x for which s is
    outside (0, 1) gives NaN.

    Source: Dinh et al. 2017, *Density Estimation using Real NVP*, section 4.1.

    Args:
        alpha: In [0, 1/2): how far the ends are kept from 0 and 1.
    """

    def __init__(self, alpha: float = 0.05, **kwargs: Any):
        super().__init__(**kwargs)
        checks.number(alpha, "alpha", 0.0, 0.5 - checks.EPSILON, "in [0, 0.5)")
        self.alpha = alpha

    def encode(
        self,
        x: tf.Tensor,
        context: tf.Tensor | None = None,
        noise: Noise | None = None,
        training: bool = False,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        s = self.alpha + (1.0 - 2.0 * self.alpha) * x
        log_s, log_rest = tf.math.log(s), tf.math.log(1.0 - s)
        slope = tf.math.log(tf.constant(1.0 - 2.0 * self.alpha, x.dtype))
        return log_s - log_rest, sum_event(slope - log_s - log_rest)

    def decode(
        self, z: tf.Tensor, context: tf.Tensor | None = None, noise: Noise | None = None
    ) -> tf.Tensor:
        return (tf.sigmoid(z) - self.alpha) / (1.0 - 2.0 * self.alpha)

    def get_config(self) -> dict:
        return {**super().get_config(), "alpha": self.alpha}
