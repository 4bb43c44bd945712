"""The contract of dequantizations by a trained conditional flow."""

import math
from typing import Any

import tensorflow as tf

from keras_flows import checks
from keras_flows.bases import Base
from keras_flows.noise import Noise, require
from keras_flows.numerics.events import event_size
from keras_flows.transforms.base import Transform
from keras_flows.transforms.dequantization import check_integers, to_integers
from keras_flows.transforms.sigmoid import Sigmoid


class FlowDequantization(Transform):
    """`z = (x + u) / 2^bits` with `u ~ q(u | x)`, for integers x from 0 to `2^bits - 1`.

    `log_det = -ln q(u | x) - D bits ln 2`, and the log_prob is a lower bound on that of the
    integers: q is a flow from noise e to u = σ(v), which sees a map of the image. Decoding takes
    the floor, so this is no bijection. Shapes `(batch, height, width, channels)` are kept.

    A subclass has a `base`, the density of e, and implements `see` and `from_noise`.

    Source: Ho et al. 2019, *Flow++*, section 3.1.

    Args:
        bits: Number of bits of an integer.
    """

    likelihood = "lower_bound"
    dequantizes = True
    bijective = False
    base: Base

    def __init__(self, bits: int = 8, **kwargs: Any):
        super().__init__(**kwargs)
        checks.bits(bits)
        self.bits = bits
        self.sigmoid = Sigmoid(dtype=self.dtype_policy)

    def noise_size(self, direction: str) -> int:
        return event_size(self.event_shape) if direction == "encode" else 0

    def noise_shape(self, event_shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of e, of so many numbers as the event has."""
        return event_shape

    def see(self, x: tf.Tensor) -> tf.Tensor:
        """The map of the integers that the flow sees."""
        raise NotImplementedError

    def from_noise(
        self, e: tf.Tensor, seen: tf.Tensor, training: bool
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """From e to v, of the shape of the event, and the log-det of that."""
        raise NotImplementedError

    def encode(
        self,
        x: tf.Tensor,
        context: tf.Tensor | None = None,
        noise: Noise | None = None,
        training: bool = False,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        noise = require(noise, self)
        x = check_integers(x, self.bits)
        shape = self.noise_shape(tuple(x.shape[1:]))
        e = self.base.sample(tf.shape(x)[0], shape, noise, 1.0, x.dtype)
        v, log_det = self.from_noise(e, self.see(x), training)
        u, sigmoid_log_det = self.sigmoid.encode(v)
        log_q = self.base.log_prob(e) - log_det - sigmoid_log_det
        constant = event_size(self.event_shape) * self.bits * math.log(2.0)
        return (x + u) / 2.0**self.bits, -log_q - constant

    def decode(
        self, z: tf.Tensor, context: tf.Tensor | None = None, noise: Noise | None = None
    ) -> tf.Tensor:
        return to_integers(z, self.bits)

    def get_config(self) -> dict:
        return {**super().get_config(), "bits": self.bits}
