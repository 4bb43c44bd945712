"""Activation normalisation."""

from typing import Any

import keras
import tensorflow as tf

from keras_flows import checks
from keras_flows.noise import Noise
from keras_flows.numerics import replicas
from keras_flows.numerics.events import event_size
from keras_flows.transforms.base import Transform


@keras.saving.register_keras_serializable("keras_flows")
class ActNorm(Transform):
    """A trained affine map per channel: `z = (x + bias) exp(log_scale)`.

    `log_det = positions * sum(log_scale)`. The first training batch sets it to zero mean and
    unit variance per channel: `bias = -mean`, `log_scale = -ln(deviation + epsilon)` with
    `deviation = sqrt(max(variance, floor))` and the unbiased variance. Whether that has happened
    is a weight, so a loaded flow is never initialised again. Before it, the map is the identity.
    Under a `tf.distribute.Strategy` it is the batch of all replicas.

    Input and output `(batch, …, channels)`.

    Source: Kingma & Dhariwal 2018, *Glow*; the floor is that of Chen et al. 2019. Grcić et al.
    2021, *Densely connected normalizing flows*, have no floor, and epsilon 1e-6.

    Args:
        minimum_variance: The floor of the variance in the initialisation.
        epsilon: What is added to the deviation in the initialisation.

    Raises:
        ValueError: If a channel that never changes would make the scale infinite.
    """

    def __init__(self, minimum_variance: float = 0.2, epsilon: float = 0.0, **kwargs: Any):
        super().__init__(**kwargs)
        checks.number(minimum_variance, "minimum_variance", 0.0, checks.LARGE, "0 or more")
        checks.number(epsilon, "epsilon", 0.0, checks.LARGE, "0 or more")
        if minimum_variance == epsilon == 0.0:
            raise ValueError(
                "minimum_variance and epsilon must be 0 or more, and one of them above 0; got "
                f"{minimum_variance} and {epsilon}."
            )
        self.minimum_variance, self.epsilon = minimum_variance, epsilon

    def build(self, input_shape: tuple) -> None:
        channels = (input_shape[-1],)
        self.bias = self.add_weight(name="bias", shape=channels, initializer="zeros")
        self.log_scale = self.add_weight(name="log_scale", shape=channels, initializer="zeros")
        self.initialized = self.add_weight(
            name="initialized", shape=(), dtype="int32", initializer="zeros", trainable=False
        )
        super().build(input_shape)

    def _initialize(self, x):
        axes = list(range(len(x.shape) - 1))
        count = tf.cast(tf.size(x) / x.shape[-1], x.dtype)
        mean = tf.reduce_mean(x, axis=axes)
        squares = tf.reduce_sum(tf.square(x - mean), axis=axes)
        mean, squares, count = replicas.joined(mean, squares, count)
        variance = squares / tf.maximum(count - 1.0, 1.0)
        # A batch with a NaN, which stops training, leaves the weights as they are.
        ok = tf.reduce_all(tf.math.is_finite(mean) & tf.math.is_finite(variance))
        deviation = tf.sqrt(tf.maximum(variance, self.minimum_variance))
        log_scale = -tf.math.log(deviation + self.epsilon)
        done = tf.convert_to_tensor(self.initialized)
        ok &= done == 0
        self.bias.assign(tf.where(ok, -mean, self.bias))
        self.log_scale.assign(tf.where(ok, log_scale, self.log_scale))
        self.initialized.assign(tf.maximum(done, tf.cast(ok, done.dtype)))

    def encode(
        self,
        x: tf.Tensor,
        context: tf.Tensor | None = None,
        noise: Noise | None = None,
        training: bool = False,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        if training and replicas.count() > 1:
            if replicas.is_first_batch():
                self._initialize(tf.stop_gradient(x))
        elif training:
            done = tf.convert_to_tensor(self.initialized) > 0
            tf.cond(done, lambda: None, lambda: self._initialize(tf.stop_gradient(x)))
        log_scale = tf.convert_to_tensor(self.log_scale)
        positions = event_size(x.shape[1:-1])
        log_det = tf.fill(tf.shape(x)[:1], positions * tf.reduce_sum(log_scale))
        return (x + self.bias) * tf.exp(log_scale), log_det

    def decode(
        self, z: tf.Tensor, context: tf.Tensor | None = None, noise: Noise | None = None
    ) -> tf.Tensor:
        return z * tf.exp(-tf.convert_to_tensor(self.log_scale)) - self.bias

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "minimum_variance": self.minimum_variance,
            "epsilon": self.epsilon,
        }
