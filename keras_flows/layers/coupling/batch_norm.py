"""Batch normalisation of the networks inside couplings."""

import keras
import tensorflow as tf

from keras_flows.numerics import replicas


@keras.saving.register_keras_serializable("keras_flows")
class BatchNorm(keras.layers.BatchNormalization):
    """Keras' batch normalisation over the last axis, with the moving averages of PyTorch.

    `gamma (x - mean) / sqrt(variance + epsilon) + beta` with mean and variance of the batch in
    training and moving averages otherwise. These keep the unbiased variance of a batch, where
    Keras keeps the biased one, and a batch with a NaN, which stops training, leaves them as they
    are. With `trainable = False` the layer runs in inference mode always, which is Keras's
    convention: `keras_flows.training.finetune` relies on it. Under a `tf.distribute.Strategy` the
    statistics are those of the batches of all replicas. Input and output
    `(batch, …, channels)`.

    Source: Ioffe & Szegedy 2015, *Batch Normalization*.
    """

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        precise = tf.cast(x, self.variable_dtype)
        mean, variance = self.statistics(precise, training)
        scale = tf.math.rsqrt(variance + self.epsilon) * self.gamma
        return tf.cast(precise * scale + (self.beta - mean * scale), x.dtype)

    def statistics(self, x: tf.Tensor, training: bool = False) -> tuple[tf.Tensor, tf.Tensor]:
        """The mean and the variance that x is normalised by, both `(channels,)`.

        Args:
            x: `(batch, …, channels)`, in the dtype of the averages.
            training: Whether they are those of x, which then moves the averages, unless the layer
                is not trainable.
        """
        mean, variance = map(tf.convert_to_tensor, (self.moving_mean, self.moving_variance))
        if training and self.trainable:
            mean, variance = tf.nn.moments(x, axes=list(range(len(x.shape) - 1)))
            count = tf.cast(tf.size(x) / x.shape[-1], variance.dtype)
            if replicas.count() > 1:
                mean, squares, count = replicas.joined(mean, variance * count, count)
                variance = squares / count
            self._move(mean, variance, count)
        return mean, variance

    def _move(self, mean, variance, count):
        mean, variance = tf.stop_gradient(mean), tf.stop_gradient(variance)
        unbiased = variance * count / tf.maximum(count - 1.0, 1.0)
        ok = tf.reduce_all(tf.math.is_finite(mean) & tf.math.is_finite(variance))
        for moving, new in ((self.moving_mean, mean), (self.moving_variance, unbiased)):
            old = tf.convert_to_tensor(moving)
            moving.assign(tf.where(ok, self.momentum * old + (1.0 - self.momentum) * new, old))
