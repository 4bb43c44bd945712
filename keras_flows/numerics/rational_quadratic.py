"""Monotone rational-quadratic splines: pieces between knots, each the ratio of two quadratics.

Source: Durkan et al. 2019, *Neural Spline Flows*, section 3.1 and appendix A.1; the pieces are
those of Gregory & Delbourgo 1982. In bin k, with `theta = (x - x_k) / w`, `s = h / w`,
`delta = d_{k+1} + d_k - 2 s` and `N = s + delta theta (1 - theta)`:

    y = y_k + h (s theta^2 + d_k theta (1 - theta)) / N
    ln dy/dx = 2 ln s + ln(d_{k+1} theta^2 + 2 s theta (1 - theta) + d_k (1 - theta)^2) - 2 ln N
"""

from typing import NamedTuple

import tensorflow as tf


class Knots(NamedTuple):
    """The knots of one spline for each number.

    Attributes:
        places: Tensor `(…, 2, bins + 1)`: where they are, and the values there, both rising.
        slopes: Tensor `(…, bins + 1)`: the derivatives there, positive.
    """

    places: tf.Tensor
    slopes: tf.Tensor


def places(logits: tf.Tensor, ends: tuple, minimum: float) -> tf.Tensor:
    """The places of knots whose bins fill intervals, the ends exactly the first and the last.

    Args:
        logits: Tensor `(…, 2, bins)`; the sizes of the bins are its softmax, mixed with a constant.
        ends: The pairs (low, high) of both intervals.
        minimum: The least share of the interval that a bin has, below `1 / bins`.

    Returns:
        Tensor `(…, 2, bins + 1)`.
    """
    low, high = tf.unstack(tf.constant(ends, logits.dtype)[..., None], axis=1)
    shares = minimum + (1.0 - minimum * logits.shape[-1]) * _softmax(logits)
    inner = low + (high - low) * tf.cumsum(shares[..., :-1], axis=-1)
    zero = tf.zeros_like(logits[..., :1])
    return tf.concat([zero + low, inner, zero + high], axis=-1)


def _softmax(logits):
    """softmax, also of the six axes of an image, where TensorFlow's takes five at most."""
    if len(logits.shape) <= 5:
        return tf.nn.softmax(logits)
    rows = tf.reshape(logits, (-1, logits.shape[-1]))
    return tf.reshape(tf.nn.softmax(rows), tf.shape(logits))


def encode(x: tf.Tensor, knots: Knots) -> tuple[tf.Tensor, tf.Tensor]:
    """The value of the spline at every x between the first knot and the last.

    Args:
        x: Tensor `(…)`.
        knots: Of each number.

    Returns:
        `(y, ln dy/dx)`, both of the shape of x.
    """
    left, bottom, width, height, slope, next_slope = _bins(x, knots, 0)
    theta = (x - left) / width
    rest = 1.0 - theta
    mean = height / width
    below = mean + (slope + next_slope - 2.0 * mean) * theta * rest
    y = bottom + height * theta * (mean * theta + slope * rest) / below
    above = next_slope * theta * theta + 2.0 * mean * theta * rest + slope * rest * rest
    return y, 2.0 * (tf.math.log(mean) - tf.math.log(below)) + tf.math.log(above)


def decode(y: tf.Tensor, knots: Knots) -> tf.Tensor:
    """The x of which every y is the value: the root of a quadratic, without cancellation.

    With `eta = y - y_k`, `b = h d_k - eta delta`, `a = h s - b`, `c = -s eta`:
    `theta = 2 c / (-b - sqrt(b^2 - 4 a c))`, which is the published form and stable for b above 0;
    below, `theta = (-b + sqrt(b^2 - 4 a c)) / (2 a)` is. Rounding may leave the discriminant below
    0, where it is 0, and theta out of [0, 1], where it is the nearer end: in a flat bin its error
    is large, but not that of y.
    """
    left, bottom, width, height, slope, next_slope = _bins(y, knots, 1)
    eta, mean = y - bottom, height / width
    b = height * slope - eta * (slope + next_slope - 2.0 * mean)
    a = height * mean - b
    c = -mean * eta
    discriminant = tf.maximum(b * b - 4.0 * a * c, y.dtype.as_numpy_dtype(1e-37))
    root = tf.sqrt(discriminant)
    q = -0.5 * (b + tf.where(b >= 0.0, root, -root))
    theta = tf.where(b >= 0.0, c, q) / tf.where(b >= 0.0, q, a)
    return left + width * tf.clip_by_value(theta, 0.0, 1.0)


def _bins(value, knots, axis):
    """What the bin of every value has: left, bottom, width, height, and the slopes at its ends."""
    lower, slopes = knots.places[..., :-1], knots.slopes
    # One of the bins, as zeros and a one: gathering would make a scatter of every gradient.
    passed = tf.cast(value[..., None] >= lower[..., axis, 1:], value.dtype)
    end = tf.ones_like(value[..., None])
    chosen = tf.concat([end, passed], axis=-1) - tf.concat([passed, tf.zeros_like(end)], axis=-1)
    both = tf.stack([slopes[..., :-1], slopes[..., 1:]], axis=-2)
    of_bins = tf.concat([lower, knots.places[..., 1:] - lower, both], axis=-2)
    return tf.unstack(tf.reduce_sum(of_bins * chosen[..., None, :], axis=-1), axis=-1)
