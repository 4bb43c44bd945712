"""The weighted concatenation that keeps a Dense Layer 1-Lipschitz."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_flows import checks
from keras_flows.layers.lipschitz.layer import LipschitzLayer, times

_FLOOR = 0.1


@keras.saving.register_keras_serializable("keras_flows")
class LipschitzConcatenation(LipschitzLayer):
    """`concat(eta1 * x, eta2 * branch)` with `eta1^2 + eta2^2 = lip_coeff^2`.

    `eta_j = lip_coeff * e_j / sqrt(e_1^2 + e_2^2)`, `e_j = softplus(K_j) + 0.1`, both K one at
    the start. Where x and the branch are 1-Lipschitz in some input, so is `1 / lip_coeff` times
    the result.

    Source: Perugachi-Diaz et al. 2020, *Invertible DenseNets*, section 2.

    Args:
        learnable: Whether K is trained (learnable concatenation, "LC").
        start: With `learnable`, the number of training steps during which K is held.
        lip_coeff: The bound, in (0, 1].
    """

    def __init__(
        self, learnable: bool = True, start: int = 0, lip_coeff: float = 0.98, **kwargs: Any
    ):
        super().__init__(**kwargs)
        checks.positive(lip_coeff, "lip_coeff", most=1.0)
        checks.count(start, "start, a number of training steps,", least=0)
        checks.flag(learnable, "learnable")
        self.learnable = learnable
        self.start = start
        self.lip_coeff = lip_coeff

    def build(self, x_shape: tuple | None = None, branch_shape: tuple | None = None) -> None:
        self.k = self.add_weight(name="k", shape=(2,), initializer="ones", trainable=self.learnable)
        # A weight, so that a delayed start survives saving.
        self.steps = self.add_weight(
            name="steps", shape=(), dtype="int32", initializer="zeros", trainable=False
        )
        self.built = True

    def coefficients(self) -> tf.Tensor:
        """The two coefficients (eta1, eta2), a tensor of shape `(2,)`."""
        k = tf.convert_to_tensor(self.k)
        if self.learnable and self.start > 0:
            # The same value; no gradient before the start.
            k = tf.where(self.steps < self.start, tf.stop_gradient(k), k)
        eta = tf.nn.softplus(k) + _FLOOR
        return self.lip_coeff * eta * tf.math.rsqrt(tf.reduce_sum(tf.square(eta)))

    def derive(self, training: bool = False) -> Any:
        return self.coefficients()

    def call(self, x: tf.Tensor, branch: tf.Tensor, training: bool = False) -> tf.Tensor:
        return tf.concat([x, branch], axis=-1) * self.scale(x.shape[-1], branch.shape[-1])

    def scale(
        self,
        width: int,
        growth: int,
        before: tf.Tensor | None = None,
        branch: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """The factor of every channel of the result: `width` times eta1, `growth` times eta2.

        Args:
            width: Channels of x.
            growth: Channels of the branch.
            before: Factors `(width,)` that x itself still has to be multiplied by.
            branch: A factor `(1,)` of the branch.

        Returns:
            Tensor `(width + growth,)`.
        """
        first, second = tf.unstack(self.derived())
        first = tf.fill((width,), first)
        if before is not None:
            first *= before
        second = times(branch, tf.fill((growth,), second))
        return tf.concat([first, second], axis=0)

    def lipschitz_bound(self, branch_bound: float = 1.0) -> float:
        """Bound of `x -> concat(eta1 x, eta2 branch(x))` for a branch with the given bound."""
        eta = keras.ops.convert_to_numpy(self.coefficients()).astype("float64")
        return float(np.hypot(eta[0], eta[1] * branch_bound))

    def after_update(self) -> None:
        """Counts the training steps, for the delayed start."""
        self.steps.assign_add(1)

    def compute_output_shape(self, x_shape: tuple, branch_shape: tuple) -> tuple:
        return (*x_shape[:-1], x_shape[-1] + branch_shape[-1])

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "learnable": self.learnable,
            "start": self.start,
            "lip_coeff": self.lip_coeff,
        }
