"""The contract of steps that change every number of an event by those before it only."""

import tensorflow as tf

from keras_flows.noise import Noise
from keras_flows.numerics.events import sum_event
from keras_flows.transforms.base import Transform


class Triangular(Transform):
    """A step whose Jacobian is triangular, so that its log-det has a term for each number.

    A subclass implements `encode_terms` in the place of `encode`. On vectors, in a chain of such
    steps of one order, feature j of the latent depends on the features of the data up to j: each of
    them adds its own, exact, conditional term to the log_prob.

    Attributes:
        order: The features, from the first to the last that may depend on those before it; None
            for a step that changes every feature by itself alone, which goes with any order.
    """

    order: list[int] | None = None

    def encode_terms(
        self,
        x: tf.Tensor,
        context: tf.Tensor | None = None,
        noise: Noise | None = None,
        training: bool = False,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Data to latent, with what every number adds to the log-det.

        Arguments are those of `encode`.

        Returns:
            `(z, terms)`, both `(batch, *event_shape)`: term j is `ln dz_j/dx_j`.
        """
        raise NotImplementedError

    def encode(
        self,
        x: tf.Tensor,
        context: tf.Tensor | None = None,
        noise: Noise | None = None,
        training: bool = False,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        z, terms = self.encode_terms(x, context, noise, training)
        return z, sum_event(terms)
