"""A transformer that goes from token to token."""

from typing import Any

import keras
import tensorflow as tf

from keras_flows import checks
from keras_flows.layers.coupling.autoregressive_network import AutoregressiveNetwork
from keras_flows.layers.coupling.dense import Linear
from keras_flows.layers.coupling.transformer import TokenEmbedding, TransformerBlock


@keras.saving.register_keras_serializable("keras_flows")
class TokenNetwork(AutoregressiveNetwork):
    """A causal transformer whose output at a token is of the token after it.

    A matrix to `width` channels and a trained map of places, `layers` blocks of causal attention
    and an mlp four times as wide, a matrix that starts at zero; then everything is moved by one
    token, zeros first. So no token sees itself, all of a token are decoded at once, and the first
    token has parameters of zero. See `keras_flows.layers.AutoregressiveNetwork`. A context is added
    to all tokens, by a matrix.

    Source: Zhai et al. 2024, *Normalizing Flows are Capable Generative Models* (TarFlow).

    Args:
        event_shape: `(tokens, size)`.
        parameters: Outputs of each number.
        width: Channels inside, divisible by the heads.
        layers: Number of blocks.
        heads: Of the attention.
        reverse: Whether it goes from the last token to the first.
        expansion: Channels inside the mlps, as a multiple of the width.
        context_size: Size of the context; None for a network without context.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        event_shape: tuple[int, ...],
        parameters: int,
        width: int,
        layers: int = 8,
        heads: int = 12,
        reverse: bool = False,
        expansion: int = 4,
        context_size: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.event_shape = checks.event_shape(event_shape)
        if len(self.event_shape) != 2:
            raise ValueError(f"This network takes tokens (tokens, size); got {self.event_shape}.")
        for value, name in (
            (parameters, "parameters"),
            (width, "width"),
            (layers, "layers"),
            (heads, "heads"),
            (expansion, "expansion"),
        ):
            checks.count(value, name)
        checks.flag(reverse, "reverse")
        if width % heads:
            raise ValueError(f"The heads share the width: {width} is not divisible by {heads}.")
        self.parameters, self.width, self.heads = parameters, width, heads
        self.reverse, self.expansion = bool(reverse), expansion
        self.context_size, self.together = context_size, self.event_shape[-1]
        policy = {"dtype": self.dtype_policy}
        self.embedding = TokenEmbedding(width, 0.01, context_size, **policy)
        self.blocks = [TransformerBlock(heads, expansion, True, **policy) for _ in range(layers)]
        self.last = Linear(self.together * parameters, "zeros", **policy)

    @property
    def order(self) -> list[int]:
        """Token by token."""
        tokens, size = self.event_shape
        order = range(tokens)[::-1] if self.reverse else range(tokens)
        return [token * size + i for token in order for i in range(size)]

    def build(self, input_shape: tuple) -> None:
        hidden = (None, self.event_shape[0], self.width)
        self.embedding.build(input_shape)
        for block in self.blocks:
            block.build(hidden)
        self.last.build(hidden)
        self.built = True

    def call(
        self, x: tf.Tensor, context: tf.Tensor | None = None, training: bool = False
    ) -> tf.Tensor:
        h = self.embedding(x, context)
        h = tf.reverse(h, axis=[1]) if self.reverse else h
        for block in self.blocks:
            h = block(h)
        made = tf.pad(self.last(h)[:, :-1], ((0, 0), (1, 0), (0, 0)))
        return tf.reverse(made, axis=[1]) if self.reverse else made

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (*input_shape[:-1], input_shape[-1] * self.parameters)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "event_shape": list(self.event_shape),
            "parameters": self.parameters,
            "width": self.width,
            "layers": len(self.blocks),
            "heads": self.heads,
            "reverse": self.reverse,
            "expansion": self.expansion,
            "context_size": self.context_size,
        }
