"""The logistic sigmoid."""

import keras
import tensorflow as tf

from keras_flows.noise import Noise
from keras_flows.numerics.events import sum_event
from keras_flows.transforms.base import Transform


@keras.saving.register_keras_serializable("keras_flows")
class Sigmoid(Transform):
    """`z = 1 / (1 + exp(-x))`, in (0, 1).

    `log_det = -sum (softplus(x) + softplus(-x))`. Shapes are kept. Far from zero the result
    rounds to 0 or 1 and cannot be decoded.
    """

    def encode(
        self,
        x: tf.Tensor,
        context: tf.Tensor | None = None,
        noise: Noise | None = None,
        training: bool = False,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.sigmoid(x), -sum_event(tf.nn.softplus(x) + tf.nn.softplus(-x))

    def decode(
        self, z: tf.Tensor, context: tf.Tensor | None = None, noise: Noise | None = None
    ) -> tf.Tensor:
        return tf.math.log(z) - tf.math.log(1.0 - z)
