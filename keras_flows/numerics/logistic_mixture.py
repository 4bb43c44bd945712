"""Mixtures of logistic distributions, in logarithms: finite and exact far out in both tails."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from keras_flows.numerics.bisection import invert_rising

# Between these are the log-scales of components.
_NARROWEST, _WIDEST = -7.0, 20.0


class Mixture(NamedTuple):
    """The components: log-weights that sum to one, means and log-scales, `(…, components)`."""

    log_weights: tf.Tensor
    means: tf.Tensor
    log_scales: tf.Tensor


def mixture(logits: tf.Tensor, means: tf.Tensor, log_scales: tf.Tensor) -> Mixture:
    """A mixture from any real numbers: log-scales are taken into the interval from -7 to 20."""
    log_scales = tf.clip_by_value(log_scales, _NARROWEST, _WIDEST)
    return Mixture(logits - log_sum_exp(logits)[..., None], means, log_scales)


def grid(components: int, dtype: tf.DType) -> tf.Tensor:
    """Evenly spaced numbers from -1 to 1, what means begin at: `(components,)`.

    A network that starts with equal outputs could otherwise never tell the components apart.
    """
    places = np.linspace(-1.0, 1.0, components) if components > 1 else np.zeros(1)
    return tf.constant(places, dtype)


def log_sum_exp(x: tf.Tensor) -> tf.Tensor:
    """`ln sum exp x` over the last axis, of finite numbers."""
    largest = tf.stop_gradient(tf.reduce_max(x, axis=-1, keepdims=True))
    return tf.math.log(tf.reduce_sum(tf.exp(x - largest), axis=-1)) + largest[..., 0]


def log_add(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """`ln(exp a + exp b)`."""
    return tf.maximum(a, b) + tf.nn.softplus(-tf.abs(a - b))


def _standard(x, components):
    return (x[..., None] - components.means) * tf.exp(-components.log_scales)


def log_tails(x: tf.Tensor, components: Mixture) -> tuple[tf.Tensor, tf.Tensor]:
    """`(ln F(x), ln(1 - F(x)))` of the distribution function `F(x) = sum_k π_k σ((x - μ_k) / s_k)`.

    Args:
        x: Tensor of any shape.
        components: Of each number, `(*shape, components)`.
    """
    t = _standard(x, components)
    below, above = tf.math.log_sigmoid(t), tf.math.log_sigmoid(-t)
    return (
        log_sum_exp(components.log_weights + below),
        log_sum_exp(components.log_weights + above),
    )


def log_density(x: tf.Tensor, components: Mixture) -> tf.Tensor:
    """`ln f(x)`; arguments are those of `log_tails`."""
    t = _standard(x, components)
    each = tf.math.log_sigmoid(t) + tf.math.log_sigmoid(-t) - components.log_scales
    return log_sum_exp(components.log_weights + each)


def log_masses(
    low: tf.Tensor, width: float | tf.Tensor, ends: tuple, components: Mixture
) -> tf.Tensor:
    """`ln(F_k(low + width) - F_k(low))` of every component, the tails going to the first and last.

    By `σ(b) - σ(a) = σ(b) σ(-a) (1 - exp(a - b))`, which loses no digits.

    Args:
        low: The lower ends of intervals, a tensor of any shape.
        width: Their width, a positive number or a tensor of that shape.
        ends: `(first, last)`, booleans of that shape: whether an interval has no lower end, and
            whether it has no upper one.
        components: `(*shape, components)`.

    Returns:
        Tensor `(*shape, components)`.
    """
    first, last = (end[..., None] for end in ends)
    scale, width = tf.exp(-components.log_scales), tf.convert_to_tensor(width, low.dtype)[..., None]
    bottom = (low[..., None] - components.means) * scale
    top = (low[..., None] + width - components.means) * scale
    # 1 - exp(-2 d) = 2 tanh(d) / (1 + tanh(d)), also of a small d.
    tanh = tf.tanh(0.5 * width * scale)
    between = tf.math.log(2.0 * tanh) - tf.math.log(1.0 + tanh)
    zero = tf.zeros_like(bottom)
    return (
        tf.where(last, zero, tf.math.log_sigmoid(top))
        + tf.where(first, zero, tf.math.log_sigmoid(-bottom))
        + tf.where(first | last, zero, between)
    )


def logit_and_log_slope(x: tf.Tensor, components: Mixture) -> tuple[tf.Tensor, tf.Tensor]:
    """`z = ln F(x) - ln(1 - F(x))`, and `ln dz/dx = ln f - ln F - ln(1 - F)`."""
    below, above = log_tails(x, components)
    return below - above, log_density(x, components) - below - above


def quantile(z: tf.Tensor, components: Mixture) -> tf.Tensor:
    """The x of which z is the logit of F, with the gradient of the implicit function theorem.

    By `keras_flows.numerics.bisection`, from the least and the largest of `μ_k + s_k z`, between
    which x lies.

    Args:
        z: Tensor of any shape.
        components: Of each number, `(*shape, components)`.

    Returns:
        Tensor of the shape of z; NaN where a parameter is not finite.
    """
    fixed = Mixture(*map(tf.stop_gradient, components))
    of_each = fixed.means + tf.exp(fixed.log_scales) * tf.stop_gradient(z)[..., None]
    return invert_rising(
        lambda x: logit_and_log_slope(x, components),
        lambda x: logit_and_log_slope(x, fixed),
        z,
        tf.reduce_min(of_each, axis=-1),
        tf.reduce_max(of_each, axis=-1),
        tf.reduce_sum(tf.exp(fixed.log_weights) * of_each, axis=-1),
    )
