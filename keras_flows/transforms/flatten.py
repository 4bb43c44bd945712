"""From images to vectors."""

import keras

from keras_flows.numerics.events import event_size, reshape_events, zeros_per_example
from keras_flows.transforms.base import Transform


@keras.saving.register_keras_serializable("keras_flows")
class Flatten(Transform):
    """The event as a vector, its last axis varying fastest; `log_det = 0`.

    Input `(batch, height, width, channels)` or any other shape, output `(batch, size)`.
    """

    def encoded_shape(self, event_shape):
        return (event_size(event_shape),)

    def encode(self, x, context=None, noise=None, training=False):
        return reshape_events(x, (event_size(self.event_shape),)), zeros_per_example(x)

    def decode(self, z, context=None, noise=None):
        return reshape_events(z, self.event_shape)
