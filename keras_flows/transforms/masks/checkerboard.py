"""Every second pixel."""

import keras
import numpy as np
import tensorflow as tf

from keras_flows.numerics.events import reshape_events
from keras_flows.transforms.masks.base import ReversibleMask


@keras.saving.register_keras_serializable("keras_flows")
class Checkerboard(ReversibleMask):
    """The pixels in rows i and columns j with i + j odd pass, and the others are transformed.

    The network sees the whole image, with zeros in place of what is transformed, and makes the
    parameters of all pixels, of which those that pass are not used. For events
    `(height, width, channels)` with an even width.

    Source: Dinh et al. 2017, *Density Estimation using Real NVP*, section 3.4.

    Args:
        reverse: Whether the others pass.

    Raises:
        ValueError: If the width is odd, or the event is no image.
    """

    def seen_shape(self, event_shape: tuple[int, ...]) -> tuple[int, ...]:
        if len(event_shape) != 3 or event_shape[1] % 2:
            raise ValueError(
                "A checkerboard is for images (height, width, channels) with an even width; got "
                f"{event_shape}."
            )
        return tuple(event_shape)

    def changed_shape(self, event_shape: tuple[int, ...]) -> tuple[int, ...]:
        height, width, channels = event_shape
        return height, width // 2, channels

    def made_shape(self, event_shape: tuple[int, ...], parameters: int) -> tuple[int, ...]:
        height, width, channels = event_shape
        return height, width, channels * parameters

    def _first_changes(self, height):
        """Of every row, whether the first pixel of a pair is transformed; `(height, 1, 1)`."""
        return (np.arange(height) % 2 == int(self.reverse))[:, None, None]

    def _changed(self, x):
        """`(batch, height, width, n)` to the pixels that are transformed, half as wide."""
        height, width, channels = x.shape[1:]
        pairs = reshape_events(x, (height, width // 2, 2, channels))
        return tf.where(self._first_changes(height), pairs[:, :, :, 0], pairs[:, :, :, 1])

    def _placed(self, changed):
        """The image with such pixels in their places, and zeros in all others."""
        height, half, channels = changed.shape[1:]
        first, none = self._first_changes(height), tf.zeros_like(changed)
        pair = [tf.where(first, changed, none), tf.where(first, none, changed)]
        return reshape_events(tf.stack(pair, axis=3), (height, 2 * half, channels))

    def split(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        changed = self._changed(x)
        mask = tf.cast(self._placed(tf.ones_like(changed)), tf.bool)
        return tf.where(mask, tf.zeros_like(x), x), changed

    def join(self, seen: tf.Tensor, changed: tf.Tensor) -> tf.Tensor:
        return seen + self._placed(changed)

    def parameters(self, made: tf.Tensor, parameters: int) -> tf.Tensor:
        return super().parameters(self._changed(made), parameters)
