"""The gated dense blocks inside the couplings of DenseFlow."""

from typing import Any

import keras
import tensorflow as tf

from keras_flows import checks
from keras_flows.layers.coupling.convolution import convolution


@keras.saving.register_keras_serializable("keras_flows")
class GatedConv1x1(keras.layers.Layer):
    """`a + b sigmoid(c)`, with a, b and c three maps of one 1×1 convolution, in this order.

    Input `(batch, height, width, channels)`, output `(batch, height, width, filters)`.

    Source: Grcić et al. 2021, *Densely connected normalizing flows*, and its published models.

    Args:
        filters: Channels of the output.
    """

    def __init__(self, filters: int, **kwargs: Any):
        super().__init__(**kwargs)
        checks.count(filters, "filters")
        self.filters = filters
        self.conv = convolution(3 * filters, 1, self.dtype_policy)

    def build(self, input_shape: tuple) -> None:
        self.conv.build(input_shape)
        self.built = True

    def call(self, x: tf.Tensor) -> tf.Tensor:
        a, b, c = tf.split(self.conv(x), 3, axis=-1)
        return a + b * tf.sigmoid(c)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (*input_shape[:-1], self.filters)

    def get_config(self) -> dict:
        return {**super().get_config(), "filters": self.filters}


@keras.saving.register_keras_serializable("keras_flows")
class GatedDenseBlock(keras.layers.Layer):
    """A dense block of convolutions, with a gated 1×1 convolution at its end.

    Each of `depth` layers is conv 1×1 (to as many channels) → ReLU → conv 3×3 (to `growth`) →
    ReLU; what it makes is concatenated after its input. Input `(batch, height, width, channels)`,
    output `(batch, height, width, filters)`.

    Source: Grcić et al. 2021, *Densely connected normalizing flows*, section 3.

    Args:
        filters: Channels of the output.
        depth: Number of layers.
        growth: Channels that a layer adds.
    """

    def __init__(self, filters: int, depth: int, growth: int, **kwargs: Any):
        super().__init__(**kwargs)
        checks.count(filters, "filters")
        checks.count(depth, "depth")
        checks.count(growth, "growth")
        self.filters, self.depth, self.growth = filters, depth, growth
        self.gate = GatedConv1x1(filters, dtype=self.dtype_policy)

    def build(self, input_shape: tuple) -> None:
        *positions, channels = input_shape
        # A layer is a pair of convolutions.
        self.pairs = []
        for _ in range(self.depth):
            pair = [
                convolution(channels, 1, self.dtype_policy),
                convolution(self.growth, 3, self.dtype_policy),
            ]
            for conv in pair:
                conv.build((*positions, channels))
            self.pairs.append(pair)
            channels += self.growth
        self.gate.build((*positions, channels))
        self.built = True

    def call(self, x: tf.Tensor) -> tf.Tensor:
        for narrow, wide in self.pairs:
            new = tf.nn.relu(wide(tf.nn.relu(narrow(x))))
            x = tf.concat([x, new], axis=-1)
        return self.gate(x)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (*input_shape[:-1], self.filters)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "filters": self.filters,
            "depth": self.depth,
            "growth": self.growth,
        }


@keras.saving.register_keras_serializable("keras_flows")
class ResidualDenseBlock(keras.layers.Layer):
    """`x + dense(x)`, with a `GatedDenseBlock` that keeps the number of channels.

    Source: Grcić et al. 2021, *Densely connected normalizing flows*, and its published models,
    which have it in the variational dequantizer.

    Args:
        depth: Number of layers of the dense block.
        growth: Channels that a layer adds.
    """

    def __init__(self, depth: int, growth: int, **kwargs: Any):
        super().__init__(**kwargs)
        checks.count(depth, "depth")
        checks.count(growth, "growth")
        self.depth, self.growth = depth, growth

    def build(self, input_shape: tuple) -> None:
        self.dense = GatedDenseBlock(
            input_shape[-1], self.depth, self.growth, dtype=self.dtype_policy
        )
        self.dense.build(input_shape)
        self.built = True

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return x + self.dense(x)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return tuple(input_shape)

    def get_config(self) -> dict:
        return {**super().get_config(), "depth": self.depth, "growth": self.growth}
