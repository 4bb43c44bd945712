"""Noise beside an image, from a flow that sees the image."""

from typing import Any

import keras
import tensorflow as tf

from keras_flows import checks
from keras_flows.bases import StandardNormal
from keras_flows.models.flowpp.conditional_noise import ConditionalNoise
from keras_flows.noise import Noise, require
from keras_flows.numerics.events import event_size, sum_event
from keras_flows.transforms.base import Transform


@keras.saving.register_keras_serializable("keras_flows")
class Augmentation(Transform):
    """`z = concat(x, u)` with `u ~ q(u | x)` in (0, 1): so many more channels of an image.

    `log_det = -ln q(u | x)`, and log_prob is a lower bound on that of x. q is a flow from standard
    normal noise by couplings of Flow++, which see x. Decoding drops u, so this is no bijection.
    Input `(batch, height, width, channels)`, output `(batch, height, width, channels + extra)`.

    Source: Chen et al. 2020, *VFlow: More Expressive Generative Flows with Variational Data
    Augmentation*.

    Args:
        extra: Number of channels.
        couplings: See `keras_flows.models.flowpp.FlowPlusPlusDequantization`.
        width: See there.
        blocks: See there.
        components: See there.
        heads: See there.
        context: See there.

    Raises:
        ValueError: If the width of the image is odd, or an argument is out of its range.
    """

    likelihood = "lower_bound"
    bijective = False

    def __init__(
        self,
        extra: int = 3,
        couplings: int = 4,
        width: int = 96,
        blocks: int = 3,
        components: int = 32,
        heads: int = 4,
        context: int = 32,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        checks.count(extra, "extra")
        self.extra, self.couplings, self.context = extra, couplings, context
        self.sizes = {"width": width, "blocks": blocks, "components": components, "heads": heads}
        self.base = StandardNormal(dtype=self.dtype_policy)
        self.flow = ConditionalNoise(extra, couplings, self.sizes, context, dtype=self.dtype_policy)

    def build(self, input_shape: tuple) -> None:
        self.flow.build(input_shape)
        super().build(input_shape)

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
        v, log_det = self.flow(e, self.flow.see(x), training=training)
        # With the log-det of the sigmoid.
        slope = -sum_event(tf.nn.softplus(v) + tf.nn.softplus(-v))
        log_q = self.base.log_prob(e) - log_det - slope
        return tf.concat([x, tf.sigmoid(v)], axis=-1), -log_q

    def decode(
        self, z: tf.Tensor, context: tf.Tensor | None = None, noise: Noise | None = None
    ) -> tf.Tensor:
        return z[..., : -self.extra]

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "extra": self.extra,
            "couplings": self.couplings,
            **self.sizes,
            "context": self.context,
        }
