"""From integers to continuous numbers."""

from typing import Any

import keras
import tensorflow as tf

from keras_flows import checks
from keras_flows.noise import Noise, require
from keras_flows.numerics.events import event_size
from keras_flows.transforms.base import Transform


@keras.saving.register_keras_serializable("keras_flows")
class UniformDequantization(Transform):
    """`z = (x + u) / 2^bits` with `u ~ U[0, 1)`, for integers x from 0 to `2^bits - 1`.

    `log_det = -D bits ln 2`. The log_prob is then a lower bound on the log-probability of the
    integers. Decoding takes the floor: it inverts encoding for every u, but not the other way
    round, so this is not a bijection. Shapes are kept.

    Source: Theis et al. 2016, *A Note on the Evaluation of Generative Models*, section 3.1.

    Args:
        bits: Number of bits of an integer.
    """

    likelihood = "lower_bound"
    dequantizes = True
    bijective = False

    def __init__(self, bits: int = 8, **kwargs: Any):
        super().__init__(**kwargs)
        checks.bits(bits)
        self.bits = bits

    def noise_size(self, direction: str) -> int:
        return event_size(self.event_shape) if direction == "encode" else 0

    def encode(
        self,
        x: tf.Tensor,
        context: tf.Tensor | None = None,
        noise: Noise | None = None,
        training: bool = False,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        noise = require(noise, self)
        shape = tf.shape(x)
        u = noise.uniform(shape[0], x.shape[1:], x.dtype)
        log_det = -event_size(self.event_shape) * tf.math.log(tf.constant(2.0**self.bits, x.dtype))
        return (check_integers(x, self.bits) + u) / 2.0**self.bits, tf.fill(shape[:1], log_det)

    def decode(
        self, z: tf.Tensor, context: tf.Tensor | None = None, noise: Noise | None = None
    ) -> tf.Tensor:
        return to_integers(z, self.bits)

    def get_config(self) -> dict:
        return {**super().get_config(), "bits": self.bits}


def check_integers(x: tf.Tensor, bits: int) -> tf.Tensor:
    """x, with NaN, which becomes an error, in place of anything but an integer in range."""
    valid = (x == tf.floor(x)) & (x >= 0.0) & (x < 2.0**bits)
    return tf.where(valid, x, tf.constant(float("nan"), x.dtype))


def to_integers(z: tf.Tensor, bits: int) -> tf.Tensor:
    """`floor(2^bits z)`, brought into the range of the integers."""
    return tf.clip_by_value(tf.floor(z * 2.0**bits), 0.0, 2.0**bits - 1.0)
