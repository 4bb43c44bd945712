"""The affine map."""

import keras
import tensorflow as tf

from keras_flows import checks
from keras_flows.transforms.maps.base import ElementwiseMap


@keras.saving.register_keras_serializable("keras_flows")
class AffineMap(ElementwiseMap):
    """`z = shift + exp(s) x` with `s = bound tanh(r / bound)`; `ln dz/dx = s`.

    The parameters of a number are r and the shift. Scales are between exp(-bound) and exp(bound),
    so that no x gives an infinite z.

    Sources: Dinh et al. 2017, *Density Estimation using Real NVP*; the bound of 2 is that of Grcić
    et al. 2021, *Densely connected normalizing flows*.

    Args:
        bound: The largest log-scale, positive.

    Raises:
        ValueError: If the bound is not positive.
    """

    parameters = 2

    def __init__(self, bound: float = 2.0):
        checks.positive(bound, "bound")
        self.bound = float(bound)

    def scale_and_shift(self, parameters: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The log-scale s and the shift of every number, from its parameters."""
        raw, shift = parameters[..., 0], parameters[..., 1]
        return self.bound * tf.tanh(raw / self.bound), shift

    def encode(self, x: tf.Tensor, parameters: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        log_scale, shift = self.scale_and_shift(parameters)
        return shift + tf.exp(log_scale) * x, log_scale

    def decode(self, z: tf.Tensor, parameters: tf.Tensor) -> tf.Tensor:
        log_scale, shift = self.scale_and_shift(parameters)
        return (z - shift) * tf.exp(-log_scale)

    def get_config(self) -> dict:
        return {"bound": self.bound}
