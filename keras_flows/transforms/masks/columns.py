"""Every second column."""

import keras
import tensorflow as tf

from keras_flows.numerics.events import reshape_events
from keras_flows.transforms.masks.base import ReversibleMask


@keras.saving.register_keras_serializable("keras_flows")
class AlternateColumns(ReversibleMask):
    """The columns 0, 2, 4, … of an image pass, and those between are transformed.

    The network sees what passes side by side, half as wide, and makes the parameters of each
    transformed column at the place of the one that passes beside it. For events
    `(height, width, channels)` with an even width.

    Source: Ho et al. 2019, *Flow++*, and its published code, which calls it a checkerboard.

    Args:
        reverse: Whether the others pass.

    Raises:
        ValueError: If the width is odd, or the event is no image.
    """

    def seen_shape(self, event_shape: tuple[int, ...]) -> tuple[int, ...]:
        if len(event_shape) != 3 or event_shape[1] % 2:
            raise ValueError(
                "Alternate columns are of images (height, width, channels) with an even width; got "
                f"{event_shape}."
            )
        height, width, channels = event_shape
        return height, width // 2, channels

    def changed_shape(self, event_shape: tuple[int, ...]) -> tuple[int, ...]:
        return self.seen_shape(event_shape)

    def split(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        height, width, channels = x.shape[1:]
        even, odd = tf.unstack(reshape_events(x, (height, width // 2, 2, channels)), axis=3)
        return (odd, even) if self.reverse else (even, odd)

    def join(self, seen: tf.Tensor, changed: tf.Tensor) -> tf.Tensor:
        height, half, channels = seen.shape[1:]
        pair = [changed, seen] if self.reverse else [seen, changed]
        return reshape_events(tf.stack(pair, axis=3), (height, 2 * half, channels))
