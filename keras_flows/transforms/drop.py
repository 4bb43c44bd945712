"""Channels that leave a flow as noise."""

from typing import Any

import keras
import tensorflow as tf

from keras_flows import checks
from keras_flows.bases import StandardNormal
from keras_flows.noise import Noise, require
from keras_flows.numerics.events import event_size
from keras_flows.transforms.base import Transform


@keras.saving.register_keras_serializable("keras_flows")
class Drop(Transform):
    """Keeps the first channels, and scores the others as standard normal.

    `z` is what is kept and `log_det = ln N(the others; 0, I)`. Decoding draws the others, so it
    does not give back what was encoded, and this is no bijection; the log_prob of a flow with it is
    exact all the same. Input `(batch, …, channels)`, output `(batch, …, keep)`.

    Source: Nielsen et al. 2020, *SurVAE Flows*, section 3 (tensor slicing).

    Args:
        keep: How many channels are kept.

    Raises:
        ValueError: If keep is no positive integer, or no channel is left to drop.
    """

    bijective = False

    def __init__(self, keep: int, **kwargs: Any):
        super().__init__(**kwargs)
        checks.count(keep, "keep")
        self.keep = keep
        self.base = StandardNormal(dtype=self.dtype_policy)

    def encoded_shape(self, event_shape: tuple[int, ...]) -> tuple[int, ...]:
        *positions, channels = event_shape
        if channels <= self.keep:
            raise ValueError(
                f"This step keeps {self.keep} channels and drops others; got {channels} channels."
            )
        return (*positions, self.keep)

    def build(self, input_shape: tuple) -> None:
        self.encoded_shape(tuple(input_shape[1:]))  # raises where the shape does not fit
        super().build(input_shape)

    def noise_size(self, direction: str) -> int:
        if direction == "encode":
            return 0
        return event_size(self.event_shape) - event_size(self.encoded_shape(self.event_shape))

    def encode(
        self,
        x: tf.Tensor,
        context: tf.Tensor | None = None,
        noise: Noise | None = None,
        training: bool = False,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        return x[..., : self.keep], self.base.log_prob(x[..., self.keep :])

    def decode(
        self, z: tf.Tensor, context: tf.Tensor | None = None, noise: Noise | None = None
    ) -> tf.Tensor:
        noise = require(noise, self, "decode")
        *positions, channels = self.event_shape
        shape = (*positions, channels - self.keep)
        return tf.concat([z, noise.normal(tf.shape(z)[0], shape, z.dtype)], axis=-1)

    def get_config(self) -> dict:
        return {**super().get_config(), "keep": self.keep}
