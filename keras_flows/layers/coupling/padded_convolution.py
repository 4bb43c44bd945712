"""Convolutions with a padding and a kernel of their own: shifted, masked, weight-normalised."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_flows.layers.coupling.masked_start import masked_start

Pads = tuple[tuple[int, int], tuple[int, int]]

_START = {
    "uniform": lambda: keras.initializers.VarianceScaling(1.0 / 3.0, "fan_in", "uniform"),
    "normal": lambda: keras.initializers.RandomNormal(stddev=0.05),
    "small": lambda: keras.initializers.RandomNormal(stddev=0.005),
    "zeros": keras.initializers.Zeros,
}


def around(height: int, width: int) -> Pads:
    """The padding that keeps the size, as much on every side."""
    return (height // 2, height // 2), (width // 2, width // 2)


def above(height: int, width: int) -> Pads:
    """That of a kernel that sees its own row and those above it."""
    return (height - 1, 0), (width // 2, width // 2)


def above_left(height: int, width: int) -> Pads:
    """That of a kernel that sees nothing below it, and nothing to the right of it."""
    return (height - 1, 0), (width - 1, 0)


class PaddedConv(keras.layers.Layer):
    """A convolution of an image that is padded with zeros, by so many rows and columns.

    Input `(batch, height, width, channels)`. Biases start at zero.

    Args:
        filters: Channels of the output.
        size: `(height, width)` of the kernel.
        pads: `((top, bottom), (left, right))`; that of `around` by default.
        strides: Step between the places of the kernel.
        bias: Whether there is a bias.
        edge: Whether the kernel sees one more channel, the last, that is 1 on the padding and 0
            inside: so it can tell where the image ends.
        start: How the kernel starts: `"uniform"`, in `±1 / sqrt(inputs)`; `"normal"`, of deviation
            0.05; `"small"`, a tenth of that; or `"zeros"`.
    """

    def __init__(
        self,
        filters: int,
        size: tuple[int, int],
        pads: Pads | None = None,
        strides: int = 1,
        bias: bool = True,
        edge: bool = False,
        start: str = "uniform",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.filters, self.size, self.strides = filters, size, strides
        self.edge = edge
        self.pads = around(*size) if pads is None else pads
        self.has_bias, self.start = bias, start

    def build(self, input_shape: tuple) -> None:
        shape = (*self.size, input_shape[-1] + self.edge, self.filters)
        self.kernel = self.add_weight(name="kernel", shape=shape, initializer=self._initializer())
        if self.has_bias:
            self.bias = self.add_weight(name="bias", shape=(self.filters,), initializer="zeros")
        self.built = True

    def _initializer(self):
        return _START[self.start]()

    def effective_kernel(self) -> tf.Tensor:
        """The kernel that the image is convolved with, a tensor `(height, width, in, out)`."""
        return tf.convert_to_tensor(self.kernel)

    def padded(self, x: tf.Tensor) -> tf.Tensor:
        """The image with its padding."""
        if not np.any(self.pads):
            return x
        return tf.pad(x, ((0, 0), *self.pads, (0, 0)))

    def call(self, x: tf.Tensor) -> tf.Tensor:
        kernel = tf.cast(self.effective_kernel(), x.dtype)
        of_image = kernel[:, :, :-1] if self.edge else kernel
        y = tf.nn.conv2d(self.padded(x), of_image, self.strides, "VALID")
        if self.edge:
            # The same for all images.
            ring = np.pad(np.zeros(x.shape[1:3]), self.pads, constant_values=1.0)
            ring = tf.constant(ring[None, :, :, None], x.dtype)
            y += tf.nn.conv2d(ring, kernel[:, :, -1:], self.strides, "VALID")
        return y + tf.cast(self.bias, y.dtype) if self.has_bias else y

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        batch, *sides, _ = input_shape
        sizes = [
            (side + sum(pad) - kernel) // self.strides + 1
            for side, pad, kernel in zip(sides, self.pads, self.size, strict=True)
        ]
        return (batch, *sizes, self.filters)


class ZeroConv(PaddedConv):
    """`(conv(x) + bias) exp(3 l)` with l for every output; kernel, biases and l start at zero.

    Source: Kingma & Dhariwal 2018, *Glow*, and its published code.
    """

    def __init__(
        self, filters: int, size: tuple[int, int], pads: Pads | None = None, **kwargs: Any
    ):
        super().__init__(filters, size, pads, start="zeros", **kwargs)

    def build(self, input_shape: tuple) -> None:
        super().build(input_shape)
        self.log_scale = self.add_weight(
            name="log_scale", shape=(self.filters,), initializer="zeros"
        )

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return super().call(x) * tf.cast(tf.exp(3.0 * self.log_scale), x.dtype)


class MaskedConv(PaddedConv):
    """A convolution that sees the pixels before its own in raster order, and part of its own.

    The kernel is the upper half of a square. Of the pixel itself, an output sees the input channels
    of colours before its own, or of its own colour too.

    Source: van den Oord et al. 2016, *Pixel Recurrent Neural Networks*.

    Args:
        side: Of the square, odd.
        into: The colour of every input channel, integers.
        out: That of every output channel.
        own: Whether an output sees the inputs of its own colour.
    """

    def __init__(self, side: int, into: np.ndarray, out: np.ndarray, own: bool, **kwargs: Any):
        size = (side // 2 + 1, side)
        pads = ((side // 2, 0), (side // 2, side // 2))
        super().__init__(len(out), size, pads, **kwargs)
        self.mask = np.ones((*size, len(into), len(out)))
        self.mask[-1, side // 2 + 1 :] = 0.0
        self.mask[-1, side // 2] = into[:, None] <= out if own else into[:, None] < out

    def build(self, input_shape: tuple) -> None:
        super().build(input_shape)
        # Of a grey image the pixel itself is all that a 1×1 kernel sees.
        self.kernel.trainable = bool(self.mask.any())

    def _initializer(self):
        return masked_start(super()._initializer(), self.mask)

    def effective_kernel(self) -> tf.Tensor:
        kernel = tf.convert_to_tensor(self.kernel)
        return kernel * tf.constant(self.mask, kernel.dtype)


class WeightNormConv(PaddedConv):
    """A convolution by `gain v / |v|`, for every output: the length and the direction apart.

    Source: Salimans & Kingma 2016, *Weight Normalization*.
    """

    def build(self, input_shape: tuple) -> None:
        super().build(input_shape)
        self.gain = self.add_weight(name="gain", shape=(self.filters,), initializer="ones")
        self.gain.assign(tf.sqrt(self._squares()))

    def _squares(self):
        return tf.reduce_sum(tf.square(tf.convert_to_tensor(self.kernel)), axis=(0, 1, 2))

    def effective_kernel(self) -> tf.Tensor:
        # A kernel of zeros has no direction.
        scale = tf.math.rsqrt(tf.maximum(self._squares(), 1e-24))
        return tf.convert_to_tensor(self.kernel) * (scale * self.gain)

    def set_kernel(self, kernel: np.ndarray) -> None:
        """Makes `effective_kernel` a given one."""
        self.kernel.assign(kernel)
        self.gain.assign(tf.sqrt(self._squares()))


class WeightNormUpsampling(WeightNormConv):
    """Twice the height and width: a transposed convolution with the stride 2, weight-normalised.

    `y[2 i + a, 2 j + b - (width - 1) // 2] = sum W[a, b] x[i, j]` with a kernel of two rows and two
    or three columns. Output `(batch, 2 height, 2 width, filters)`.
    """

    def call(self, x: tf.Tensor) -> tf.Tensor:
        kernel = tf.cast(self.effective_kernel(), x.dtype)
        columns = self.size[1]
        # As four convolutions, one for each place in the squares, of x_j and its right neighbour.
        taps = tf.unstack(kernel, axis=1)
        none = tf.zeros_like(taps[0])
        if columns == 2:
            even, odd = (taps[0], none), (taps[1], none)
        else:
            even, odd = (taps[1], none), (taps[2], taps[0])
        # (row, place, tap, in, out) to (1, tap, in, row place out)
        places = tf.stack([tf.stack(even, axis=1), tf.stack(odd, axis=1)], axis=1)
        places = tf.transpose(places, (2, 3, 0, 1, 4))
        places = tf.reshape(places, (1, 2, x.shape[-1], 4 * self.filters))
        y = tf.nn.conv2d(tf.pad(x, ((0, 0), (0, 0), (0, 1), (0, 0))), places, 1, "VALID")
        return tf.nn.depth_to_space(y, 2) + tf.cast(self.bias, x.dtype)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        batch, height, width, _ = input_shape
        return (batch, 2 * height, 2 * width, self.filters)
