"""Base densities."""

import math

import keras
import tensorflow as tf

from keras_flows.transforms.base import sum_event


@keras.saving.register_keras_serializable("keras_flows")
class StandardNormal(keras.layers.Layer):
    """`N(0, I)` over the event: `ln p(z) = -(|z|^2 + D ln 2 pi) / 2`."""

    def log_prob(self, z):
        """Log-density in nats: `(batch, *event_shape)` to `(batch,)`."""
        return -0.5 * sum_event(tf.square(z) + math.log(2.0 * math.pi))

    def sample(self, batch, event_shape, noise, temperature, dtype):
        """Draws of shape `(batch, *event_shape)`, their deviation scaled by the temperature."""
        return temperature * noise.normal(batch, event_shape, dtype)
