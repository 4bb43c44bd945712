"""The contract of an elementwise map."""

import tensorflow as tf

from keras_flows.numerics.configured import Configured


class ElementwiseMap(Configured):
    """A monotone function of each number by itself, with parameters that a network makes.

    An object with a configuration, without weights. A subclass states how many parameters a number
    takes, and implements `encode` and `decode`.

    Attributes:
        parameters: How many parameters each number takes.
    """

    parameters: int

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
