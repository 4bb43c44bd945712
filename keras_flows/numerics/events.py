"""Sums and sizes of events, and bits per dimension."""

import math
from typing import TypeVar

import numpy as np
import tensorflow as tf

Number = TypeVar("Number", float, tf.Tensor)


def sum_event(x: tf.Tensor, leading: int = 1) -> tf.Tensor:
    """Sums over all axes but the leading ones: `(batch, *event)` to `(batch,)`."""
    return tf.reduce_sum(x, axis=list(range(leading, len(x.shape))))


def event_size(event_shape: tuple[int, ...]) -> int:
    """The number of elements of an event."""
    return int(np.prod(event_shape, dtype=np.int64))


def reshape_events(x: tf.Tensor, shape: tuple[int, ...]) -> tf.Tensor:
    """`(batch, *event)` to `(batch, *shape)`, of a batch without examples too."""
    return tf.reshape(x, tf.concat([tf.shape(x)[:1], shape], axis=0))


def zeros_per_example(x: tf.Tensor) -> tf.Tensor:
    """Zeros of shape `(batch,)`, in the dtype of x."""
    return tf.zeros(tf.shape(x)[:1], x.dtype)


def bits_per_dim(nats: Number, event_shape: tuple[int, ...]) -> Number:
    """Nats per example as bits per dimension: `nats / (D ln 2)`, D the size of an event.

    Of a negative log-likelihood, a standard error or any other number of nats.
    """
    return nats / (event_size(event_shape) * math.log(2.0))
