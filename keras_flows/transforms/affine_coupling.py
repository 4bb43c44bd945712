"""The affine coupling of two halves of the channels."""

import keras
import tensorflow as tf

from keras_flows import checks
from keras_flows.transforms.base import Transform, sum_event


@keras.saving.register_keras_serializable("keras_flows")
class AffineCoupling(Transform):
    """The first channels pass, and scale and shift the others: `z2 = shift + exp(s) x2`.

    `s = 2 tanh(r / 2)`, so a scale is between exp(-2) and exp(2); `log_det = sum s`. Of C channels
    the first `ceil(C / 2)` pass. The network sees them, and the context, and makes
    `2 floor(C / 2)` channels: channel 2j is r, channel 2j + 1 the shift, of transformed channel j.
    Input and output `(batch, height, width, channels)`.

    Sources: Dinh et al. 2017, *Density Estimation using Real NVP*; Grcić et al. 2021, *Densely
    connected normalizing flows*, whose order of channels and bound of scales this is.

    Args:
        net: The network, a layer called as `net(x1, context, training)`, such as
            `keras_flows.layers.CouplingNetwork`.

    Raises:
        ValueError: If the network makes another number of channels.
    """

    def __init__(self, net, **kwargs):
        super().__init__(**kwargs)
        self.net = net

    def build(self, input_shape):
        channels = input_shape[-1]
        if channels < 2:
            raise ValueError(f"A coupling needs at least two channels; got {channels}.")
        kept = channels - channels // 2
        checks.build_once(self.net, (*input_shape[:-1], kept))
        made = tuple(self.net.compute_output_shape((*input_shape[:-1], kept)))
        if made[1:] != (*input_shape[1:-1], 2 * (channels // 2)):
            raise ValueError(
                f"The network of this coupling must make {2 * (channels // 2)} channels, two for "
                f"each of the {channels // 2} that it transforms, and keep the other axes of "
                f"{tuple(input_shape[1:])}; it makes {made[1:]}."
            )
        super().build(input_shape)

    def _scale_and_shift(self, kept, context, training=False):
        # The network may compute in half precision; the log-det does not.
        parameters = tf.cast(self.net(kept, context=context, training=training), kept.dtype)
        pairs = tf.reshape(parameters, (-1, *parameters.shape[1:-1], parameters.shape[-1] // 2, 2))
        return 2.0 * tf.tanh(0.5 * pairs[..., 0]), pairs[..., 1]

    def encode(self, x, context=None, noise=None, training=False):
        kept, rest = _halves(x)
        log_scale, shift = self._scale_and_shift(kept, context, training)
        z = tf.concat([kept, shift + tf.exp(log_scale) * rest], axis=-1)
        return z, sum_event(log_scale)

    def decode(self, z, context=None, noise=None):
        kept, rest = _halves(z)
        log_scale, shift = self._scale_and_shift(kept, context)
        return tf.concat([kept, (rest - shift) * tf.exp(-log_scale)], axis=-1)

    def get_config(self):
        return {**super().get_config(), "net": keras.saving.serialize_keras_object(self.net)}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "net": keras.saving.deserialize_keras_object(config["net"])})


def _halves(x):
    """Splits the channels in two; of an odd number the first part gets one more."""
    kept = x.shape[-1] - x.shape[-1] // 2
    return x[..., :kept], x[..., kept:]
