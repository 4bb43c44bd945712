"""The two halves of the channels."""

import keras
import tensorflow as tf

from keras_flows.transforms.masks.base import Mask


@keras.saving.register_keras_serializable("keras_flows")
class ChannelHalves(Mask):
    """The first channels pass, and the others are transformed.

    Of C channels the first `ceil(C / 2)` pass. For events `(…, channels)`: vectors and images.

    Source: Dinh et al. 2017, *Density Estimation using Real NVP*, section 3.4.
    """

    def _shapes(self, event_shape):
        *positions, channels = event_shape
        if channels < 2:
            raise ValueError(f"A coupling needs at least two channels; got {channels}.")
        return (*positions, channels - channels // 2), (*positions, channels // 2)

    def seen_shape(self, event_shape: tuple[int, ...]) -> tuple[int, ...]:
        return self._shapes(event_shape)[0]

    def changed_shape(self, event_shape: tuple[int, ...]) -> tuple[int, ...]:
        return self._shapes(event_shape)[1]

    def split(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        seen = x.shape[-1] - x.shape[-1] // 2
        return x[..., :seen], x[..., seen:]

    def join(self, seen: tf.Tensor, changed: tf.Tensor) -> tf.Tensor:
        return tf.concat([seen, changed], axis=-1)
