"""The network of a coupling of Flow++."""

from typing import Any

import keras
import tensorflow as tf

from keras_flows import checks
from keras_flows.layers.coupling.padded_convolution import PaddedConv
from keras_flows.layers.coupling.residual_network import given
from keras_flows.layers.coupling.stream_network import concatenated_elu, gated
from keras_flows.layers.coupling.transformer import multi_head_attention
from keras_flows.numerics.events import reshape_events


class GatedConv(keras.layers.Layer):
    """`x + gate(conv(celu(conv3×3(celu(x)) + mix(celu(context)))))`; celu is `concatenated_elu`.

    Input and output `(batch, height, width, channels)`; mix is 1×1, of a context that is an image
    of that size or a vector.

    Source: Ho et al. 2019, *Flow++*, section 3.3, without the dropout.

    Args:
        last_side: Side of the kernel of the second convolution.
        context_size: Channels of the context; None for a layer without context.
    """

    def __init__(self, last_side: int = 1, context_size: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.last_side, self.context_size = last_side, context_size

    def build(self, input_shape: tuple) -> None:
        *positions, channels = input_shape
        policy, side = self.dtype_policy, self.last_side
        self.first = PaddedConv(channels, (3, 3), dtype=policy)
        self.last = PaddedConv(2 * channels, (side, side), start="small", dtype=policy)
        for conv in (self.first, self.last):
            conv.build((*positions, 2 * channels))
        self.mix = None
        if self.context_size is not None:
            self.mix = PaddedConv(channels, (1, 1), dtype=policy)
            self.mix.build((*positions, 2 * self.context_size))
        self.built = True

    def call(self, x: tf.Tensor, context: tf.Tensor | None = None) -> tf.Tensor:
        y = self.first(concatenated_elu(x))
        context = given(context, self.context_size, "channels")
        if self.mix is not None and context is not None:
            context = context[:, None, None] if len(context.shape) == 2 else context
            y += self.mix(concatenated_elu(context))
        return x + gated(self.last(concatenated_elu(y)))


class GatedAttention(keras.layers.Layer):
    """`x + gate(mix(softmax(q kᵀ / sqrt(d)) v))`, q, k and v 1×1 of x and a map of places.

    Every pixel sees every other one. Input and output `(batch, height, width, channels)`.

    Source: Ho et al. 2019, *Flow++*, section 3.3, without the dropout.

    Args:
        heads: Number of heads, which share the channels.

    Raises:
        ValueError: If the channels are not divisible by the heads.
    """

    def __init__(self, heads: int = 4, **kwargs: Any):
        super().__init__(**kwargs)
        self.heads = heads

    def build(self, input_shape: tuple) -> None:
        channels, policy = input_shape[-1], self.dtype_policy
        if channels % self.heads:
            raise ValueError(
                f"The heads share the channels: {channels} is not divisible by {self.heads}."
            )
        self.qkv = PaddedConv(3 * channels, (1, 1), dtype=policy)
        self.mix = PaddedConv(2 * channels, (1, 1), start="small", dtype=policy)
        for conv in (self.qkv, self.mix):
            conv.build(input_shape)
        self.built = True

    def call(self, x: tf.Tensor, places: tf.Tensor) -> tf.Tensor:
        height, width, channels = x.shape[1:]
        pixels = reshape_events(self.qkv(x + places), (height * width, 3 * channels))
        y = multi_head_attention(pixels, self.heads)
        return x + gated(self.mix(reshape_events(y, (height, width, channels))))


@keras.saving.register_keras_serializable("keras_flows")
class FlowPlusPlusNetwork(keras.layers.Layer):
    """conv 3×3 to `width` channels, `blocks` times attention beside convolutions, conv 3×3.

    A block is a `GatedConv`, layer normalisation of the channels of every pixel, a `GatedAttention`
    and layer normalisation; all blocks have the same map of places, which is trained. Input
    `(batch, height, width, channels)`, output `(batch, height, width, filters)`. A context, an
    image of the same size or a vector, is seen by all blocks.

    Source: Ho et al. 2019, *Flow++*, section 3.3, and its published code, without the dropout and
    the start by the variance of the first batch.

    Args:
        filters: Channels of the output.
        width: Channels inside, divisible by the heads.
        blocks: Number of blocks.
        heads: Of the attention.
        context_size: Channels of the context; None for a network without context.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        filters: int,
        width: int = 96,
        blocks: int = 10,
        heads: int = 4,
        context_size: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        for value, name in (
            (filters, "filters"),
            (width, "width"),
            (blocks, "blocks"),
            (heads, "heads"),
        ):
            checks.count(value, name)
        self.filters, self.width, self.heads = filters, width, heads
        self.context_size = context_size
        policy = {"dtype": self.dtype_policy}
        self.first = PaddedConv(width, (3, 3), **policy)
        self.blocks = [
            (
                GatedConv(1, context_size, **policy),
                keras.layers.LayerNormalization(epsilon=1e-5, **policy),
                GatedAttention(heads, **policy),
                keras.layers.LayerNormalization(epsilon=1e-5, **policy),
            )
            for _ in range(blocks)
        ]
        self.last = PaddedConv(filters, (3, 3), start="small", **policy)

    def build(self, input_shape: tuple) -> None:
        hidden = (*input_shape[:-1], self.width)
        self.first.build(input_shape)
        self.places = self.add_weight(
            name="places",
            shape=tuple(hidden[1:]),
            initializer=keras.initializers.RandomNormal(stddev=0.01),
        )
        for layer in (layer for block in self.blocks for layer in block):
            layer.build(hidden)
        self.last.build(hidden)
        self.built = True

    def call(
        self, x: tf.Tensor, context: tf.Tensor | None = None, training: bool = False
    ) -> tf.Tensor:
        y, places = self.first(x), tf.cast(self.places, x.dtype)
        for conv, first_norm, attention, second_norm in self.blocks:
            y = second_norm(attention(first_norm(conv(y, context)), places))
        return self.last(y)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (*input_shape[:-1], self.filters)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "filters": self.filters,
            "width": self.width,
            "blocks": len(self.blocks),
            "heads": self.heads,
            "context_size": self.context_size,
        }
