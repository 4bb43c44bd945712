"""A convolution whose operator norm is kept below a coefficient."""

import keras
import numpy as np
import tensorflow as tf

from keras_flows import checks
from keras_flows.layers.spectral import _SLACK, SpectralLayer, _top_singular_triple

# Up to this many inputs, a map is written out as a matrix.
_SMALL = 64
# Relative residual of the largest eigenvalue of A^T A; its error is at most that.
_TOLERANCE = {"float64": 1e-11, "float32": 1e-5}


def circular_norm(kernel, height, width):
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
        largest = max(largest, float(np.linalg.eigvalsh(gram)[:, -1].max()))
    return largest**0.5


@keras.saving.register_keras_serializable("keras_flows")
class SpectralConv2D(SpectralLayer):
    """A convolution with a bounded operator norm, `y = x * W / max(1, sigma(W) / coeff) + b`.

    Stride 1 and zero padding: input `(batch, height, width, channels)`, output
    `(batch, height, width, filters)`. Sigma is the norm of that zero-padded map at the height
    and width for which the layer is built, so both must be known; u and v have the shapes of an
    output and an input image (of one pixel each where the kernel is 1 × 1: the norm is then that
    of a matrix).

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

    def __init__(self, filters, kernel_size, coeff=0.9, iterations=5, **kwargs):
        super().__init__(coeff=coeff, iterations=iterations, **kwargs)
        checks.count(filters, "filters")
        checks.count(kernel_size, "kernel_size")
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd, such as 1 or 3; got {kernel_size}.")
        self.filters = filters
        self.kernel_size = kernel_size

    def build(self, input_shape):
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

    def linear(self, x, kernel):
        if x.shape.rank == 2:
            return tf.matmul(x, kernel[0, 0])
        return tf.nn.conv2d(x, kernel, 1, "SAME")

    def transpose(self, y, kernel):
        return self.linear(y, tf.transpose(tf.reverse(kernel, [0, 1]), (0, 1, 3, 2)))

    def converge(self):
        if self.kernel_size == 1:
            v, sigma, u = _top_singular_triple(self._kernel64(self.kernel)[0, 0])
        elif np.prod(self.v.shape) <= _SMALL:
            u, sigma, v = self._small_singular_triple()
        else:
            u, sigma, v = self._lanczos()
        self._store(u, v, sigma)

    def lipschitz_bound(self):
        kernel = self._kernel64(self.normalized_kernel())
        if self.kernel_size == 1:
            return _top_singular_triple(kernel[0, 0])[1] * (1.0 + _SLACK)
        return circular_norm(kernel, *self._image) * (1.0 + _SLACK)

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

        v = keras.ops.convert_to_numpy(self.v).ravel()
        # Not quite the stored vector, which may be an exact singular vector of a smaller value.
        start = v + 1e-2 * np.random.default_rng(0).standard_normal(v.size) / v.size**0.5
        operator = LinearOperator((v.size, v.size), matvec=gram, dtype=v.dtype)
        _, vectors = eigsh(
            operator, k=1, v0=start.astype(v.dtype), tol=_TOLERANCE.get(v.dtype.name, 1e-5)
        )
        v = tf.reshape(tf.constant(vectors[:, 0], kernel.dtype), shape)
        u = self.linear(v[None], kernel)[0]
        sigma = tf.norm(u)
        return u / sigma, sigma, v

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.filters)

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
        }
