"""The network of a coupling of Glow."""

from typing import Any

import keras
import tensorflow as tf

from keras_flows import checks
from keras_flows.layers.coupling.network import with_context
from keras_flows.layers.coupling.padded_convolution import PaddedConv, ZeroConv
from keras_flows.transforms.actnorm import ActNorm


@keras.saving.register_keras_serializable("keras_flows")
class GlowNetwork(keras.layers.Layer):
    """conv 3×3 → ActNorm → relu → conv 1×1 → ActNorm → relu → conv 3×3 that starts at zero.

    The first two, of `width` channels, start normal with deviation 0.05 and have no bias; the last
    one is a `ZeroConv`. Both 3×3 convolutions see one more channel, which is 1 on the padding and 0
    inside, and so where the image ends. Input
    `(batch, height, width, channels)`, output `(batch, height, width, filters)`. A context is
    concatenated to the input, behind it.

    Source: Kingma & Dhariwal 2018, *Glow*, and its published code.

    Args:
        filters: Channels of the output.
        width: Channels inside.
        context_size: Size of the context; None for a network without context.
    """

    def __init__(
        self,
        filters: int,
        width: int = 512,
        context_size: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        checks.count(filters, "filters")
        checks.count(width, "width")
        self.filters, self.width, self.context_size = filters, width, context_size
        policy = self.dtype_policy
        hidden = {"bias": False, "start": "normal", "dtype": policy}
        self.first = PaddedConv(width, (3, 3), edge=True, **hidden)
        self.second = PaddedConv(width, (1, 1), **hidden)
        self.norms = [ActNorm(0.0, 1e-6, dtype=policy) for _ in range(2)]
        self.last = ZeroConv(filters, (3, 3), edge=True, dtype=policy)

    def build(self, input_shape: tuple) -> None:
        *positions, channels = input_shape
        self.first.build((*positions, channels + (self.context_size or 0)))
        hidden = (*positions, self.width)
        self.second.build(hidden)
        for norm in self.norms:
            norm.build(hidden)
        self.last.build(hidden)
        self.built = True

    def call(
        self, x: tf.Tensor, context: tf.Tensor | None = None, training: bool = False
    ) -> tf.Tensor:
        y = with_context(x, context, self.context_size)
        for conv, norm in zip((self.first, self.second), self.norms, strict=True):
            y = tf.nn.relu(norm.encode(conv(y), training=training)[0])
        return self.last(y)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (*input_shape[:-1], self.filters)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "filters": self.filters,
            "width": self.width,
            "context_size": self.context_size,
        }


@keras.saving.register_keras_serializable("keras_flows")
class SplitPrior(keras.layers.Layer):
    """The mean and log-deviation of every number that leaves a level: a `ZeroConv` of what stays.

    Source: Kingma & Dhariwal 2018, *Glow*, and its published code.

    Args:
        filters: Channels of the output.
    """

    def __init__(self, filters: int, **kwargs: Any):
        super().__init__(**kwargs)
        checks.count(filters, "filters")
        self.filters = filters
        self.conv = ZeroConv(filters, (3, 3), edge=True, dtype=self.dtype_policy)

    def build(self, input_shape: tuple) -> None:
        self.conv.build(input_shape)
        self.built = True

    def call(
        self, x: tf.Tensor, context: tf.Tensor | None = None, training: bool = False
    ) -> tf.Tensor:
        return self.conv(x)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (*input_shape[:-1], self.filters)

    def get_config(self) -> dict:
        return {**super().get_config(), "filters": self.filters}
