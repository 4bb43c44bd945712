"""Base densities."""

import math
from collections.abc import Iterable
from typing import Any

import keras
import tensorflow as tf

from keras_flows import checks
from keras_flows.noise import Noise
from keras_flows.numerics.angles import wrapped
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


class Independent(Base):
    """A density under which the numbers of a latent are independent; a subclass has their terms."""

    def terms(self, z: tf.Tensor) -> tf.Tensor:
        """The log-density of every number, nats, of the shape of z; they sum to log_prob."""
        raise NotImplementedError

    def log_prob(self, z: tf.Tensor) -> tf.Tensor:
        """Log-density in nats: `(batch, *event_shape)` to `(batch,)`."""
        return sum_event(self.terms(z))


@keras.saving.register_keras_serializable("keras_flows")
class StandardNormal(Independent):
    """`N(0, I)` over the event: `ln p(z) = -(|z|^2 + D ln 2 pi) / 2`."""

    def standardized(self, z: tf.Tensor) -> tf.Tensor:
        """The e that is standard normal where z is of this density: z itself."""
        return z

    def terms(self, z: tf.Tensor) -> tf.Tensor:
        """The log-density of every number, nats, of the shape of z; they sum to log_prob."""
        return _normal_terms(z)

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
class StandardLogistic(Independent):
    """Independent logistic numbers: `ln p(z) = sum (ln σ(z) + ln σ(-z))`, σ the sigmoid.

    `σ(z)` is uniform: with a `keras_flows.transforms.maps.LogisticMixtureMap` before it, log_prob
    is that of the mixture.
    """

    def standardized(self, z: tf.Tensor) -> tf.Tensor:
        """The e that is standard normal where z is of this density: `Φ^-1(σ(z))`."""
        # By the smaller tail, which rounds to no 1.
        return tf.sign(z) * -tf.math.ndtri(tf.sigmoid(-tf.abs(z)))

    def terms(self, z: tf.Tensor) -> tf.Tensor:
        """The log-density of every number, nats, of the shape of z; they sum to log_prob."""
        return -tf.nn.softplus(z) - tf.nn.softplus(-z)

    def sample(
        self,
        batch: int | tf.Tensor,
        event_shape: tuple[int, ...],
        noise: Noise,
        temperature: float | tf.Tensor,
        dtype: str,
    ) -> tf.Tensor:
        """Draws of shape `(batch, *event_shape)`, their deviation scaled by the temperature."""
        u = noise.uniform(batch, event_shape, dtype)
        # A uniform number may be 0, and has no more digits than the smallest step above it.
        u = tf.maximum(u, 2.0**-26)
        return temperature * (tf.math.log(u) - tf.math.log1p(-u))


@keras.saving.register_keras_serializable("keras_flows")
class ChannelNormal(Independent):
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

    def terms(self, z: tf.Tensor) -> tf.Tensor:
        """The log-density of every number, nats, of the shape of z; they sum to log_prob."""
        log_scale = tf.convert_to_tensor(self.log_scale)
        return _normal_terms(self.standardized(z)) - log_scale

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


@keras.saving.register_keras_serializable("keras_flows")
class NormalWithCircles(Independent):
    """Uniform over circles, and standard normal over the other features of a vector.

    `ln p(z) = -k ln(2 pi) - sum((z_j^2 + ln 2 pi) / 2)`, with k angles, and the sum over the other
    features. Angles are in radians; those that differ by a turn are the same.

    Args:
        circles: The indices of the features that are angles, each once.

    Raises:
        ValueError: If these are no such indices, or, when built, the latents have no such features.
    """

    def __init__(self, circles: Iterable[int], **kwargs: Any):
        super().__init__(**kwargs)
        self.circles = checks.indices(circles, "circles")

    def build(self, input_shape: tuple) -> None:
        if len(input_shape) != 2:
            raise ValueError(
                "NormalWithCircles is for vectors; the latents have the shape "
                f"{tuple(input_shape[1:])}."
            )
        checks.indices(self.circles, "circles", input_shape[-1])
        self.built = True

    def _by_kind(self, on_circles, others):
        """One tensor for the angles, and another for the other features."""
        angles = tf.constant([j in self.circles for j in range(others.shape[-1])])
        return tf.where(angles, on_circles, others)

    def standardized(self, z: tf.Tensor) -> tf.Tensor:
        """The e, of the shape of z, that is standard normal where z is of this density."""
        share = wrapped(z) / math.pi
        return self._by_kind(math.sqrt(2.0) * tf.math.erfinv(share), z)

    def terms(self, z: tf.Tensor) -> tf.Tensor:
        """The log-density of every number, nats, of the shape of z; they sum to log_prob."""
        return self._by_kind(tf.constant(-math.log(2.0 * math.pi), z.dtype), _normal_terms(z))

    def sample(
        self,
        batch: int | tf.Tensor,
        event_shape: tuple[int, ...],
        noise: Noise,
        temperature: float | tf.Tensor,
        dtype: str,
    ) -> tf.Tensor:
        """Draws of shape `(batch, *event_shape)`, at another temperature those of e scaled by it.

        Angles are `pi erf(e / sqrt(2))` with `e ~ N(0, temperature^2)`: uniform at a temperature of
        1, around 0 below.
        """
        e = temperature * noise.normal(batch, event_shape, dtype)
        return self._by_kind(math.pi * tf.math.erf(e / math.sqrt(2.0)), e)

    def get_config(self) -> dict:
        return {**super().get_config(), "circles": self.circles}


def _normal_terms(e):
    """The log-density of standard normal numbers, nats."""
    return -0.5 * (tf.square(e) + math.log(2.0 * math.pi))
