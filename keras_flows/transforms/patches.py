"""From images to tokens."""

from typing import Any

import keras
import tensorflow as tf

from keras_flows import checks
from keras_flows.noise import Noise
from keras_flows.numerics.events import reshape_events, zeros_per_example
from keras_flows.transforms.base import Transform
from keras_flows.transforms.squeeze import Squeeze


@keras.saving.register_keras_serializable("keras_flows")
class Patches(Transform):
    """Squares of pixels as tokens, row by row; `log_det = 0`.

    Of a token the channel of the image varies slowest, then the row in the square. Input
    `(batch, height, width, channels)`, output
    `(batch, height width / side^2, side^2 channels)`.

    Source: Zhai et al. 2024, *Normalizing Flows are Capable Generative Models*.

    Args:
        side: Of the squares, at least 1.

    Raises:
        ValueError: If the height or width is not divisible by it.
    """

    def __init__(self, side: int = 2, **kwargs: Any):
        super().__init__(**kwargs)
        checks.count(side, "side")
        self.side = side
        self.squeeze = None if side == 1 else Squeeze(side, dtype=self.dtype_policy)

    def encoded_shape(self, event_shape: tuple[int, ...]) -> tuple[int, ...]:
        if len(event_shape) != 3:
            raise ValueError(f"Patches are of images (height, width, channels); got {event_shape}.")
        if self.squeeze is not None:
            event_shape = self.squeeze.encoded_shape(event_shape)
        height, width, channels = event_shape
        return height * width, channels

    def build(self, input_shape: tuple) -> None:
        self.encoded_shape(tuple(input_shape[1:]))  # raises where the shape does not fit
        super().build(input_shape)

    def encode(
        self,
        x: tf.Tensor,
        context: tf.Tensor | None = None,
        noise: Noise | None = None,
        training: bool = False,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        squeezed = x if self.squeeze is None else self.squeeze.encode(x)[0]
        return reshape_events(squeezed, self.encoded_shape(self.event_shape)), zeros_per_example(x)

    def decode(
        self, z: tf.Tensor, context: tf.Tensor | None = None, noise: Noise | None = None
    ) -> tf.Tensor:
        if self.squeeze is None:
            return reshape_events(z, self.event_shape)
        shape = self.squeeze.encoded_shape(self.event_shape)
        return self.squeeze.decode(reshape_events(z, shape))

    def get_config(self) -> dict:
        return {**super().get_config(), "side": self.side}
