"""The step between two scales, after which half of the numbers are done."""

from typing import Any

import keras
import tensorflow as tf

from keras_flows.bases import StandardNormal
from keras_flows.noise import Noise, require
from keras_flows.numerics.events import event_size
from keras_flows.transforms.base import Transform
from keras_flows.transforms.squeeze import Squeeze


@keras.saving.register_keras_serializable("keras_flows")
class SqueezeAndDrop(Transform):
    """Squeezes 2×2 pixels into channels, and scores the second half of them as standard normal.

    `z` is the first half and `log_det = ln N(second half; 0, I)`. Decoding draws the second half,
    so it does not give back what was encoded, and this is no bijection; the log_prob of a flow
    with it is exact all the same. Input `(batch, height, width, channels)`, output
    `(batch, height / 2, width / 2, 2 channels)`.

    Source: Dinh et al. 2017, *Density Estimation using Real NVP*, section 3.6.

    Raises:
        ValueError: If the height or width is odd.
    """

    bijective = False

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self.squeeze = Squeeze(2, dtype=self.dtype_policy)
        self.base = StandardNormal(dtype=self.dtype_policy)

    def encoded_shape(self, event_shape: tuple[int, ...]) -> tuple[int, ...]:
        height, width, channels = self.squeeze.encoded_shape(event_shape)
        return height, width, channels // 2

    def build(self, input_shape: tuple) -> None:
        self.squeeze.build(input_shape)
        super().build(input_shape)

    def noise_size(self, direction: str) -> int:
        return event_size(self.event_shape) // 2 if direction == "decode" else 0

    def encode(
        self,
        x: tf.Tensor,
        context: tf.Tensor | None = None,
        noise: Noise | None = None,
        training: bool = False,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        squeezed, _ = self.squeeze.encode(x)
        kept, dropped = tf.split(squeezed, 2, axis=-1)
        return kept, self.base.log_prob(dropped)

    def decode(
        self, z: tf.Tensor, context: tf.Tensor | None = None, noise: Noise | None = None
    ) -> tf.Tensor:
        noise = require(noise, self, "decode")
        dropped = noise.normal(tf.shape(z)[0], z.shape[1:], z.dtype)
        return self.squeeze.decode(tf.concat([z, dropped], axis=-1))
