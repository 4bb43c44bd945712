"""Space to depth."""

from typing import Any

import keras
import tensorflow as tf

from keras_flows import checks
from keras_flows.noise import Noise
from keras_flows.numerics.events import reshape_events, zeros_per_example
from keras_flows.transforms.base import Transform


@keras.saving.register_keras_serializable("keras_flows")
class Squeeze(Transform):
    """Moves squares of pixels into channels; `log_det = 0`.

    `z[y, x, (c * factor + dy) * factor + dx] = x[y * factor + dy, x * factor + dx, c]`: the input
    channel varies slowest (other libraries let it vary fastest). Input `(batch, height, width,
    channels)`, output `(batch, height / factor, width / factor, channels * factor^2)`.

    Source: Dinh et al. 2017, *Density Estimation using Real NVP*, section 3.6.

    Args:
        factor: Side of the squares, at least 2.

    Raises:
        ValueError: If the height or width is not divisible by the factor.
    """

    def __init__(self, factor: int = 2, **kwargs: Any):
        super().__init__(**kwargs)
        checks.count(factor, "factor")
        if factor == 1:
            raise ValueError(f"factor must be at least 2; got {factor}.")
        self.factor = factor

    def encoded_shape(self, event_shape: tuple[int, ...]) -> tuple[int, ...]:
        event_shape = tuple(event_shape)
        if len(event_shape) != 3:
            raise ValueError(f"Squeeze takes images (height, width, channels); got {event_shape}.")
        height, width, channels = event_shape
        if height % self.factor or width % self.factor:
            raise ValueError(
                f"Squeeze needs a height and width divisible by {self.factor}; got {event_shape}."
            )
        return height // self.factor, width // self.factor, channels * self.factor**2

    def build(self, input_shape: tuple) -> None:
        self.encoded_shape(input_shape[1:])  # raises where the shape does not fit
        super().build(input_shape)

    def encode(
        self,
        x: tf.Tensor,
        context: tf.Tensor | None = None,
        noise: Noise | None = None,
        training: bool = False,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        height, width, channels = self.encoded_shape(x.shape[1:])
        size = self.factor
        z = reshape_events(x, (height, size, width, size, x.shape[-1]))
        z = tf.transpose(z, (0, 1, 3, 5, 2, 4))
        return reshape_events(z, (height, width, channels)), zeros_per_example(x)

    def decode(
        self, z: tf.Tensor, context: tf.Tensor | None = None, noise: Noise | None = None
    ) -> tf.Tensor:
        height, width, channels = z.shape[1:]
        size = self.factor
        x = reshape_events(z, (height, width, channels // size**2, size, size))
        x = tf.transpose(x, (0, 1, 4, 2, 5, 3))
        return reshape_events(x, (height * size, width * size, channels // size**2))

    def get_config(self) -> dict:
        return {**super().get_config(), "factor": self.factor}
