"""Multi-scale latents: half the channels leave before the rest of a flow."""

from typing import Any, Self

import keras
import tensorflow as tf

from keras_flows import checks
from keras_flows.noise import Noise
from keras_flows.numerics.events import event_size, reshape_events, zeros_per_example
from keras_flows.transforms.base import Steps, Transform
from keras_flows.transforms.composite import Composite, inside
from keras_flows.transforms.parts import deserialized, serialized


@keras.saving.register_keras_serializable("keras_flows")
class FactorOut(Composite):
    """Encodes the first channels further, and takes the others as they are.

    `z = concat(flatten(x_second), flatten(inner.encode(x_first)))`, with the log-det of the inner
    transform. The latent is a vector. Input `(batch, …, channels)`; by default the first are half
    of the channels, one more where their number is odd.

    Source: Dinh et al. 2017, *Density Estimation using Real NVP*, section 3.6.

    Args:
        inner: The `Transform` of the first channels.
        leaving: How many others there are; half of the channels by default, rounded down.

    Raises:
        ValueError: If no channel would stay, or none leave.
    """

    def __init__(self, inner: Transform, leaving: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        if leaving is not None:
            checks.count(leaving, "leaving")
        self.leaving = leaving
        checks.instance(inner, Transform, "inner")
        self.inner = inner

    @property
    def steps(self) -> list[Transform]:
        """The transforms inside, as a `Chain` has them: paths lead through their numbers."""
        return [self.inner]

    def _split_shapes(self, event_shape):
        """The shapes of what stays and of what leaves."""
        *space, channels = event_shape
        leaving = channels // 2 if self.leaving is None else self.leaving
        if not 0 < leaving < channels:
            raise ValueError(
                f"FactorOut needs two channels or more, one for each half; got {event_shape}."
                if self.leaving is None
                else f"{leaving} channels cannot leave an event of shape {event_shape}, of which "
                "at least one has to stay."
            )
        return (*space, channels - leaving), (*space, leaving)

    def encoded_shape(self, event_shape: tuple[int, ...]) -> tuple[int, ...]:
        first, second = self._split_shapes(tuple(event_shape))
        return (event_size(second) + event_size(self.inner.encoded_shape(first)),)

    def build(self, input_shape: tuple) -> None:
        first, _ = self._split_shapes(tuple(input_shape[1:]))
        checks.build_once(self.inner, (None, *first))
        super().build(input_shape)

    def _halves(self, x):
        first, _ = self._split_shapes(self.event_shape)
        return x[..., : first[-1]], x[..., first[-1] :]

    @staticmethod
    def _joined(second, z):
        """The latent."""
        sizes = (event_size(second.shape[1:]), event_size(z.shape[1:]))
        parts = (reshape_events(part, (n,)) for part, n in zip((second, z), sizes, strict=True))
        return tf.concat(list(parts), axis=-1)

    def _parts(self, latent):
        """The second half, and the latent of the inner transform."""
        first, second = self._split_shapes(self.event_shape)
        size = event_size(second)
        inner_shape = self.inner.encoded_shape(first)
        return (
            reshape_events(latent[:, :size], second),
            reshape_events(latent[:, size:], inner_shape),
        )

    def encode_steps(
        self,
        x: tf.Tensor,
        context: tf.Tensor | None = None,
        noise: Noise | None = None,
        training: bool = False,
    ) -> Steps:
        first, second = self._halves(x)
        steps = self.inner.encode_steps(first, context, noise, training)
        z, log_det = yield from inside(0, steps)
        z = self._joined(second, z)
        yield type(self).__name__, z, zeros_per_example(x)
        return z, log_det

    def decode_steps(
        self, z: tf.Tensor, context: tf.Tensor | None = None, noise: Noise | None = None
    ) -> Steps:
        second, x = self._parts(z)
        path = type(self).__name__
        for inner_path, inner_x in self.inner.decode_steps(x, context, noise):
            yield path, x
            path, x = f"0/{inner_path}", inner_x
        # After the last step, the whole.
        x = tf.concat([x, second], axis=-1)
        yield path, x
        return x

    def get_config(self) -> dict:
        return {**super().get_config(), **serialized(inner=self.inner), "leaving": self.leaving}

    @classmethod
    def from_config(cls, config: dict) -> Self:
        return cls(**deserialized(config, "inner"))
