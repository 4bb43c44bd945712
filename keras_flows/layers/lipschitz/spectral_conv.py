"""A convolution whose operator norm is kept below a coefficient."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_flows import checks
from keras_flows.layers.lipschitz.spectral import (
    _LARGE,
    _SLACK,
    SpectralLayer,
    _top_singular_triple,
)

# Up to this many inputs, a map is written out as a matrix.
_SMALL = 64
# Up to this many inputs or outputs, the bound on a norm is confirmed by its Gram matrix.
_CONFIRMED = 6000
# Relative residual of the largest eigenvalue of A^T A; its error is at most that.
_TOLERANCE = {"float64": 1e-11, "float32": 1e-5}


def circular_norm(kernel: np.ndarray, height: int, width: int) -> float:
    """An upper bound on the norm of a zero-padded convolution, from its circular symbol.

    Zero-pad an image of size (H, W) to a torus of size (H + r, W + r), r the radius of the
    kernel; convolve there, circularly; cut out the image again. The torus is just large enough
    that no tap reaches from one edge of the image to the other, around it: this *is* the
    zero-padded convolution. Padding and cutting have norm one, so its norm is at most that of
    the circular convolution, which the Fourier transform makes block diagonal: the maximum over
    the frequencies of the torus of `|| sum_ab kernel[a, b] exp(-2 pi i (f a + g b)) ||`.

    Source: Sedghi et al. 2019, *The Singular Values of Convolutional Layers*, for the circular
    case.

    Args:
        kernel: float64 array `(size, size, in, out)`, the size odd.
        height: H, at least 1.
        width: W, at least 1.

    Returns:
        The bound, a Python float.
    """
    taps, radius = np.arange(kernel.shape[0]), kernel.shape[0] // 2
    rows, columns = height + radius, width + radius
    if kernel.shape[2] < kernel.shape[3]:
        kernel = kernel.swapaxes(2, 3)  # for the smaller of both Gram matrices

    def phases(frequencies, count):
        return np.exp(-2j * np.pi * np.outer(frequencies, taps) / count)

    # Opposite frequencies of a real kernel have the same norm: half of them are enough. One row
    # at a time, to keep the memory small.
    half = phases(np.arange(columns // 2 + 1), columns)
    largest = 0.0
    for row in phases(np.arange(rows), rows):
        symbol = np.tensordot(half, np.tensordot(row, kernel, 1), 1)
        gram = symbol.conj().swapaxes(1, 2) @ symbol
        largest = np.maximum(largest, np.linalg.eigvalsh(gram)[:, -1].max())  # NaN stays NaN
    return float(largest**0.5)


def gram_matrix(kernel: np.ndarray, height: int, width: int) -> np.ndarray:
    """`A A^T` of a zero-padded convolution A on images of size (H, W).

    Args:
        kernel: float64 array `(size, size, in, out)`, the size odd.
        height: H.
        width: W.

    Returns:
        Array `(H W out, H W out)`.
    """
    size, filters = kernel.shape[0], kernel.shape[3]
    # Of every pair of taps, the sum over the input channels.
    products = np.tensordot(kernel, kernel, ((2,), (2,))).transpose(0, 1, 3, 4, 2, 5)
    gram = np.zeros((height, width, height, width, filters, filters))
    for y, x, a, b in np.ndindex(height, width, size, size):
        from_y, from_x = y + a - size // 2, x + b - size // 2
        if not (0 <= from_y < height and 0 <= from_x < width):
            continue
        # All outputs that see this input pixel too, by which tap.
        for c, d in np.ndindex(size, size):
            to_y, to_x = from_y - c + size // 2, from_x - d + size // 2
            if 0 <= to_y < height and 0 <= to_x < width:
                gram[y, x, to_y, to_x] += products[a, b, c, d]
    side = height * width * filters
    return gram.transpose(0, 1, 4, 2, 3, 5).reshape(side, side)


def confirmed_norm(kernel: np.ndarray, height: int, width: int, guess: float) -> float:
    """An upper bound on the norm of a zero-padded convolution, close to a guess from below.

    `|A| <= c` exactly where `c^2 I - A A^T` has no negative eigenvalue, which a Cholesky
    decomposition finds out; tried is a c slightly above the guess. Beside `circular_norm`, which
    is far off on images of a few pixels, it takes memory and time for a matrix of the size of the
    image.

    Args:
        kernel: float64 array `(size, size, in, out)`, the size odd.
        height: H, at least 1.
        width: W, at least 1.
        guess: A lower bound, such as the result of power iteration.

    Returns:
        The bound, a Python float; infinity where the norm is above the guess by a percent.
    """
    difference = gram_matrix(kernel, height, width)
    np.negative(difference, out=difference)  # in place: it may fill half a gigabyte
    diagonal = np.einsum("ii->i", difference)
    of_gram = diagonal.copy()
    for margin in (1e-4, 1e-2):
        bound = guess * (1.0 + margin)
        diagonal[:] = bound**2 + of_gram
        try:
            np.linalg.cholesky(difference)
        except np.linalg.LinAlgError:
            continue
        # Far above the rounding errors of the decomposition.
        return bound * (1.0 + 1e-6)
    return float("inf")


@keras.saving.register_keras_serializable("keras_flows")
class SpectralConv2D(SpectralLayer):
    """A convolution with a bounded operator norm, `y = x * W / max(1, sigma(W) / coeff) + b`.

    Stride 1 and zero padding: input `(batch, height, width, channels)`, output
    `(batch, height, width, filters)`. Sigma is the norm of that zero-padded map at the height
    and width for which the layer is built, so both must be known; u and v have the shapes of an
    output and an input image (of one pixel each where the kernel is 1 × 1: the norm is then that
    of a matrix).

    The norm of a large map takes seconds, so that building starts from a bound; see
    `SpectralLayer`.

    Source: Gouk et al. 2018, *Regularisation of Neural Networks by Enforcing Lipschitz
    Continuity*; Behrmann et al. 2019, *Invertible Residual Networks*.

    Args:
        filters: Number of output channels.
        kernel_size: Height and width of the kernel, odd.
        coeff: See `SpectralLayer`.
        iterations: See `SpectralLayer`.

    Raises:
        ValueError: If the kernel size is not odd, or the input size not known when built.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int,
        coeff: float = 0.9,
        iterations: int | str = 5,
        **kwargs: Any,
    ):
        super().__init__(coeff=coeff, iterations=iterations, **kwargs)
        checks.count(filters, "filters")
        checks.count(kernel_size, "kernel_size")
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd, such as 1 or 3; got {kernel_size}.")
        self.filters = filters
        self.kernel_size = kernel_size

    def build(self, input_shape: tuple) -> None:
        if len(input_shape) != 4 or None in input_shape[1:]:
            raise ValueError(
                "SpectralConv2D takes images (batch, height, width, channels) of a known size, on "
                f"which its norm depends; got the input shape {tuple(input_shape)}."
            )
        *image, channels = input_shape[1:]
        size = (self.kernel_size, self.kernel_size)
        # Uniform in +-1/sqrt(fan-in), kernel and bias: the initialisation of the papers.
        limit = (channels * self.kernel_size**2) ** -0.5
        uniform = keras.initializers.RandomUniform(-limit, limit)
        self.kernel = self.add_weight(
            name="kernel", shape=(*size, channels, self.filters), initializer=uniform
        )
        self.bias = self.add_weight(
            name="bias",
            shape=(self.filters,),
            initializer=keras.initializers.RandomUniform(-limit, limit),
        )
        self._image = tuple(image)
        positions = () if self.kernel_size == 1 else self._image
        self._build_norm((*positions, channels), (*positions, self.filters))
        self.built = True

    def linear(self, x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        if x.shape.rank == 2:
            return tf.matmul(x, kernel[0, 0])
        return tf.nn.conv2d(x, kernel, 1, "SAME")

    def flipped(self, kernel: tf.Tensor) -> tf.Tensor:
        return tf.transpose(tf.reverse(kernel, [0, 1]), (0, 1, 3, 2))

    @property
    def _small(self):
        return np.prod(self.v.shape) <= _SMALL

    @property
    def _costly(self):
        if self.kernel_size == 1:
            return min(self.kernel.shape[2:]) > _LARGE
        return not self._small

    def converge(self) -> None:
        if not np.isfinite(self._kernel64(self.kernel)).all():
            u, sigma, v = self.u, float("nan"), self.v  # which no certificate accepts
        elif self.kernel_size == 1:
            v, sigma, u = _top_singular_triple(self._kernel64(self.kernel)[0, 0])
        elif self._small:
            u, sigma, v = self._small_singular_triple()
        else:
            u, sigma, v = self._lanczos()
        self._store(u, v, sigma)

    def lipschitz_bound(self) -> float:
        kernel = self._kernel64(self.normalized_kernel())
        if not np.isfinite(kernel).all():
            return float("nan")
        if self.kernel_size == 1:
            return _top_singular_triple(kernel[0, 0])[1] * (1.0 + _SLACK)
        bound = circular_norm(kernel, *self._image) * (1.0 + _SLACK)
        if np.prod(self._image) * min(kernel.shape[2:]) > _CONFIRMED:
            return bound
        v = self._kernel64(self.v)
        guess = float(tf.norm(self.linear(tf.constant(v[None]), tf.constant(kernel))))
        if kernel.shape[2] < kernel.shape[3]:  # the transposed map has the smaller matrix
            kernel = self.flipped(tf.constant(kernel)).numpy()
        height, width = self._image
        return min(bound, confirmed_norm(kernel, height, width, guess))

    @staticmethod
    def _kernel64(kernel):
        return keras.ops.convert_to_numpy(kernel).astype("float64")

    def _small_singular_triple(self):
        """`(u, sigma, v)` from the map written out as a matrix."""
        shape = tuple(self.v.shape)
        size = int(np.prod(shape))
        basis = tf.reshape(tf.eye(size, dtype=tf.float64), (size, *shape))
        rows = self.linear(basis, tf.cast(self.kernel, tf.float64))
        v, sigma, u = _top_singular_triple(tf.reshape(rows, (size, -1)).numpy())
        return u.reshape(self.u.shape), sigma, v.reshape(shape)

    def _lanczos(self):
        """`(u, sigma, v)` by the Lanczos method on A^T A.

        Power iteration needs many times more applications of the map for the same accuracy: the
        largest singular values of a convolution on a large image lie close together.
        """
        from scipy.sparse.linalg import LinearOperator, eigsh

        kernel = tf.convert_to_tensor(self.kernel)
        shape = tuple(self.v.shape)
        if not tf.reduce_any(kernel != 0.0):
            return self.u, 0.0, self.v

        def gram(v):
            v = tf.reshape(tf.cast(v, kernel.dtype), (1, *shape))
            return self.transpose(self.linear(v, kernel), kernel).numpy().ravel()

        # Always from the same vector: converging twice changes nothing.
        size, dtype = int(np.prod(shape)), kernel.dtype.as_numpy_dtype
        start = np.random.default_rng(0).standard_normal(size).astype(dtype)
        operator = LinearOperator((size, size), matvec=gram, dtype=dtype)
        tolerance = _TOLERANCE.get(kernel.dtype.name, 1e-5)
        _, vectors = eigsh(operator, k=1, v0=start, tol=tolerance)
        v = tf.reshape(tf.constant(vectors[:, 0], kernel.dtype), shape)
        u = self.linear(v[None], kernel)[0]
        sigma = tf.norm(u)
        return u / sigma, sigma, v

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (*input_shape[:-1], self.filters)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
        }
