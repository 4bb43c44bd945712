"""The contract of a transform."""

from collections.abc import Generator, Iterator
from typing import Any

import keras
import tensorflow as tf

from keras_flows import _moved, checks
from keras_flows.noise import Noise
from keras_flows.numerics.fixed_point import Inversion

# From the strongest statement about a log_prob to the weakest; a chain makes the weakest of its
# parts. A biased part leaves not even a bound.
LIKELIHOODS = ("exact", "unbiased", "lower_bound", "biased")

# Yields what every step made, and returns what is left after the last one.
Steps = Generator[tuple, None, Any]


class Transform(keras.layers.Layer):
    """One step of a flow: a Keras layer with one fused primitive per direction.

    A subclass implements `encode` and `decode`, and `build` where it has weights or needs a
    certain shape. Where they differ from the defaults it also states its capabilities:

    * `likelihood`: `"exact"`, `"unbiased"`, `"lower_bound"` or `"biased"`, what a log_prob that
      uses this step is.
    * `dequantizes`: whether it turns integers, of `bits` bits, into continuous numbers.
    * `bijective`: whether decode inverts encode without randomness.
    * `encoded_shape(event_shape)`: the event shape after encoding.
    * `noise_size(direction)`: how many random numbers an example consumes.
    * `invert(z, context)`: the inverse with its diagnostics, of a step that iterates.
    * `decodes_in_loops`: whether exported graphs hold the decoding of equal steps once, in a loop.

    What holds other steps is a `Composite`, which derives all of this from them.

    A new transform touches three places: its own file, the registry of the property suite, and
    the list in the docs.
    """

    likelihood = "exact"
    dequantizes = False
    bijective = True
    decodes_in_loops = False

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        checks.precision(self)

    def encode(
        self,
        x: tf.Tensor,
        context: tf.Tensor | None = None,
        noise: Noise | None = None,
        training: bool = False,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Data to latent.

        Args:
            x: Tensor `(batch, *event_shape)`.
            context: Tensor `(batch, size)`, or None.
            noise: The `keras_flows.noise.Noise` that a stochastic step draws from, or None.
            training: Whether the step runs in training mode.

        Returns:
            `(z, log_det)`: the latent, and the log-det of the encode direction, `(batch,)`.
        """
        raise NotImplementedError

    def decode(
        self, z: tf.Tensor, context: tf.Tensor | None = None, noise: Noise | None = None
    ) -> tf.Tensor:
        """Latent to data.

        Args:
            z: Tensor `(batch, *encoded_shape)`.
            context: Tensor `(batch, size)`, or None.
            noise: See `encode`.

        Returns:
            Tensor `(batch, *event_shape)`. An example that cannot be decoded is NaN.
        """
        raise NotImplementedError

    def invert(self, z: tf.Tensor, context: tf.Tensor | None = None) -> Inversion | None:
        """The inverse with its diagnostics, where decoding iterates.

        Returns:
            A `keras_flows.numerics.fixed_point.Inversion`; None where there is a closed form.
        """
        return None

    def encoded_shape(self, event_shape: tuple[int, ...]) -> tuple[int, ...]:
        """The event shape after encoding."""
        return tuple(event_shape)

    def noise_size(self, direction: str) -> int:
        """How many random numbers an example consumes in `"encode"` or `"decode"`."""
        return 0

    def innermost(self) -> Iterator["Transform"]:
        """The steps that have no steps inside, in the order of encoding."""
        yield self

    def lipschitz_bounds(self) -> dict[str, float]:
        """Upper bounds on the residual blocks inside: a dictionary from path to bound."""
        return {}

    def encode_steps(
        self,
        x: tf.Tensor,
        context: tf.Tensor | None = None,
        noise: Noise | None = None,
        training: bool = False,
    ) -> Steps:
        """The innermost steps one by one.

        Yields:
            `(path, z, log_det)` after each step.

        Returns:
            What `encode` returns, as the value of the exhausted generator.
        """
        z, log_det = self.encode(x, context, noise, training)
        yield type(self).__name__, z, log_det
        return z, log_det

    def decode_steps(
        self, z: tf.Tensor, context: tf.Tensor | None = None, noise: Noise | None = None
    ) -> Steps:
        """The innermost steps one by one, in the order of decoding.

        Yields:
            `(path, x)` after each step.

        Returns:
            What `decode` returns, as the value of the exhausted generator.
        """
        x = self.decode(z, context, noise)
        yield type(self).__name__, x
        return x

    def build(self, input_shape: tuple) -> None:
        self.event_shape = tuple(input_shape[1:])
        self.built = True

    def call(
        self,
        x: tf.Tensor,
        context: tf.Tensor | None = None,
        noise: Noise | None = None,
        training: bool = False,
    ) -> tf.Tensor:
        return self.encode(x, context, noise, training)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (input_shape[0], *self.encoded_shape(input_shape[1:]))

    def compute_output_spec(
        self,
        x: keras.KerasTensor,
        context: tf.Tensor | None = None,
        noise: Noise | None = None,
        training: bool = False,
    ) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        # Of Keras's symbolic calls: both results.
        z = keras.KerasTensor(self.compute_output_shape(x.shape), dtype=self.compute_dtype)
        return z, keras.KerasTensor(x.shape[:1], dtype=self.compute_dtype)

    def get_config(self) -> dict:
        # Overridden, or Keras would record the constructor's arguments, a dtype policy among them.
        return super().get_config()


def __getattr__(name):
    return _moved.attribute(__name__, name)
