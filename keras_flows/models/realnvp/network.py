"""The network of a coupling of Real NVP on images."""

from typing import Any

import keras
import tensorflow as tf

from keras_flows import checks
from keras_flows.layers.coupling.batch_norm import BatchNorm
from keras_flows.layers.coupling.network import with_context
from keras_flows.layers.coupling.padded_convolution import WeightNormConv
from keras_flows.numerics.events import reshape_events


@keras.saving.register_keras_serializable("keras_flows")
class RealNVPNetwork(keras.layers.Layer):
    """A residual network of weight-normalised convolutions, for a coupling by a `NormalMap`.

    Batch normalisation, `relu(concat(h, -h))`, conv 3×3 to `width` channels, then `blocks` times
    `h = h + conv(relu(norm(conv(relu(norm(h))))))`. What stands before and after every block is
    summed by 1×1 convolutions; after norm and relu a last one makes of every channel a mean and r,
    and the log-scale is `gain tanh(r)` with a trained gain of the channel. Input
    `(batch, height, width, channels)`, output `(batch, height, width, filters)`. A context is
    concatenated to the input, behind it.

    Source: Dinh et al. 2017, *Density Estimation using Real NVP*, section 4.1, and its published
    code.

    Args:
        filters: Channels of the output, even.
        width: Channels inside.
        blocks: Number of residual blocks.
        masked: Whether half of the input is zero; it is doubled then, after the normalisation.
        context_size: Size of the context; None for a network without context.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        filters: int,
        width: int = 64,
        blocks: int = 8,
        masked: bool = False,
        context_size: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        for value, name in ((filters, "filters"), (width, "width"), (blocks, "blocks")):
            checks.count(value, name)
        if filters % 2:
            raise ValueError(f"filters are a mean and a scale of each channel; got {filters}.")
        checks.flag(masked, "masked")
        self.filters, self.width, self.masked = filters, width, bool(masked)
        self.context_size = context_size
        self.first_norm, self.first = self._norm(), self._conv(width, 3)
        # A block is norm, convolution, norm, convolution.
        self.blocks = [
            (self._norm(), self._conv(width, 3, bias=False), self._norm(), self._conv(width, 3))
            for _ in range(blocks)
        ]
        self.skips = [self._conv(width, 1) for _ in range(blocks + 1)]
        self.last_norm, self.last = self._norm(), self._conv(filters, 1, start="small")

    def _norm(self):
        return BatchNorm(momentum=0.9, epsilon=1e-5, dtype=self.dtype_policy)

    def _conv(self, filters, side, **options):
        return WeightNormConv(filters, (side, side), dtype=self.dtype_policy, **options)

    def build(self, input_shape: tuple) -> None:
        *positions, channels = input_shape
        channels += self.context_size or 0
        self.first_norm.build((*positions, channels))
        self.first.build((*positions, 2 * channels))
        hidden = (*positions, self.width)
        for layer in (*(layer for block in self.blocks for layer in block), *self.skips):
            layer.build(hidden)
        self.last_norm.build(hidden)
        self.last.build(hidden)
        self.gain = self.add_weight(name="gain", shape=(self.filters // 2,), initializer="ones")
        self.built = True

    def call(
        self, x: tf.Tensor, context: tf.Tensor | None = None, training: bool = False
    ) -> tf.Tensor:
        x = with_context(x, context, self.context_size)
        h = self.first_norm(x, training=training) * (2.0 if self.masked else 1.0)
        h = self.first(tf.nn.relu(tf.concat([h, -h], axis=-1)))
        total = self.skips[0](h)
        for block, skip in zip(self.blocks, self.skips[1:], strict=True):
            y = h
            for norm, conv in (block[:2], block[2:]):
                y = conv(tf.nn.relu(norm(y, training=training)))
            h += y
            total += skip(h)
        made = self.last(tf.nn.relu(self.last_norm(total, training=training)))
        pairs = reshape_events(made, (*made.shape[1:-1], self.filters // 2, 2))
        mean, raw = tf.unstack(pairs, axis=-1)
        scales = tf.stack([mean, tf.cast(self.gain, made.dtype) * tf.tanh(raw)], axis=-1)
        return reshape_events(scales, made.shape[1:])

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (*input_shape[:-1], self.filters)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "filters": self.filters,
            "width": self.width,
            "blocks": len(self.blocks),
            "masked": self.masked,
            "context_size": self.context_size,
        }
