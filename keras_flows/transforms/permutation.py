"""Fixed permutations of the channels."""

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_flows.noise import Noise
from keras_flows.numerics.events import zeros_per_example
from keras_flows.transforms.base import Transform


@keras.saving.register_keras_serializable("keras_flows")
class Permutation(Transform):
    """`z[..., i] = x[..., order[i]]`; `log_det = 0`.

    Args:
        order: A permutation of `0 … channels - 1`.
    """

    def __init__(self, order: Iterable[int], **kwargs: Any):
        super().__init__(**kwargs)
        if isinstance(order, str) or not all(isinstance(i, (int, np.integer)) for i in order):
            raise ValueError(f"order must be a permutation of 0 … n-1; got {order!r}.")
        self.order = [int(i) for i in order]
        if sorted(self.order) != list(range(len(self.order))):
            raise ValueError(f"order must be a permutation of 0 … n-1; got {list(order)}.")

    def build(self, input_shape: tuple) -> None:
        if input_shape[-1] != len(self.order):
            raise ValueError(
                f"This permutation is of {len(self.order)} channels; the input has "
                f"{input_shape[-1]}."
            )
        super().build(input_shape)

    def encode(
        self,
        x: tf.Tensor,
        context: tf.Tensor | None = None,
        noise: Noise | None = None,
        training: bool = False,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.gather(x, self.order, axis=-1), zeros_per_example(x)

    def decode(
        self, z: tf.Tensor, context: tf.Tensor | None = None, noise: Noise | None = None
    ) -> tf.Tensor:
        return tf.gather(z, np.argsort(self.order).tolist(), axis=-1)

    def get_config(self) -> dict:
        return {**super().get_config(), "order": self.order}


@keras.saving.register_keras_serializable("keras_flows")
class Reverse(Transform):
    """`z = x[..., ::-1]`, the channels in reverse order; `log_det = 0`."""

    def encode(
        self,
        x: tf.Tensor,
        context: tf.Tensor | None = None,
        noise: Noise | None = None,
        training: bool = False,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.reverse(x, axis=[-1]), zeros_per_example(x)

    def decode(
        self, z: tf.Tensor, context: tf.Tensor | None = None, noise: Noise | None = None
    ) -> tf.Tensor:
        return tf.reverse(z, axis=[-1])
