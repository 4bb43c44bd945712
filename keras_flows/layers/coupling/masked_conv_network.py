"""A network of masked convolutions."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_flows import checks
from keras_flows.layers.coupling.fourier_features import count, fourier_features
from keras_flows.layers.coupling.padded_convolution import MaskedConv
from keras_flows.layers.coupling.raster_network import RasterNetwork


@keras.saving.register_keras_serializable("keras_flows")
class MaskedConvNetwork(RasterNetwork):
    """A residual network of masked convolutions: PixelCNN.

    A convolution of side `first` to `2 width` channels, then for every block
    `h = h + C relu(B relu(A relu(h)))` with A 1×1 to `width` channels, B of side `side` and C 1×1
    back; then relu, 1×1 to `head` channels, relu, 1×1. All see the pixels above and those to the
    left, in the rows that their squares reach; of the pixel itself the first one sees the colours
    before its own, and the others those up to it. Hidden channel c is of colour `c mod channels`.
    See `AutoregressiveNetwork`.

    Source: van den Oord et al. 2016, *Pixel Recurrent Neural Networks*.

    Args:
        event_shape: `(height, width, channels)`.
        parameters: Outputs of each number.
        width: Channels of B.
        blocks: Number of blocks.
        head: Channels before the last convolution.
        first: Side of the first convolution, odd.
        side: That of B, odd.
        bound: What is seen is clipped to numbers between -bound and bound; None for no bound. A
            sample beyond the data then leads no later pixel astray.
        context_size: Size of the context, which shifts what the first convolution makes; None for a
            network without context.
        fourier_bits: Bits of the integers that the input stands for, as numbers from -1 to 1, if
            their `fourier_features` are seen; None for the input as it is.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        event_shape: tuple[int, ...],
        parameters: int,
        width: int = 128,
        blocks: int = 15,
        head: int = 1024,
        first: int = 7,
        side: int = 3,
        bound: float | None = None,
        context_size: int | None = None,
        fourier_bits: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(event_shape, parameters, context_size, **kwargs)
        for value, name in ((width, "width"), (blocks, "blocks"), (head, "head")):
            checks.count(value, name)
        for value, name in ((first, "first"), (side, "side")):
            checks.count(value, name)
            if value % 2 == 0:
                raise ValueError(f"{name}, the side of a square, must be odd; got {value}.")
        if bound is not None:
            checks.positive(bound, "bound")
        self.width, self.head, self.first_side, self.side = width, head, first, side
        if fourier_bits is not None:
            checks.bits(fourier_bits)
        self.bound, self.fourier_bits = bound, fourier_bits
        colours = self.event_shape[-1]
        pixel, wide, narrow, last = (
            np.arange(n) % colours for n in (colours, 2 * width, width, head)
        )
        seen = np.tile(pixel, count(fourier_bits))
        self.first = self._conv(first, seen, wide, own=False)
        self.blocks = [
            [
                self._conv(1, wide, narrow),
                self._conv(side, narrow, narrow),
                self._conv(1, narrow, wide),
            ]
            for _ in range(blocks)
        ]
        outputs = np.repeat(pixel, parameters)
        self.last = [self._conv(1, wide, last), self._conv(1, last, outputs)]

    def _conv(self, side, into, out, own=True):
        return MaskedConv(side, into, out, own, dtype=self.dtype_policy)

    def build(self, input_shape: tuple) -> None:
        for conv in (self.first, *(conv for block in self.blocks for conv in block), *self.last):
            conv.build((*input_shape[:-1], conv.mask.shape[2]))
        self.context_layer = self._context_layer(2 * self.width)
        self.built = True

    def call(
        self, x: tf.Tensor, context: tf.Tensor | None = None, training: bool = False
    ) -> tf.Tensor:
        if self.bound is not None:
            x = tf.clip_by_value(x, -self.bound, self.bound)
        h = self.first(fourier_features(x, self.fourier_bits))
        h = self._shifted(h, self.context_layer, context)
        for block in self.blocks:
            y = h
            for conv in block:
                y = conv(tf.nn.relu(y))
            h += y
        for conv in self.last:
            h = conv(tf.nn.relu(h))
        return h

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "width": self.width,
            "blocks": len(self.blocks),
            "head": self.head,
            "first": self.first_side,
            "side": self.side,
            "bound": self.bound,
            "fourier_bits": self.fourier_bits,
        }
