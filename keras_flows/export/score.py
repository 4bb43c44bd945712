"""The score graph: from data to log_prob, p-value and flag, by the calibration of a flow."""

import numpy as np
import tensorflow as tf

from keras_flows.detect.calibration import Calibration
from keras_flows.detect.shared_noise import constant_log_prob

ALPHA = 0.01
# The statistics that a graph can compute, from log_prob and the constants of the calibration.
_SCORES = {
    "log_prob": lambda log_prob, constants: -log_prob,
    "typicality": lambda log_prob, constants: tf.abs(log_prob - constants["mean_log_prob"]),
}


def exists(flow):
    """Whether a flow has such a graph."""
    return flow.calibration is not None and flow.calibration.statistic in _SCORES


def alpha_of(flow, alpha):
    """The false-positive rate of the flags in a graph.

    Args:
        flow: A `keras_flows.Flow`.
        alpha: What was asked for; None for 0.01, or the smallest that is in reach.

    Returns:
        A float; None for a flow without such a graph.

    Raises:
        ValueError: If it is out of reach, or there is nothing to flag by.
    """
    if not exists(flow):
        if alpha is not None:
            raise ValueError(
                "alpha is for the flags of a calibrated flow, by the statistics "
                f"{', '.join(_SCORES)}; this one has "
                f"{'another' if flow.calibration else 'no calibration'}. Leave alpha out, or "
                "calibrate the flow."
            )
        return None
    if alpha is None:
        return max(ALPHA, flow.calibration.smallest_p_value)
    flow.calibration.check_level(alpha)
    return float(alpha)


def score(flow, x, context, alpha):
    """What `keras_flows.detect.decide` gives, as a part of a graph.

    Args:
        flow: A calibrated `keras_flows.Flow`.
        x: Tensor `(batch, *event_shape)`.
        context: Tensor `(batch, *context_shape)`, or None.
        alpha: See `alpha_of`.

    Returns:
        Dictionary of tensors `(batch,)`: `log_prob`; `p_value`, float64; `flag`. Where log_prob is
        NaN the p-value is NaN, too, and the flag is up.
    """
    calibration = flow.calibration
    log_prob = constant_log_prob(flow, x, context, calibration.seed, calibration.draws)
    made = tf.cast(_SCORES[calibration.statistic](log_prob, calibration.constants), tf.float32)
    p_value = _p_values(calibration, made)
    # Not `not (p > alpha)`, of which TensorFlow's optimizer makes p <= alpha: false of NaN.
    flag = tf.math.is_nan(p_value) | (p_value <= tf.constant(alpha, tf.float64))
    return {"log_prob": log_prob, "p_value": p_value, "flag": flag}


def p_value_spread(calibration, log_prob, off):
    """How far p-values move where log_prob is off by as much as it may be.

    Args:
        calibration: The `Calibration` of a flow that has such a graph.
        log_prob: Array `(n,)`.
        off: By how much it may be off, an array `(n,)`.

    Returns:
        A float: the largest difference, over the examples and both directions.
    """

    def p_values(log_prob):
        made = _SCORES[calibration.statistic](tf.constant(log_prob), calibration.constants)
        return calibration.p_values(made.numpy())

    here = p_values(log_prob)
    return max(np.max(np.abs(p_values(log_prob + sign * off) - here)) for sign in (-1.0, 1.0))


def _p_values(calibration: Calibration, scores):
    """`Calibration.p_values` by halving, in as many rounds as the number of scores has digits."""
    n = len(calibration)
    rounds = n.bit_length()
    padded = np.full(2**rounds, np.inf, np.float32)
    padded[:n] = calibration.steps
    steps = tf.constant(padded)
    below = tf.zeros_like(scores, tf.int32)
    for place in reversed(range(rounds)):
        further = below + 2**place
        below = tf.where(tf.gather(steps, further - 1) < scores, further, below)
    # Quotients from a table: TensorFlow would multiply by the reciprocal, and be off in a last bit.
    p_value = tf.gather(tf.constant((1 + n - np.arange(n + 1)) / (n + 1)), below)
    nan = tf.constant(float("nan"), tf.float64)
    return tf.where(tf.math.is_nan(scores), nan, p_value)
