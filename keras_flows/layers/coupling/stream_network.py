"""The two streams of PixelCNN++."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_flows import checks
from keras_flows.layers.coupling.fourier_features import count, fourier_features
from keras_flows.layers.coupling.padded_convolution import (
    WeightNormConv,
    WeightNormUpsampling,
    above,
    above_left,
)
from keras_flows.layers.coupling.raster_network import RasterNetwork
from keras_flows.numerics.logistic_mixture import grid, log_masses, mixture

# Kernels of the stream that sees the rows above, and of the one that sees what is to the left too.
_UP, _LEFT = (2, 3), (2, 2)
_PADS = {_UP: above, _LEFT: above_left}


def concatenated_elu(x: tf.Tensor) -> tf.Tensor:
    """`elu(concat(x, -x))`, twice the channels."""
    return tf.nn.elu(tf.concat([x, -x], axis=-1))


def gated(x: tf.Tensor) -> tf.Tensor:
    """`a sigmoid(b)` of the halves a, b of the channels."""
    a, b = tf.split(x, 2, axis=-1)
    return a * tf.sigmoid(b)


class GatedResidual(keras.layers.Layer):
    """`x + gate(conv(celu(conv(celu(x)) + mix(celu(side)))))`, mix 1×1; celu is `concatenated_elu`.

    Input and output `(batch, height, width, channels)`.

    Source: Salimans et al. 2017, *PixelCNN++*, section 2.4 and its published code, here without
    dropout.

    Args:
        size: `(height, width)` of the kernels.
        side: Channels of the other input; 0 where there is none.
    """

    def __init__(self, size: tuple[int, int], side: int = 0, **kwargs: Any):
        super().__init__(**kwargs)
        self.size, self.side = size, side

    def build(self, input_shape: tuple) -> None:
        *positions, channels = input_shape
        self.first = _conv(channels, self.size, self.dtype_policy)
        self.last = _conv(2 * channels, self.size, self.dtype_policy)
        for conv in (self.first, self.last):
            conv.build((*positions, 2 * channels))
        self.mix = None
        if self.side:
            self.mix = _conv(channels, (1, 1), self.dtype_policy)
            self.mix.build((*positions, 2 * self.side))
        self.built = True

    def call(self, x: tf.Tensor, side: tf.Tensor | None = None) -> tf.Tensor:
        y = self.first(concatenated_elu(x))
        if self.mix is not None:
            y += self.mix(concatenated_elu(side))
        return x + gated(self.last(concatenated_elu(y)))


def _conv(filters, size, policy, strides=1, start="uniform"):
    pads = _PADS.get(size, above_left)(*size)
    return WeightNormConv(filters, size, pads, strides, start=start, dtype=policy)


@keras.saving.register_keras_serializable("keras_flows")
class StreamNetwork(RasterNetwork):
    """The network of PixelCNN++: two streams of shifted convolutions, at several resolutions.

    One stream sees the rows above a pixel, the other one the pixels to the left, too; the second
    sees the first. Both go down through the resolutions, `blocks` gated blocks at each, and up
    again, one more block at all but the lowest, where every block sees what stands at its place on
    the way down. All convolutions are weight-normalised; the last one, 1×1, makes the parameters.
    See `AutoregressiveNetwork`.

    Of several colours it makes the parameters of mixtures with as many components each, tied as in
    `tied`: one mixture of all colours, whose means move by the colours before them at the pixel.

    Source: Salimans et al. 2017, *PixelCNN++*.

    Args:
        event_shape: `(height, width, channels)`, the sides divisible by 2 as often as the
            resolution is halved.
        parameters: Outputs of each number; for more than one colour, 3 for each component.
        width: Channels of the streams, one number or one for every resolution.
        blocks: Blocks at every resolution of the way down.
        scales: Number of resolutions.
        bits: Of the integers that the input stands for, between -1 and 1.
        context_size: Size of the context; None for a network without context.
        fourier_features: Whether the network sees the `fourier_features` of the integers.

    Raises:
        ValueError: If an argument is out of range, or the sides do not fit.
    """

    def __init__(
        self,
        event_shape: tuple[int, ...],
        parameters: int,
        width: int | Sequence[int] = 160,
        blocks: int = 5,
        scales: int = 3,
        bits: int = 8,
        context_size: int | None = None,
        fourier_features: bool = False,
        **kwargs: Any,
    ):
        super().__init__(event_shape, parameters, context_size, **kwargs)
        checks.count(blocks, "blocks")
        checks.count(scales, "scales")
        checks.bits(bits)
        checks.flag(fourier_features, "fourier_features")
        widths = list(width) if isinstance(width, Sequence) else [width] * scales
        checks.counts(widths, "width, the channels at every resolution,")
        if len(widths) != scales:
            raise ValueError(f"width has {len(widths)} numbers for {scales} resolutions.")
        height, side, colours = self.event_shape
        if height % 2 ** (scales - 1) or side % 2 ** (scales - 1):
            raise ValueError(
                f"For {scales} resolutions the sides must be divisible by {2 ** (scales - 1)}; got "
                f"an image {self.event_shape}."
            )
        if colours > 1 and parameters % 3:
            raise ValueError(
                f"Of several colours this network makes mixtures: parameters must be 3 for each "
                f"component; got {parameters}."
            )
        self.widths, self.blocks, self.scales, self.bits = widths, blocks, scales, bits
        self.fourier_bits = bits if fourier_features else None
        self.components = parameters // 3
        # The pairs of a colour and one before it.
        self.pairs = [(i, j) for i in range(colours) for j in range(i)]
        outputs = parameters * colours
        if colours > 1:
            outputs = self.components * (1 + 2 * colours + len(self.pairs))
        policy = self.dtype_policy
        self.first_up = _conv(widths[0], (2, 3), policy)
        self.first_row = WeightNormConv(widths[0], (1, 3), above(1, 3), dtype=policy)
        self.first_column = WeightNormConv(widths[0], (2, 1), above_left(2, 1), dtype=policy)
        self.down, self.up = [], []
        for i, channels in enumerate(widths):
            self.down.append([self._pair(0, channels, channels) for _ in range(blocks)])
            # Of the way down, what begins a resolution is at a place of its own.
            more = blocks if i == scales - 1 else blocks + 1
            self.up.append([self._pair(channels, channels, 2 * channels) for _ in range(more)])
        halved, doubled = widths[1:], widths[:-1]
        self.halving = [self._both(_conv, n, strides=2) for n in halved]
        self.doubling = [self._both(_upsampling, n) for n in doubled]
        self.last = _conv(outputs, (1, 1), policy, start="normal")

    def _pair(self, side, channels, side_left):
        policy = {"dtype": self.dtype_policy}
        return [GatedResidual(_UP, side, **policy), GatedResidual(_LEFT, side_left, **policy)]

    def _both(self, make, filters, **options):
        return [make(filters, size, self.dtype_policy, **options) for size in (_UP, _LEFT)]

    def build(self, input_shape: tuple) -> None:
        batch, *sides, colours = input_shape
        widths = self.widths
        for conv in (self.first_up, self.first_row, self.first_column):
            conv.build((batch, *sides, colours * count(self.fourier_bits) + 1))
        for i, channels in enumerate(widths):
            shape = (batch, *(side // 2**i for side in sides), channels)
            for pair in (*self.down[i], *self.up[i]):
                for block in pair:
                    block.build(shape)
            if i + 1 < self.scales:
                lower = (batch, *(side // 2 ** (i + 1) for side in sides), widths[i + 1])
                for one, other in zip(self.halving[i], self.doubling[i], strict=True):
                    one.build(shape)
                    other.build(lower)
        self.last.build((batch, *sides, widths[0]))
        self.context_layer = self._context_layer(widths[0])
        self.built = True

    def _streams(self, x, context):
        """What the last convolution sees: the second stream, after both ways."""
        x = fourier_features(x, self.fourier_bits)
        x = tf.concat([x, tf.ones_like(x[..., :1])], axis=-1)
        u = _from_above(self.first_up(x))
        left = _from_above(self.first_row(x)) + _from_left(self.first_column(x))
        u = self._shifted(u, self.context_layer, context)
        kept = [(u, left)]
        for i, blocks in enumerate(self.down):
            if i:
                u, left = (f(h) for f, h in zip(self.halving[i - 1], (u, left), strict=True))
                kept.append((u, left))
            for up, across in blocks:
                u = up(u)
                left = across(left, u)
                kept.append((u, left))
        u, left = kept.pop()
        for i in reversed(range(self.scales)):
            for up, across in self.up[i]:
                side, side_left = kept.pop()
                u = up(u, side)
                left = across(left, tf.concat([u, side_left], axis=-1))
            if i:
                u, left = (f(h) for f, h in zip(self.doubling[i - 1], (u, left), strict=True))
        return left

    def raw(
        self, x: tf.Tensor, context: tf.Tensor | None = None, training: bool = False
    ) -> tf.Tensor:
        """What the last convolution makes of an image, before the colours are tied."""
        return self.last(tf.nn.elu(self._streams(x, context)))

    def call(
        self, x: tf.Tensor, context: tf.Tensor | None = None, training: bool = False
    ) -> tf.Tensor:
        made = self.raw(x, context)
        return made if self.event_shape[-1] == 1 else tied(x, made, self.components, self.bits)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "width": self.widths,
            "blocks": self.blocks,
            "scales": self.scales,
            "bits": self.bits,
            "fourier_features": self.fourier_bits is not None,
        }


def _upsampling(filters, size, policy):
    return WeightNormUpsampling(filters, size, dtype=policy)


def _from_above(x):
    """Every row in the place of the next one."""
    return tf.pad(x[:, :-1], ((0, 0), (1, 0), (0, 0), (0, 0)))


def _from_left(x):
    """Every column in the place of the next one."""
    return tf.pad(x[:, :, :-1], ((0, 0), (0, 0), (1, 0), (0, 0)))


def tied(x: tf.Tensor, made: tf.Tensor, components: int, bits: int) -> tf.Tensor:
    """The parameters of every colour, given those before it, from one mixture of all colours.

    The mixture of a pixel is `sum_k π_k p_k(red) p_k(green | red) p_k(blue | red, green)`. Given
    red, green is of a mixture with weights in proportion to `π_k p_k(red)`, and so on.

    Args:
        x: Images `(batch, height, width, colours)` of integers v as `2 v / (2^bits - 1) - 1`.
        made: `(batch, height, width, …)`: the logits of π, the means of all colours, their
            log-scales, and the raw coefficients of pairs of colours, each with all components.
        components: Number of components.
        bits: Of the integers.

    Returns:
        `(batch, height, width, 3 components colours)`: of every colour logits, means less a grid
        from -1 to 1, and log-scales, as `keras_flows.transforms.maps.DiscretizedMixtureMap` takes.
    """
    colours = x.shape[-1]
    parts = tf.split(made, made.shape[-1] // components, axis=-1)
    logits, means, log_scales = (
        parts[0],
        parts[1 : colours + 1],
        parts[colours + 1 : 2 * colours + 1],
    )
    raw = iter(parts[2 * colours + 1 :])
    spacing = 2.0 / (2.0**bits - 1.0)
    outputs = []
    for i in range(colours):
        mean = means[i]
        for j in range(i):
            mean += tf.tanh(next(raw)) * x[..., j : j + 1]
        outputs += [logits, mean, log_scales[i]]
        low = x[..., i] - 0.5 * spacing
        ends = (x[..., i] < -1.0 + 0.5 * spacing, x[..., i] > 1.0 - 0.5 * spacing)
        of_each = mixture(logits, mean + grid(components, x.dtype), log_scales[i])
        logits += log_masses(low, spacing, ends, of_each)
    return tf.concat(outputs, axis=-1)
