"""A fixed affine map."""

import keras
import numpy as np
import tensorflow as tf

from keras_flows.transforms.base import Transform


@keras.saving.register_keras_serializable("keras_flows")
class Affine(Transform):
    """`z = (x - shift) / scale` with constants: standardises data of known location and scale.

    `log_det = -sum ln |scale|`. Shapes are kept.

    Args:
        shift: A number, or a (nested) list that broadcasts to the event.
        scale: The same; nonzero.
    """

    def __init__(self, shift=0.0, scale=1.0, **kwargs):
        super().__init__(**kwargs)
        self.shift = np.asarray(shift, "float64").tolist()
        self.scale = np.asarray(scale, "float64").tolist()
        if not np.all(np.isfinite(self.shift)):
            raise ValueError(f"shift must be finite; got {shift}.")
        if not np.all(np.isfinite(self.scale)) or np.any(np.equal(self.scale, 0.0)):
            raise ValueError(f"scale must be finite and nonzero; got {scale}.")

    def build(self, input_shape):
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

    def encode(self, x, context=None, noise=None, training=False):
        log_det = tf.fill(tf.shape(x)[:1], tf.constant(self._log_det, x.dtype))
        return (x - tf.constant(self.shift, x.dtype)) / tf.constant(self.scale, x.dtype), log_det

    def decode(self, z, context=None, noise=None):
        return z * tf.constant(self.scale, z.dtype) + tf.constant(self.shift, z.dtype)

    def get_config(self):
        return {**super().get_config(), "shift": self.shift, "scale": self.scale}
