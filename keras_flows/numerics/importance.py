"""The importance-weighted bound: many draws of a log_prob that is a lower bound."""

from collections.abc import Callable

import tensorflow as tf

from keras_flows.noise import fold_in


def log_mean_exp(
    log_prob: Callable[[tf.Tensor], tf.Tensor], seed: tf.Tensor, draws: int | tf.Tensor
) -> tf.Tensor:
    """`ln(mean_k exp(log_prob(seed_k)))`, one draw after the other: memory does not grow with k.

    Source: Burda et al. 2016, *Importance Weighted Autoencoders*.

    Args:
        log_prob: From a seed to a tensor `(batch,)`, a pure function.
        seed: An int32 tensor `(2,)`; draw k has the seed `fold_in(seed, k)`.
        draws: How many, an integer tensor.

    Returns:
        A tensor `(batch,)`.
    """
    first = log_prob(fold_in(seed, 0))

    def add(k, largest, total):
        value = log_prob(fold_in(seed, k))
        new = tf.maximum(largest, value)
        return k + 1, new, total * tf.exp(largest - new) + tf.exp(value - new)

    _, largest, total = tf.while_loop(
        lambda k, *_: k < draws,
        add,
        (tf.constant(1), first, tf.ones_like(first)),
        parallel_iterations=1,  # the others would need their memory at the same time
    )
    return largest + tf.math.log(total) - tf.math.log(tf.cast(draws, first.dtype))
