"""The two halves of the channels."""

import keras
import tensorflow as tf

from keras_flows.transforms.masks.base import ReversibleMask


@keras.saving.register_keras_serializable("keras_flows")
class ChannelHalves(ReversibleMask):
    """The first channels pass, and the others are transformed.

    Of C channels the first `ceil(C / 2)` pass or, reversed, the last `floor(C / 2)`. For events
    `(…, channels)`: vectors and images.

    Source: Dinh et al. 2017, *Density Estimation using Real NVP*, section 3.4.

    Args:
        reverse: Whether the last channels pass, and the first ones are transformed.

    Raises:
        ValueError: If reverse is neither True nor False, or there are fewer than two channels.
    """

    def _shapes(self, event_shape):
        *positions, channels = event_shape
        if channels < 2:
            raise ValueError(f"A coupling needs at least two channels; got {channels}.")
        sizes = [channels - channels // 2, channels // 2]
        seen, changed = reversed(sizes) if self.reverse else sizes
        return (*positions, seen), (*positions, changed)

    def seen_shape(self, event_shape: tuple[int, ...]) -> tuple[int, ...]:
        return self._shapes(event_shape)[0]

    def changed_shape(self, event_shape: tuple[int, ...]) -> tuple[int, ...]:
        return self._shapes(event_shape)[1]

    def split(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        first = x.shape[-1] - x.shape[-1] // 2
        parts = x[..., :first], x[..., first:]
        return parts[::-1] if self.reverse else parts

    def join(self, seen: tf.Tensor, changed: tf.Tensor) -> tf.Tensor:
        return tf.concat([changed, seen] if self.reverse else [seen, changed], axis=-1)
