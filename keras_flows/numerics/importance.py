"""The importance-weighted bound: many draws of a log_prob that is a lower bound."""

import tensorflow as tf

from keras_flows import checks


def check(flow, draws):
    """Checks that the importance-weighted log_prob of a flow is a bound.

    Raises:
        ValueError: If draws is no positive integer, or the log_prob is no lower bound, or its
            noise is in part that of an estimated log-det.
    """
    checks.count(draws, "num_importance_samples")
    if flow.likelihood != "lower_bound":
        raise ValueError(
            "Importance samples tighten the lower bound of a flow that dequantizes or appends "
            f"noise; the log_prob of this flow is {flow.likelihood!r}. Leave "
            "num_importance_samples out."
        )
    if any(step.likelihood == "unbiased" for step in flow.transform.innermost()):
        raise ValueError(
            "This flow estimates log-dets at random, and the importance-weighted mean of such "
            "estimates is no bound. Use exact log-dets, or leave num_importance_samples out."
        )


def log_mean_exp(log_prob, seed, draws):
    """`ln(mean_k exp(log_prob(seed_k)))`, one draw after the other: memory does not grow with k.

    Source: Burda et al. 2016, *Importance Weighted Autoencoders*.

    Args:
        log_prob: From a seed to a tensor `(batch,)`, a pure function.
        seed: An int32 tensor `(2,)`; draw k has the seed `tf.random.fold_in(seed, k)`.
        draws: How many, an integer tensor.

    Returns:
        A tensor `(batch,)`.
    """
    first = log_prob(tf.random.fold_in(seed, 0))

    def add(k, largest, total):
        value = log_prob(tf.random.fold_in(seed, k))
        new = tf.maximum(largest, value)
        return k + 1, new, total * tf.exp(largest - new) + tf.exp(value - new)

    _, largest, total = tf.while_loop(
        lambda k, *_: k < draws,
        add,
        (tf.constant(1), first, tf.ones_like(first)),
        parallel_iterations=1,  # the others would need their memory at the same time
    )
    return largest + tf.math.log(total) - tf.math.log(tf.cast(draws, first.dtype))
