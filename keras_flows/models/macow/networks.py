"""The networks of MaCow."""

from typing import Any

import keras
import tensorflow as tf

from keras_flows import checks
from keras_flows.layers.coupling.network import with_context
from keras_flows.layers.coupling.padded_convolution import WeightNormConv


@keras.saving.register_keras_serializable("keras_flows")
class MaCowNetwork(keras.layers.Layer):
    """conv 3×3 → ELU → conv 1×1 → ELU → conv 3×3, weight-normalised: that of a coupling.

    The gains of the last one start at zero. Input `(batch, height, width, channels)`, output
    `(batch, height, width, filters)`. A context is concatenated to the input, behind it.

    Source: Ma et al. 2019, *MaCow*, and its published code.

    Args:
        filters: Channels of the output.
        width: Channels inside.
        context_size: Size of the context; None for a network without context.
    """

    def __init__(self, filters: int, width: int, context_size: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        checks.count(filters, "filters")
        checks.count(width, "width")
        self.filters, self.width, self.context_size = filters, width, context_size
        policy = {"dtype": self.dtype_policy}
        self.first = WeightNormConv(width, (3, 3), **policy)
        self.second = WeightNormConv(width, (1, 1), **policy)
        self.last = WeightNormConv(filters, (3, 3), **policy)

    def build(self, input_shape: tuple) -> None:
        *positions, channels = input_shape
        self.first.build((*positions, channels + (self.context_size or 0)))
        for conv in (self.second, self.last):
            conv.build((*positions, self.width))
        self.last.gain.assign(tf.zeros(self.filters))
        self.built = True

    def call(
        self, x: tf.Tensor, context: tf.Tensor | None = None, training: bool = False
    ) -> tf.Tensor:
        y = tf.nn.elu(self.first(with_context(x, context, self.context_size)))
        return self.last(tf.nn.elu(self.second(y)))

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (*input_shape[:-1], self.filters)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "filters": self.filters,
            "width": self.width,
            "context_size": self.context_size,
        }
