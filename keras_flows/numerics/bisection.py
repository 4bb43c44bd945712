"""The inverse of a rising function of each number, by Newton's method kept in an interval."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf
from tensorflow.python.eager import record  # XLA cannot compile what nested tapes keep of loops

# Every third step halves the interval, so that the search ends long before.
_MAX_STEPS = 500
# Of ln dx/dz, so that a step from where f is flat is long, and a number.
_STEEPEST = 80.0

ValueAndLogSlope = Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]


def invert_rising(
    function: ValueAndLogSlope,
    fixed: ValueAndLogSlope,
    z: tf.Tensor,
    low: tf.Tensor,
    high: tf.Tensor,
    start: tf.Tensor,
) -> tf.Tensor:
    """The x with `f(x) = z`, with the gradient of the implicit function theorem.

    Steps of Newton's method, which leave the interval nowhere: every one shrinks it, and every
    third one halves it. Each number stops by itself, so that it does not depend on its neighbours:
    where f is as near to z as rounding lets it, or the interval has no more than two numbers.

    Args:
        function: From x to f(x) and `ln f'(x)`, number by number.
        fixed: The same, with parameters that are constants for gradients.
        z: Tensor of any shape.
        low: Where f is at most z, of that shape.
        high: Where it is at least z.
        start: A guess between.

    Returns:
        Tensor of the shape of z. NaN where start is, or where there is no such x.
    """
    wanted = tf.stop_gradient(z)
    with record.stop_recording():
        x = tf.stop_gradient(_search(fixed, wanted, *map(tf.stop_gradient, (low, high, start))))
        # Where f is flat to all digits the slope rounds to zero.
        least = np.finfo(z.dtype.as_numpy_dtype).tiny
        slope = tf.stop_gradient(tf.maximum(tf.exp(fixed(x)[1]), least))
    # dx = (dz - df) / slope; the value stays that of the search.
    change = (z - function(x)[0]) / slope
    return x + (change - tf.stop_gradient(change))


def _search(function, z, low, high, start):
    epsilon = np.finfo(z.dtype.as_numpy_dtype).eps

    def step(i, x, low, high, done):
        value, log_slope = function(x)
        residual = value - z
        low = tf.where(residual < 0.0, x, low)
        high = tf.where(residual < 0.0, high, x)
        newton = x - residual * tf.exp(tf.minimum(-log_slope, _STEEPEST))
        # On an end, too: both may be the same number. Of a NaN the comparisons are true in ONNX.
        inside = (newton >= low) & (newton <= high) & ~tf.math.is_nan(newton)
        # Finite, as tf2onnx makes a choice of two a sum of products, in which 0 · ∞ is NaN.
        newton = tf.clip_by_value(newton, low, high)
        new = tf.where(inside & (i % 3 != 2), newton, 0.5 * (low + high))
        narrow = high - low <= 2.0 * epsilon * tf.maximum(tf.abs(low), tf.abs(high))
        found = narrow | (tf.abs(residual) <= 4.0 * epsilon * (1.0 + tf.abs(z)))
        last = tf.where(inside, newton, x)
        x = tf.where(done, x, tf.where(found, last, new))
        return i + 1, x, low, high, done | found

    def unfinished(i, x, low, high, done):
        return (i < _MAX_STEPS) & ~tf.reduce_all(done)

    start = tf.clip_by_value(start, low, high)
    state = (tf.constant(0), start, low, high, tf.math.is_nan(start))
    shapes = (tf.TensorShape([]), *[z.shape] * 4)
    _, x, _, _, done = tf.while_loop(unfinished, step, state, shape_invariants=shapes)
    return tf.where(done, x, tf.constant(float("nan"), x.dtype))
