"""The contract of an elementwise map."""

import tensorflow as tf

from keras_flows.numerics.configured import Configured


class ElementwiseMap(Configured):
    """A monotone function of each number by itself, with parameters that a network makes.

    An object with a configuration, without weights. A subclass states how many parameters a number
    takes, and implements `encode` and `decode`.

    Attributes:
        parameters: How many parameters each number takes.
        bits: Of a map of integers from 0 to `2^bits - 1` how many bits they have; None otherwise.
        by_feature: Whether the place of a number in the event says how it is mapped, so that the
            map has to be given all of them.
    """

    parameters: int
    bits: int | None = None
    by_feature: bool = False

    def seen(self, x: tf.Tensor) -> tf.Tensor:
        """The data as the network of a step sees them: integers as numbers from -1 to 1."""
        return x if self.bits is None else x * (2.0 / (2.0**self.bits - 1.0)) - 1.0

    def encode(self, x: tf.Tensor, parameters: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Data to latent.

        Args:
            x: Tensor `(batch, *shape)`.
            parameters: Tensor `(batch, *shape, self.parameters)`, any real numbers.

        Returns:
            `(z, log_derivative)`, both of the shape of x: the image, and `ln dz/dx`.
        """
        raise NotImplementedError

    def decode(self, z: tf.Tensor, parameters: tf.Tensor) -> tf.Tensor:
        """Latent to data: the x of which z is the image."""
        raise NotImplementedError
