"""The invertible 1×1 convolution."""

from typing import Any

import keras
import numpy as np
import scipy.linalg
import tensorflow as tf

from keras_flows import checks
from keras_flows.noise import Noise
from keras_flows.numerics.events import event_size
from keras_flows.transforms.base import Transform

# What is random in each of the starts.
_STARTS = {
    "orthogonal": keras.initializers.Orthogonal,
    "identity": lambda: keras.initializers.RandomNormal(stddev=0.001),
}


@keras.saving.register_keras_serializable("keras_flows")
class Conv1x1(Transform):
    """`z = W x` at every position of an image, with an invertible matrix `W` over the channels.

    `W = P (L + I) (U + diag(sign exp(d)))`: P is a fixed permutation, L strictly lower and U
    strictly upper triangular, `log_det = positions * sum(d)`. L, U and d are the three parts of
    one trained matrix, so there are as many numbers as in W. Input and output
    `(batch, height, width, channels)`.

    Source: Kingma & Dhariwal 2018, *Glow*, section 3.2.

    Args:
        start: What W starts as: `"orthogonal"`, a random orthogonal matrix, or `"identity"`, that
            plus normal numbers of deviation 0.001.

    Raises:
        ValueError: If there is no such start.
    """

    def __init__(self, start: str = "orthogonal", **kwargs: Any):
        super().__init__(**kwargs)
        self.start = checks.known(start, dict.fromkeys(_STARTS, start), "start")

    def build(self, input_shape: tuple) -> None:
        if len(input_shape) != 4:
            raise ValueError(
                f"Conv1x1 takes images (height, width, channels); got {tuple(input_shape[1:])}."
            )
        channels = input_shape[-1]
        square = (channels, channels)
        self.triangles = self.add_weight(name="triangles", shape=square, initializer="zeros")
        self.sign = self.add_weight(
            name="sign", shape=(channels,), initializer="ones", trainable=False
        )
        self.order = self.add_weight(
            name="order", shape=(channels,), dtype="int32", initializer="zeros", trainable=False
        )
        start = np.asarray(_STARTS[self.start]()(square, dtype="float32"))
        if self.start == "identity":
            start = start + np.eye(channels)
        for weight, value in self.parts(start).items():
            getattr(self, weight).assign(value)
        super().build(input_shape)

    @staticmethod
    def parts(matrix: np.ndarray) -> dict[str, np.ndarray]:
        """The values of the weights that make W a given invertible matrix.

        Args:
            matrix: Array `(channels, channels)`; `z[o] = sum_i matrix[o, i] x[i]`.

        Returns:
            Dictionary from the name of a weight to its value.

        Raises:
            ValueError: If the matrix is singular.
        """
        matrix = np.asarray(matrix, "float64")
        permutation, lower, upper = scipy.linalg.lu(matrix)
        diagonal = np.diag(upper)
        if not np.all(np.abs(diagonal) > 0.0):
            raise ValueError(f"The matrix of shape {matrix.shape} has no inverse.")
        triangles = np.tril(lower, -1) + np.triu(upper, 1) + np.diag(np.log(np.abs(diagonal)))
        # Row o of W is row order[o] of the product of the triangular factors.
        return {
            "triangles": triangles,
            "sign": np.sign(diagonal),
            "order": np.argmax(permutation, axis=1),
        }

    def _factors(self):
        """The triangular factors, and the diagonal d."""
        triangles = tf.convert_to_tensor(self.triangles)
        log_scale = tf.linalg.diag_part(triangles)
        strictly_lower = triangles - tf.linalg.band_part(triangles, 0, -1)
        strictly_upper = triangles - tf.linalg.band_part(triangles, -1, 0)
        lower = strictly_lower + tf.eye(triangles.shape[0], dtype=triangles.dtype)
        upper = strictly_upper + tf.linalg.diag(self.sign * tf.exp(log_scale))
        return lower, upper, log_scale

    def matrix(self) -> tf.Tensor:
        """W, a tensor `(channels, channels)`."""
        lower, upper, _ = self._factors()
        return tf.gather(tf.matmul(lower, upper), tf.convert_to_tensor(self.order))

    def inverse_matrix(self) -> tf.Tensor:
        """The inverse of W, a tensor `(channels, channels)`."""
        lower, upper, _ = self._factors()
        one = tf.one_hot(tf.convert_to_tensor(self.order), lower.shape[0], dtype=lower.dtype)
        solved = tf.linalg.triangular_solve(lower, tf.transpose(one), lower=True)
        return tf.linalg.triangular_solve(upper, solved, lower=False)

    def encode(
        self,
        x: tf.Tensor,
        context: tf.Tensor | None = None,
        noise: Noise | None = None,
        training: bool = False,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        positions = event_size(x.shape[1:-1])
        log_det = positions * tf.reduce_sum(self._factors()[2])
        return _apply(self.matrix(), x), tf.fill(tf.shape(x)[:1], log_det)

    def decode(
        self, z: tf.Tensor, context: tf.Tensor | None = None, noise: Noise | None = None
    ) -> tf.Tensor:
        return _apply(self.inverse_matrix(), z)

    def get_config(self) -> dict:
        return {**super().get_config(), "start": self.start}


def _apply(matrix, x):
    """The product with the channels of every position."""
    return tf.nn.conv2d(x, tf.transpose(matrix)[None, None], strides=1, padding="VALID")
