"""Noise beside the data."""

from typing import Any

import keras
import tensorflow as tf

from keras_flows import checks
from keras_flows.bases import StandardNormal
from keras_flows.noise import Noise, require
from keras_flows.numerics.events import event_size
from keras_flows.transforms.base import Transform


@keras.saving.register_keras_serializable("keras_flows")
class AppendNoise(Transform):
    """`z = concat(x, e)` with e standard normal: so many more channels.

    `log_det = -ln N(e; 0, I)`, and log_prob is a lower bound on that of x. Decoding drops e: it
    inverts encoding for every e, but not the other way round, so this is no bijection. Input
    `(batch, …, channels)`, output `(batch, …, channels + extra)`.

    Source: Huang et al. 2020, *Augmented Normalizing Flows*, section 3.

    Args:
        extra: Number of channels.

    Raises:
        ValueError: If that is no positive integer.
    """

    likelihood = "lower_bound"
    bijective = False

    def __init__(self, extra: int, **kwargs: Any):
        super().__init__(**kwargs)
        checks.count(extra, "extra")
        self.extra = extra
        self.base = StandardNormal(dtype=self.dtype_policy)

    def encoded_shape(self, event_shape: tuple[int, ...]) -> tuple[int, ...]:
        *positions, channels = event_shape
        return (*positions, channels + self.extra)

    def noise_size(self, direction: str) -> int:
        if direction == "decode":
            return 0
        return event_size((*self.event_shape[:-1], self.extra))

    def encode(
        self,
        x: tf.Tensor,
        context: tf.Tensor | None = None,
        noise: Noise | None = None,
        training: bool = False,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        noise = require(noise, self)
        e = noise.normal(tf.shape(x)[0], (*x.shape[1:-1], self.extra), x.dtype)
        u, log_q = self.appended(x, e, training)
        return tf.concat([x, u], axis=-1), -log_q

    def appended(self, x: tf.Tensor, e: tf.Tensor, training: bool) -> tuple[tf.Tensor, tf.Tensor]:
        """What e becomes beside x, and its log-density given x, `(batch,)`: here e itself."""
        return e, self.base.log_prob(e)

    def decode(
        self, z: tf.Tensor, context: tf.Tensor | None = None, noise: Noise | None = None
    ) -> tf.Tensor:
        return z[..., : -self.extra]

    def get_config(self) -> dict:
        return {**super().get_config(), "extra": self.extra}
