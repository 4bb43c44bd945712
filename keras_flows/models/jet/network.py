"""The network of a coupling of Jet."""

from typing import Any

import keras
import tensorflow as tf

from keras_flows import checks
from keras_flows.layers.coupling.dense import Linear
from keras_flows.layers.coupling.transformer import TokenEmbedding, TransformerBlock


@keras.saving.register_keras_serializable("keras_flows")
class VisionTransformer(keras.layers.Layer):
    """A matrix and a map of places, blocks of attention, a norm, and a matrix that starts at zero.

    The attention is of all tokens over all tokens. Input `(batch, tokens, channels)`, output
    `(batch, tokens, filters)`. A context is added to all tokens, by a matrix.

    Source: Kolesnikov et al. 2024, *Jet: A Modern Transformer-Based Normalizing Flow*.

    Args:
        filters: Channels of the output.
        width: Channels inside, divisible by the heads.
        layers: Number of blocks.
        heads: Of the attention.
        context_size: Size of the context; None for a network without context.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        filters: int,
        width: int = 512,
        layers: int = 2,
        heads: int = 8,
        context_size: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        for value, name in (
            (filters, "filters"),
            (width, "width"),
            (layers, "layers"),
            (heads, "heads"),
        ):
            checks.count(value, name)
        if width % heads:
            raise ValueError(f"The heads share the width: {width} is not divisible by {heads}.")
        self.filters, self.width, self.heads = filters, width, heads
        self.context_size = context_size
        policy = {"dtype": self.dtype_policy}
        self.embedding = TokenEmbedding(width, 0.02, context_size, **policy)
        self.blocks = [
            TransformerBlock(heads, epsilon=1e-6, approximate=True, **policy) for _ in range(layers)
        ]
        self.norm = keras.layers.LayerNormalization(epsilon=1e-6, **policy)
        self.last = Linear(filters, "zeros", **policy)

    def build(self, input_shape: tuple) -> None:
        hidden = (None, input_shape[1], self.width)
        self.embedding.build(input_shape)
        for block in self.blocks:
            block.build(hidden)
        self.norm.build(hidden)
        self.last.build(hidden)
        self.built = True

    def call(
        self, x: tf.Tensor, context: tf.Tensor | None = None, training: bool = False
    ) -> tf.Tensor:
        h = self.embedding(x, context)
        for block in self.blocks:
            h = block(h)
        return self.last(self.norm(h))

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (*input_shape[:-1], self.filters)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "filters": self.filters,
            "width": self.width,
            "layers": len(self.blocks),
            "heads": self.heads,
            "context_size": self.context_size,
        }
