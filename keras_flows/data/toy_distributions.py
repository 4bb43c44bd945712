"""The toy densities as TensorFlow Probability distributions."""

import numpy as np
import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from keras_flows.data.toy import MIXTURES, PINWHEEL_ARMS, PINWHEEL_SD


def distribution(name: str, dtype: str = "float32") -> tfd.Distribution:
    """The toy density called `name` as a `tfd.Distribution` of events `(2,)`.

    Args:
        name: One of `keras_flows.data.names()`.
        dtype: `"float32"` or `"float64"`.

    Returns:
        A mixture; of the pinwheel, one in coordinates that turn with the radius. On the edge
        between two squares of the checkerboard, which has no mass, both count.

    Raises:
        ValueError: If the dtype is another one.
    """
    if dtype not in ("float32", "float64"):
        raise ValueError(f"dtype must be 'float32' or 'float64'; got {dtype!r}.")
    if name == "checkerboard":
        return _checkerboard(dtype)
    if name == "pinwheel":
        return _pinwheel(dtype)
    mixture = MIXTURES[name]()
    centres = tf.constant(mixture.centres, dtype)
    gaussians = tfd.MultivariateNormalDiag(centres, tf.constant([mixture.sd] * 2, dtype))
    return _mixture(mixture.weights, gaussians, name)


def _mixture(weights, components, name):
    categorical = tfd.Categorical(logits=tf.constant(np.log(weights), components.dtype))
    return tfd.MixtureSameFamily(categorical, components, name=name)


def _checkerboard(dtype):
    corners = [(i, j) for i in range(-4, 4, 2) for j in range(-4, 4, 2) if (i + j) % 4 == 0]
    low = tf.constant(corners, dtype)
    squares = tfd.Independent(tfd.Uniform(low, low + 2), reinterpreted_batch_ndims=1)
    return _mixture(np.full(8, 1 / 8), squares, "checkerboard")


def _pinwheel(dtype):
    angles = -2 * np.pi * np.arange(PINWHEEL_ARMS) / PINWHEEL_ARMS
    turns = np.moveaxis([[np.cos(angles), -np.sin(angles)], [np.sin(angles), np.cos(angles)]], 2, 0)
    # A turned Gaussian: its mean (1, 0) and its axes are turned; L L^T is the covariance.
    root = np.linalg.cholesky((turns * PINWHEEL_SD**2) @ np.swapaxes(turns, 1, 2))
    arms = tfd.MultivariateNormalTriL(tf.constant(turns[:, :, 0], dtype), tf.constant(root, dtype))
    return tfd.TransformedDistribution(
        _mixture(np.full(PINWHEEL_ARMS, 1 / PINWHEEL_ARMS), arms, "arms"),
        tfb.Chain([tfb.Scale(tf.constant([2.0, 2.0], dtype)), _Turn(dtype)]),
        name="pinwheel",
    )


class _Turn(tfb.Bijector):
    """Turns every point clockwise by an angle that depends on its radius; preserves area."""

    def __init__(self, dtype):
        super().__init__(forward_min_event_ndims=1, dtype=tf.as_dtype(dtype), name="turn")

    def _forward(self, x):
        return self._turned(x, -1.0)

    def _inverse(self, y):
        return self._turned(y, 1.0)

    def _turned(self, x, sign):
        angle = sign * 0.25 * tf.exp(tf.minimum(tf.norm(x, axis=-1), 9))
        cosine, sine = tf.cos(angle), tf.sin(angle)
        first, second = tf.unstack(x, axis=-1)
        return tf.stack([cosine * first - sine * second, sine * first + cosine * second], axis=-1)

    def _forward_log_det_jacobian(self, x):
        return tf.zeros([], x.dtype)
