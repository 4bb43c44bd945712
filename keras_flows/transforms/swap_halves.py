"""The exchange of the two halves of the channels."""

import keras
import tensorflow as tf

from keras_flows.noise import Noise
from keras_flows.numerics.events import zeros_per_example
from keras_flows.transforms.base import Transform


@keras.saving.register_keras_serializable("keras_flows")
class SwapHalves(Transform):
    """`z = concat(second half, first half)` of the channels; `log_det = 0`.

    Of an odd number of channels the first half has one more; decoding gives it back its place.

    Source: Grcić et al. 2021, *Densely connected normalizing flows*; the published code does not
    decode odd numbers of channels to where they came from.
    """

    def encode(
        self,
        x: tf.Tensor,
        context: tf.Tensor | None = None,
        noise: Noise | None = None,
        training: bool = False,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        first = x.shape[-1] - x.shape[-1] // 2
        return tf.concat([x[..., first:], x[..., :first]], axis=-1), zeros_per_example(x)

    def decode(
        self, z: tf.Tensor, context: tf.Tensor | None = None, noise: Noise | None = None
    ) -> tf.Tensor:
        second = z.shape[-1] // 2
        return tf.concat([z[..., second:], z[..., :second]], axis=-1)
