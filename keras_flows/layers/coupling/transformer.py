"""The blocks of transformers, on tokens."""

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_flows.layers.coupling.dense import Linear
from keras_flows.layers.coupling.residual_network import given
from keras_flows.numerics.events import reshape_events


class TransformerBlock(keras.layers.Layer):
    """`h = x + attention(norm(x))`, then `h + mlp(norm(h))`, on tokens `(batch, tokens, channels)`.

    The attention is softmax(q kᵀ / sqrt(d)) v of several heads, or of each token over those up to
    it; the mlp is a matrix, GELU and a matrix. Norms are over the channels of a token.

    Source: Vaswani et al. 2017, *Attention Is All You Need*; Radford et al. 2019 (norms first).

    Args:
        heads: Number of heads, which divides the channels.
        expansion: Channels inside the mlp, as a multiple.
        causal: Whether a token sees itself and those before it only.
        epsilon: Of the norms.
        approximate: Whether GELU is its approximation by tanh.

    Raises:
        ValueError: If the channels are not divisible by the heads.
    """

    def __init__(
        self,
        heads: int,
        expansion: int = 4,
        causal: bool = False,
        epsilon: float = 1e-5,
        approximate: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.heads, self.expansion, self.causal = heads, expansion, causal
        self.approximate = approximate
        policy = {"dtype": self.dtype_policy}
        self.norms = [keras.layers.LayerNormalization(epsilon=epsilon, **policy) for _ in range(2)]

    def build(self, input_shape: tuple) -> None:
        channels = input_shape[-1]
        if channels % self.heads:
            raise ValueError(
                f"The heads share the channels: {channels} is not divisible by {self.heads}."
            )
        policy = {"dtype": self.dtype_policy}
        self.qkv = Linear(3 * channels, **policy)
        self.mix = Linear(channels, **policy)
        self.wide = Linear(self.expansion * channels, **policy)
        self.narrow = Linear(channels, **policy)
        for layer in (*self.norms, self.qkv, self.mix, self.wide):
            layer.build(input_shape)
        self.narrow.build((*input_shape[:-1], self.expansion * channels))
        self.built = True

    def call(self, x: tf.Tensor) -> tf.Tensor:
        h = x + self.mix(multi_head_attention(self.qkv(self.norms[0](x)), self.heads, self.causal))
        return h + self.narrow(_gelu(self.wide(self.norms[1](h)), self.approximate))


class TokenEmbedding(keras.layers.Layer):
    """Tokens by a matrix, moved by a trained map of places and by a context, the same for all.

    Input `(batch, tokens, channels)`, output `(batch, tokens, width)`.

    Args:
        width: Channels of the output.
        spread: Standard deviation of the map of places at the start.
        context_size: Size of the context; None without context.
    """

    def __init__(self, width: int, spread: float, context_size: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.width, self.spread, self.context_size = width, spread, context_size
        policy = {"dtype": self.dtype_policy}
        self.first = Linear(width, **policy)
        self.context_layer = None if context_size is None else Linear(width, **policy)

    def build(self, input_shape: tuple) -> None:
        self.first.build(input_shape)
        self.places = self.add_weight(
            name="places",
            shape=(input_shape[1], self.width),
            initializer=keras.initializers.RandomNormal(stddev=self.spread),
        )
        if self.context_layer is not None:
            self.context_layer.build((None, self.context_size))
        self.built = True

    def call(self, x: tf.Tensor, context: tf.Tensor | None = None) -> tf.Tensor:
        context = given(context, self.context_size)
        h = self.first(x) + tf.cast(self.places, x.dtype)
        return h if self.context_layer is None else h + self.context_layer(context)[:, None]


def multi_head_attention(qkv: tf.Tensor, heads: int, causal: bool = False) -> tf.Tensor:
    """`softmax(q kᵀ / sqrt(d)) v` of several heads, which share the channels.

    Args:
        qkv: `(batch, tokens, 3 channels)`: q, k and v, each head by head.
        heads: Their number, which divides the channels.
        causal: Whether a token sees itself and those before it only.

    Returns:
        Tensor `(batch, tokens, channels)`.
    """
    tokens, channels = qkv.shape[1], qkv.shape[2] // 3
    size = channels // heads
    parts = reshape_events(qkv, (tokens, 3, heads, size))
    q, k, v = tf.unstack(tf.transpose(parts, (0, 2, 3, 1, 4)), axis=1)
    scores = tf.matmul(q, k, transpose_b=True) / math.sqrt(size)
    if causal:
        later = np.triu(np.ones((tokens, tokens), bool), 1)
        scores = tf.where(later, tf.constant(scores.dtype.min, scores.dtype), scores)
    y = tf.transpose(tf.matmul(tf.nn.softmax(scores), v), (0, 2, 1, 3))
    return reshape_events(y, (tokens, channels))


def _gelu(x, approximate):
    """`x Φ(x)`, or its approximation; written out, as exported graphs have no erfc."""
    if approximate:
        inner = math.sqrt(2.0 / math.pi) * (x + 0.044715 * x * x * x)
        return 0.5 * x * (1.0 + tf.tanh(inner))
    return 0.5 * x * (1.0 + tf.math.erf(x * math.sqrt(0.5)))
