"""Maps that are affine with another scale than `AffineMap`."""

import keras
import tensorflow as tf

from keras_flows import checks
from keras_flows.transforms.maps.base import ElementwiseMap

# The largest log-scale, either way.
_WIDEST = 20.0


@keras.saving.register_keras_serializable("keras_flows")
class NormalMap(ElementwiseMap):
    """`z = (x - mean) exp(-s)`; `ln dz/dx = -s`.

    z is standard normal where x is normal with that mean and the log-deviation s: what leaves a
    flow on the way gets a density by this map that depends on what stays. The parameters of a
    number are its mean and s, taken between -20 and 20.

    Source: Kingma & Dhariwal 2018, *Glow*, and its published code.
    """

    parameters = 2

    def _mean_and_log_scale(self, parameters):
        mean, log_scale = tf.unstack(parameters, axis=-1)
        return mean, tf.clip_by_value(log_scale, -_WIDEST, _WIDEST)

    def encode(self, x: tf.Tensor, parameters: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        mean, log_scale = self._mean_and_log_scale(parameters)
        return (x - mean) * tf.exp(-log_scale), -log_scale

    def decode(self, z: tf.Tensor, parameters: tf.Tensor) -> tf.Tensor:
        mean, log_scale = self._mean_and_log_scale(parameters)
        return z * tf.exp(log_scale) + mean


@keras.saving.register_keras_serializable("keras_flows")
class SigmoidMap(ElementwiseMap):
    """`z = (x + shift) largest σ(r + offset)`; `ln dz/dx` is the logarithm of that scale.

    The parameters of a number are its shift and r. Scales are between 0 and `largest`; where r is
    zero, the default is that of Glow, 0.88.

    Source: Kingma & Dhariwal 2018, *Glow*, and its published code.

    Args:
        offset: What is added to r.
        largest: The largest scale, positive.

    Raises:
        ValueError: If an argument is no such number.
    """

    parameters = 2

    def __init__(self, offset: float = 2.0, largest: float = 1.0):
        checks.number(offset, "offset", -checks.LARGE, checks.LARGE, "a finite number")
        checks.positive(largest, "largest")
        self.offset, self.largest = float(offset), float(largest)

    def _shift_and_log_scale(self, parameters):
        shift, raw = tf.unstack(parameters, axis=-1)
        largest = tf.math.log(tf.constant(self.largest, raw.dtype))
        return shift, tf.math.log_sigmoid(raw + self.offset) + largest

    def encode(self, x: tf.Tensor, parameters: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        shift, log_scale = self._shift_and_log_scale(parameters)
        return (x + shift) * tf.exp(log_scale), log_scale

    def decode(self, z: tf.Tensor, parameters: tf.Tensor) -> tf.Tensor:
        shift, log_scale = self._shift_and_log_scale(parameters)
        return z * tf.exp(-log_scale) - shift

    def get_config(self) -> dict:
        return {"offset": self.offset, "largest": self.largest}


@keras.saving.register_keras_serializable("keras_flows")
class SigmoidScaleMap(SigmoidMap):
    """`z = largest σ(r + offset) x + shift`: a `SigmoidMap` that shifts last.

    Source: Ma et al. 2019, *MaCow: Masked Convolutional Generative Flow*.

    Args:
        offset: See `SigmoidMap`.
        largest: See there.
    """

    def encode(self, x: tf.Tensor, parameters: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        shift, log_scale = self._shift_and_log_scale(parameters)
        return x * tf.exp(log_scale) + shift, log_scale

    def decode(self, z: tf.Tensor, parameters: tf.Tensor) -> tf.Tensor:
        shift, log_scale = self._shift_and_log_scale(parameters)
        return (z - shift) * tf.exp(-log_scale)
