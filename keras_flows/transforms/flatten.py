"""From images to vectors."""

import keras
import tensorflow as tf

from keras_flows.noise import Noise
from keras_flows.numerics.events import event_size, reshape_events, zeros_per_example
from keras_flows.transforms.base import Transform


@keras.saving.register_keras_serializable("keras_flows")
class Flatten(Transform):
    """The event as a vector, its last axis varying fastest; `log_det = 0`.

    Input `(batch, height, width, channels)` or any other shape, output `(batch, size)`.
    """

    def encoded_shape(self, event_shape: tuple[int, ...]) -> tuple[int, ...]:
        return (event_size(event_shape),)

    def encode(
        self,
        x: tf.Tensor,
        context: tf.Tensor | None = None,
        noise: Noise | None = None,
        training: bool = False,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        return reshape_events(x, (event_size(self.event_shape),)), zeros_per_example(x)

    def decode(
        self, z: tf.Tensor, context: tf.Tensor | None = None, noise: Noise | None = None
    ) -> tf.Tensor:
        return reshape_events(z, self.event_shape)
