"""What a flow says of rows, each by the same random numbers.

Conformal p-values need one score function for all rows. A log_prob that draws random numbers
becomes one when every row is given the same numbers: its score then depends on the row alone, not
on its place in a batch nor on the size of the batch.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from keras_flows import calls, checks
from keras_flows.bases import ChannelNormal, StandardNormal
from keras_flows.noise import Seed, SeededNoise
from keras_flows.numerics.events import sum_event

if TYPE_CHECKING:
    from keras_flows.flow import Flow


class SharedNoise(SeededNoise):
    """Draws from a seed, the same numbers for every example of a batch.

    Args:
        seed: See `keras_flows.noise.as_seed`.
    """

    def normal(
        self, batch: int | tf.Tensor, event_shape: tuple[int, ...], dtype: str | tf.DType
    ) -> tf.Tensor:
        return tf.repeat(super().normal(1, event_shape, dtype), batch, axis=0)

    def uniform(
        self, batch: int | tf.Tensor, event_shape: tuple[int, ...], dtype: str | tf.DType
    ) -> tf.Tensor:
        return tf.repeat(super().uniform(1, event_shape, dtype), batch, axis=0)


class ConstantNoise(SeededNoise):
    """The numbers of `SharedNoise`, drawn when a graph is traced: constants, for its export.

    Args:
        seed: See `keras_flows.noise.as_seed`; known when the graph is traced.
    """

    def __init__(self, seed: Seed):
        with tf.init_scope():
            super().__init__(seed)

    def normal(
        self, batch: int | tf.Tensor, event_shape: tuple[int, ...], dtype: str | tf.DType
    ) -> tf.Tensor:
        with tf.init_scope():
            drawn = super().normal(1, event_shape, dtype).numpy()
        return _for_all(drawn, batch)

    def uniform(
        self, batch: int | tf.Tensor, event_shape: tuple[int, ...], dtype: str | tf.DType
    ) -> tf.Tensor:
        with tf.init_scope():
            drawn = super().uniform(1, event_shape, dtype).numpy()
        return _for_all(drawn, batch)

    def scalar(self, dtype: str | tf.DType) -> tf.Tensor:
        with tf.init_scope():
            drawn = super().scalar(dtype).numpy()
        return tf.constant(drawn)


def _for_all(drawn, batch):
    """One drawn array for every example of a batch."""
    shape = tf.concat([[batch], tf.constant(drawn.shape[1:], tf.int32)], axis=0)
    return tf.broadcast_to(tf.constant(drawn), shape)


def constant_log_prob(
    flow: "Flow", x: tf.Tensor, context: tf.Tensor | None, seed: int, draws: int
) -> tf.Tensor:
    """What `log_probs` gives, as a part of a graph that needs nothing but x and context.

    Args:
        flow: A `keras_flows.Flow`.
        x: Tensor `(batch, *event_shape)`.
        context: Tensor `(batch, *context_shape)`, or None.
        seed: See `log_probs`.
        draws: See `log_probs`.

    Returns:
        Tensor `(batch,)`, nats, in the dtype of the flow.
    """
    if not flow.transform.noise_size("encode"):
        return calls.log_prob(flow, x, context, None)
    with tf.init_scope():
        source = SeededNoise(seed)
        seeds = [source.next_seed() for _ in range(draws)]
    made = [calls.log_prob(flow, x, context, ConstantNoise(one)) for one in seeds]
    return tf.add_n(made) / tf.cast(draws, made[0].dtype)


def log_probs(
    flow: "Flow",
    x: np.ndarray,
    context: np.ndarray | None = None,
    seed: int = 0,
    draws: int = 1,
) -> np.ndarray:
    """The log_prob of every row, the mean of some draws where it is random.

    Args:
        flow: A `keras_flows.Flow`.
        x: Array `(n, *event_shape)`.
        context: Array `(n, *context_shape)`, or None.
        seed: Of the draws, which are the same for all rows.
        draws: How many to average; 1 where log_prob draws nothing.

    Returns:
        float64 array `(n,)`, nats.

    Raises:
        ValueError: If an argument does not fit.
    """
    return _mean(_log_prob, flow, x, context, seed, draws)


def latent_norms(
    flow: "Flow",
    x: np.ndarray,
    context: np.ndarray | None = None,
    seed: int = 0,
    draws: int = 1,
) -> np.ndarray:
    """The norm `|e|` of the latent of every row, e standard normal under the flow.

    Args:
        flow: See `log_probs`, as for the other arguments.
        x: See there.
        context: See there.
        seed: See there.
        draws: See there.

    Returns:
        float64 array `(n,)`.

    Raises:
        ValueError: If an argument does not fit, or the base is not normal.
    """
    if not isinstance(flow.base, (StandardNormal, ChannelNormal)):
        raise ValueError(
            "The latent norm is for flows with a StandardNormal or ChannelNormal base; this one "
            f"has a {type(flow.base).__name__}."
        )
    return _mean(_latent_norm, flow, x, context, seed, draws)


def _log_prob(flow, x, context, noise, training):
    return calls.log_prob(flow, x, context, _shared(noise), training)


def _latent_norm(flow, x, context, noise, training):
    z = calls.encode(flow, x, context, _shared(noise), training)
    return tf.sqrt(sum_event(tf.square(flow.base.standardized(z))))


def _shared(noise):
    return None if noise is None else SharedNoise(noise.seed)


def _mean(function: Callable, flow, x, context, seed, draws):
    """The mean over the draws of what a pure function makes of the rows, in batches."""
    checks.count(draws, "draws")
    random = flow.transform.noise_size("encode") > 0
    if draws > 1 and not random:
        raise ValueError(
            f"The log_prob of this flow draws no random numbers: draws must be 1; got {draws}."
        )
    source = SeededNoise(seed)
    seeds = [source.next_seed() for _ in range(draws)] if random else [None]
    parts = []
    for _, part, part_context in calls.in_batches(flow, x, context):
        values = [flow.calls.run(function, part, part_context, seed=one).numpy() for one in seeds]
        parts.append(np.mean(values, axis=0, dtype="float64"))
    return np.concatenate(parts)
