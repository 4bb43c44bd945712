"""Base densities."""

import math

import keras
import tensorflow as tf

from keras_flows.noise import Noise
from keras_flows.numerics.events import sum_event


class Base(keras.layers.Layer):
    """A density on latents, with `log_prob` and `sample`; as a Keras layer, it is its log_prob."""

    def log_prob(self, z: tf.Tensor) -> tf.Tensor:
        """Log-density in nats: `(batch, *event_shape)` to `(batch,)`."""
        raise NotImplementedError

    def standardized(self, z: tf.Tensor) -> tf.Tensor:
        """The e, of the shape of z, that is standard normal where z is of this density."""
        raise NotImplementedError

    def sample(
        self,
        batch: int | tf.Tensor,
        event_shape: tuple[int, ...],
        noise: Noise,
        temperature: float | tf.Tensor,
        dtype: str,
    ) -> tf.Tensor:
        """Draws of shape `(batch, *event_shape)`, their deviation scaled by the temperature."""
        raise NotImplementedError

    def call(self, z: tf.Tensor) -> tf.Tensor:
        return self.log_prob(z)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (input_shape[0],)

    def get_config(self) -> dict:
        # Overridden, or Keras would record the constructor's arguments, a dtype policy among them.
        return super().get_config()


@keras.saving.register_keras_serializable("keras_flows")
class StandardNormal(Base):
    """`N(0, I)` over the event: `ln p(z) = -(|z|^2 + D ln 2 pi) / 2`."""

    def standardized(self, z: tf.Tensor) -> tf.Tensor:
        """The e that is standard normal where z is of this density: z itself."""
        return z

    def log_prob(self, z: tf.Tensor) -> tf.Tensor:
        """Log-density in nats: `(batch, *event_shape)` to `(batch,)`."""
        return -0.5 * sum_event(tf.square(z) + math.log(2.0 * math.pi))

    def sample(
        self,
        batch: int | tf.Tensor,
        event_shape: tuple[int, ...],
        noise: Noise,
        temperature: float | tf.Tensor,
        dtype: str,
    ) -> tf.Tensor:
        """Draws of shape `(batch, *event_shape)`, their deviation scaled by the temperature."""
        return temperature * noise.normal(batch, event_shape, dtype)


@keras.saving.register_keras_serializable("keras_flows")
class ChannelNormal(Base):
    """A normal density with a trained location and scale per channel.

    `z = loc + exp(log_scale) e` with `e ~ N(0, I)`, the same at all positions, and
    `ln p(z) = -sum((e^2 + ln 2 pi) / 2 + log_scale)`. It starts as the standard normal.

    Source: Grcić et al. 2021, *Densely connected normalizing flows*, and its published models.
    """

    def build(self, input_shape: tuple) -> None:
        channels = (input_shape[-1],)
        self.loc = self.add_weight(name="loc", shape=channels, initializer="zeros")
        self.log_scale = self.add_weight(name="log_scale", shape=channels, initializer="zeros")
        self.built = True

    def standardized(self, z: tf.Tensor) -> tf.Tensor:
        """The e, of the shape of z, that is standard normal where z is of this density."""
        return (z - self.loc) * tf.exp(-tf.convert_to_tensor(self.log_scale))

    def log_prob(self, z: tf.Tensor) -> tf.Tensor:
        """Log-density in nats: `(batch, *event_shape)` to `(batch,)`."""
        log_scale = tf.convert_to_tensor(self.log_scale)
        e = self.standardized(z)
        return -sum_event(0.5 * (tf.square(e) + math.log(2.0 * math.pi)) + log_scale)

    def sample(
        self,
        batch: int | tf.Tensor,
        event_shape: tuple[int, ...],
        noise: Noise,
        temperature: float | tf.Tensor,
        dtype: str,
    ) -> tf.Tensor:
        """Draws of shape `(batch, *event_shape)`, their deviation scaled by the temperature."""
        e = noise.normal(batch, event_shape, dtype)
        return self.loc + temperature * tf.exp(tf.convert_to_tensor(self.log_scale)) * e
