"""A fixed affine map."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from keras_flows.noise import Noise
from keras_flows.transforms.base import Transform


@keras.saving.register_keras_serializable("keras_flows")
class Affine(Transform):
    """`z = (x - shift) / scale` with constants: standardises data of known location and scale.

    `log_det = -sum ln |scale|`. Shapes are kept.

    Args:
        shift: A number, or a (nested) list that broadcasts to the event.
        scale: The same; nonzero.
    """

    def __init__(self, shift: ArrayLike = 0.0, scale: ArrayLike = 1.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.shift = np.asarray(shift, "float64").tolist()
        self.scale = np.asarray(scale, "float64").tolist()
        if not np.all(np.isfinite(self.shift)):
            raise ValueError(f"shift must be finite; got {shift!r}.")
        if not np.all(np.isfinite(self.scale)) or np.any(np.equal(self.scale, 0.0)):
            raise ValueError(f"scale must be finite and nonzero; got {scale!r}.")

    def build(self, input_shape: tuple) -> None:
        event_shape = tuple(input_shape[1:])
        try:
            scale = np.broadcast_to(self.scale, event_shape)
            np.broadcast_to(self.shift, event_shape)
        except ValueError as error:
            raise ValueError(
                f"shift of shape {np.shape(self.shift)} and scale of shape {np.shape(self.scale)} "
                f"must broadcast to the event shape {event_shape}."
            ) from error
        self._log_det = -float(np.sum(np.log(np.abs(scale))))
        super().build(input_shape)

    def encode(
        self,
        x: tf.Tensor,
        context: tf.Tensor | None = None,
        noise: Noise | None = None,
        training: bool = False,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        log_det = tf.fill(tf.shape(x)[:1], tf.constant(self._log_det, x.dtype))
        return (x - tf.constant(self.shift, x.dtype)) / tf.constant(self.scale, x.dtype), log_det

    def decode(
        self, z: tf.Tensor, context: tf.Tensor | None = None, noise: Noise | None = None
    ) -> tf.Tensor:
        return z * tf.constant(self.scale, z.dtype) + tf.constant(self.shift, z.dtype)

    def get_config(self) -> dict:
        return {**super().get_config(), "shift": self.shift, "scale": self.scale}
