"""Max pooling as a step of a flow."""

import math

import keras
import tensorflow as tf

from keras_flows.noise import Noise, require
from keras_flows.numerics.events import event_size, reshape_events, sum_event
from keras_flows.transforms.base import Transform
from keras_flows.transforms.squeeze import Squeeze


@keras.saving.register_keras_serializable("keras_flows")
class MaxPool(Transform):
    """The largest of every 2×2 pixels of a channel; what it is larger by is scored as noise.

    With d the differences between z and the three other pixels, `log_det = sum (-ln 4 + sum_j ln
    p(d_j))`: each of four places is as likely for the largest, and p is half-normal, `2 N(d; 0, 1)`
    for d from 0. Decoding draws place and differences, so it does not give back what was encoded,
    and this is no bijection; the log_prob of a flow with it is exact all the same. Input `(batch,
    height, width, channels)`, output `(batch, height / 2, width / 2, channels)`. Of equal pixels
    the first in raster order counts.

    Source: Nielsen et al. 2020, *SurVAE Flows*, section 3 and appendix.

    Raises:
        ValueError: If the height or width is odd.
    """

    bijective = False

    def build(self, input_shape: tuple) -> None:
        self.squeeze = Squeeze(2, dtype=self.dtype_policy)
        self.squeeze.build(input_shape)
        super().build(input_shape)

    def encoded_shape(self, event_shape: tuple[int, ...]) -> tuple[int, ...]:
        height, width, _ = Squeeze(2).encoded_shape(event_shape)
        return height, width, event_shape[-1]

    def noise_size(self, direction: str) -> int:
        # A place and three differences for each number that is left.
        return event_size(self.event_shape) if direction == "decode" else 0

    def parts(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """The largest pixels, their places, and the differences from the others.

        Returns:
            `(z, place, differences)`: `(batch, height / 2, width / 2, channels)`, the same as
            integers from 0 to 3, and `(batch, height / 2, width / 2, channels, 3)`.
        """
        height, width, channels = self.encoded_shape(tuple(x.shape[1:]))
        squares = reshape_events(self.squeeze.encode(x)[0], (height, width, channels, 4))
        place = tf.argmax(squares, axis=-1, output_type=tf.int32)
        largest = tf.reduce_max(squares, axis=-1)
        before = tf.range(3) < place[..., None]
        others = tf.where(before, squares[..., :3], squares[..., 1:])
        return largest, place, largest[..., None] - others

    def encode(
        self,
        x: tf.Tensor,
        context: tf.Tensor | None = None,
        noise: Noise | None = None,
        training: bool = False,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        z, _, d = self.parts(x)
        log_density = 0.5 * (math.log(2.0 / math.pi) - tf.square(d))
        return z, sum_event(tf.reduce_sum(log_density, axis=-1) - math.log(4.0))

    def decode(
        self, z: tf.Tensor, context: tf.Tensor | None = None, noise: Noise | None = None
    ) -> tf.Tensor:
        noise = require(noise, self, "decode")
        batch, shape = tf.shape(z)[0], tuple(z.shape[1:])
        place = tf.cast(4.0 * noise.uniform(batch, shape, z.dtype), tf.int32)[..., None]
        d = tf.abs(noise.normal(batch, (*shape, 3), z.dtype))
        # Of the pixels 0 to 3 the one at that place has no difference, and those behind it the
        # difference before.
        none, places = tf.zeros_like(d[..., :1]), tf.range(4)
        first, second = tf.concat([d, none], axis=-1), tf.concat([none, d], axis=-1)
        lower = tf.where(places < place, first, tf.where(places > place, second, 0.0))
        squares = z[..., None] - lower
        height, width, channels = shape
        return self.squeeze.decode(reshape_events(squares, (height, width, 4 * channels)))
