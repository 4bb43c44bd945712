"""The networks that give a coupling its scales and shifts."""

from collections.abc import Iterable
from typing import Any, Self

import keras
import tensorflow as tf

from keras_flows import checks
from keras_flows.layers.coupling.batch_norm import BatchNorm
from keras_flows.layers.coupling.convolution import convolution
from keras_flows.layers.coupling.fourier_features import count, fourier_features
from keras_flows.layers.coupling.gated_dense_block import GatedDenseBlock
from keras_flows.layers.coupling.nystrom_attention import NystromAttention
from keras_flows.layers.coupling.residual_network import given


@keras.saving.register_keras_serializable("keras_flows")
class DenseAttentionBlock(keras.layers.Layer):
    """Attention beside a dense block: `conv(relu(norm(concat(attention(x), dense(x)))))`.

    conv is 1×1 without bias, back to the channels of the input; there is no skip connection. norm
    is batch normalisation: batch statistics in training, moving averages otherwise. Input and
    output `(batch, height, width, channels)`.

    Source: Grcić et al. 2021, *Densely connected normalizing flows*, section 3.

    Args:
        depth: Number of layers of the dense block.
        growth: Channels that a layer adds.
        attention: `"published"` or `"proper"`, the layout of the `NystromAttention`, which embeds
            in half of the channels, rounded down; or None for a block without it.
        landmarks: See `NystromAttention`.
        heads: See `NystromAttention`.
        recompute: Whether training computes attention and dense block a second time for their
            gradients instead of keeping what is inside them: less memory, more time.
    """

    def __init__(
        self,
        depth: int,
        growth: int,
        attention: str | None = "proper",
        landmarks: int = 4,
        heads: int = 1,
        recompute: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        checks.count(depth, "depth")
        checks.count(growth, "growth")
        checks.flag(recompute, "recompute")
        self.depth, self.growth, self.recompute = depth, growth, recompute
        self.layout, self.landmarks, self.heads = attention, landmarks, heads

    def build(self, input_shape: tuple) -> None:
        *positions, channels = input_shape
        policy = self.dtype_policy
        self.attention = None
        if self.layout is not None:
            if channels < 2:
                raise ValueError(
                    "Attention embeds in half of the channels, rounded down, and so needs two or "
                    f"more; got {channels}."
                )
            self.attention = NystromAttention(
                channels // 2, self.landmarks, self.layout, self.heads, dtype=policy
            )
            self.attention.build(input_shape)
        self.dense = GatedDenseBlock(channels, self.depth, self.growth, dtype=policy)
        self.dense.build(input_shape)
        self.norm = BatchNorm(momentum=0.9, epsilon=1e-5, dtype=policy)
        self.mix = convolution(channels, 1, policy, bias=False)
        both = channels if self.attention is None else 2 * channels
        self.norm.build((*positions, both))
        self.mix.build((*positions, both))
        self.built = True

    def _branches(self, x):
        y = self.dense(x)
        return y if self.attention is None else tf.concat([self.attention(x), y], axis=-1)

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        # Without the normalisation, which would move its averages twice.
        branches = self._branches
        if training and self.recompute:
            branches = tf.recompute_grad(branches)
        return self.mix(tf.nn.relu(self.norm(branches(x), training=training)))

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return tuple(input_shape)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "depth": self.depth,
            "growth": self.growth,
            "attention": self.layout,
            "landmarks": self.landmarks,
            "heads": self.heads,
            "recompute": self.recompute,
        }


def with_context(x: tf.Tensor, context: tf.Tensor | None, size: int | None) -> tf.Tensor:
    """Images with a context behind their channels, the same at all pixels where it is a vector.

    Args:
        x: `(batch, height, width, channels)`.
        context: `(batch, size)` or `(batch, height, width, size)`.
        size: Of the context; None for a network without, which gets x as it is.

    Raises:
        ValueError: If the network has a context, and none is given.
    """
    context = given(context, size, "channels")
    if context is None:
        return x
    if len(context.shape) == 2:
        shape = tf.concat([tf.shape(x)[:3], [size]], axis=0)
        context = tf.broadcast_to(context[:, None, None, :], shape)
    return tf.concat([x, context], axis=-1)


@keras.saving.register_keras_serializable("keras_flows")
class CouplingNetwork(keras.layers.Layer):
    """conv 1×1 to `width` channels → blocks → conv 1×1 to `filters`, which starts at zero.

    Input `(batch, height, width, channels)`, output `(batch, height, width, filters)`. A context
    is concatenated to the input, behind it: a map `(batch, height, width, context_size)` as it is,
    a vector `(batch, context_size)` the same at all positions.

    Source: Grcić et al. 2021, *Densely connected normalizing flows*, section 3.

    Args:
        filters: Channels of the output.
        width: Channels inside.
        blocks: Layers that keep the number of channels, such as `DenseAttentionBlock` and
            `ResidualDenseBlock`.
        context_size: Channels of the context; None for a network without context.
        fourier_bits: Bits of the integers that the input stands for, as numbers from -1 to 1, if
            their `fourier_features` are seen; None for the input as it is.
    """

    def __init__(
        self,
        filters: int,
        width: int,
        blocks: Iterable[keras.layers.Layer],
        context_size: int | None = None,
        fourier_bits: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        checks.count(filters, "filters")
        checks.count(width, "width")
        if fourier_bits is not None:
            checks.bits(fourier_bits)
        self.filters, self.width, self.context_size = filters, width, context_size
        self.fourier_bits = fourier_bits
        self.blocks = list(blocks)
        self.first = convolution(width, 1, self.dtype_policy)
        self.last = convolution(filters, 1, self.dtype_policy, zeros=True)

    def build(self, input_shape: tuple) -> None:
        *positions, channels = input_shape
        seen = channels * count(self.fourier_bits) + (self.context_size or 0)
        self.first.build((*positions, seen))
        for block in self.blocks:
            checks.build_once(block, (*positions, self.width))
        self.last.build((*positions, self.width))
        self.built = True

    def call(
        self, x: tf.Tensor, context: tf.Tensor | None = None, training: bool = False
    ) -> tf.Tensor:
        x = fourier_features(x, self.fourier_bits)
        y = self.first(with_context(x, context, self.context_size))
        for block in self.blocks:
            y = block(y, training=training)
        return self.last(y)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (*input_shape[:-1], self.filters)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "filters": self.filters,
            "width": self.width,
            "blocks": [keras.saving.serialize_keras_object(block) for block in self.blocks],
            "context_size": self.context_size,
            "fourier_bits": self.fourier_bits,
        }

    @classmethod
    def from_config(cls, config: dict) -> Self:
        blocks = [keras.saving.deserialize_keras_object(block) for block in config["blocks"]]
        return cls(**{**config, "blocks": blocks})
