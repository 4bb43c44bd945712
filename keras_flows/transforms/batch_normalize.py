"""Batch normalisation between the steps of a flow."""

from typing import Any

import keras
import tensorflow as tf

from keras_flows.layers.coupling.batch_norm import BatchNorm
from keras_flows.noise import Noise
from keras_flows.transforms.triangular import Triangular

# As in the published flows: a batch moves the averages by a tenth.
_MOMENTUM, _EPSILON = 0.9, 1e-5


@keras.saving.register_keras_serializable("keras_flows")
class BatchNormalize(Triangular):
    """`z = exp(log_scale) (x - mean) / sqrt(variance + 1e-5) + shift`, for each feature.

    `log_det = sum(log_scale - ln(variance + 1e-5) / 2)`. In training, mean and variance are those
    of the batch, and gradients go through them; otherwise, and in every decoding, they are moving
    averages, weights that training keeps: by a tenth of each batch, with its unbiased variance.
    log_scale and shift are trained. In training a batch of one example has no variance, and log_det
    is then no log-density of anything; what is evaluated is a flow like any other. The averages
    are those of a `keras_flows.layers.BatchNorm`: `kf.training.finetune` freezes them, and
    `kf.training.recalibrate` takes them anew. Input and output `(batch, features)`.

    Sources: Dinh et al. 2017, *Density Estimation using Real NVP*, appendix E; Papamakarios et al.
    2017, *Masked Autoregressive Flow for Density Estimation*, appendix B.

    Raises:
        ValueError: If, when built, the data are no vectors.
    """

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        # Of the averages alone: its scale could be 0 or below.
        self.norm = BatchNorm(
            momentum=_MOMENTUM, epsilon=_EPSILON, center=False, scale=False, dtype=self.dtype_policy
        )

    def build(self, input_shape: tuple) -> None:
        if len(input_shape) != 2:
            raise ValueError(
                "BatchNormalize is for vectors; got an event of shape "
                f"{tuple(input_shape[1:])}. Images have ActNorm."
            )
        self.norm.build(input_shape)
        shape = (input_shape[-1],)
        self.log_scale = self.add_weight(name="log_scale", shape=shape, initializer="zeros")
        self.shift = self.add_weight(name="shift", shape=shape, initializer="zeros")
        super().build(input_shape)

    def encode_terms(
        self,
        x: tf.Tensor,
        context: tf.Tensor | None = None,
        noise: Noise | None = None,
        training: bool = False,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        mean, variance = self.norm.statistics(x, training)
        log_scale = self.log_scale - 0.5 * tf.math.log(variance + _EPSILON)
        return (x - mean) * tf.exp(log_scale) + self.shift, tf.zeros_like(x) + log_scale

    def decode(
        self, z: tf.Tensor, context: tf.Tensor | None = None, noise: Noise | None = None
    ) -> tf.Tensor:
        mean, variance = self.norm.statistics(z, training=False)
        log_scale = self.log_scale - 0.5 * tf.math.log(variance + _EPSILON)
        return (z - self.shift) * tf.exp(-log_scale) + mean
