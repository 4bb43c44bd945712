"""What replicas of a model tell one another while they train it together.

Under a `tf.distribute.Strategy` every replica runs the same step on its part of a batch. What is a
sum over the examples, a statistic above all, has to be one over the parts of all replicas, or the
result depends on how many there are. Without a strategy, or with one replica, nothing here adds an
operation to a graph.
"""

import contextlib
import contextvars
from collections.abc import Iterator

import tensorflow as tf

_first_batch = contextvars.ContextVar("first_batch", default=False)


def count() -> int:
    """How many replicas run this step; 1 outside of a strategy's `run`."""
    if tf.distribute.in_cross_replica_context():
        return 1
    return tf.distribute.get_strategy().num_replicas_in_sync


def index() -> int | tf.Tensor:
    """Which of them this one is."""
    return tf.distribute.get_replica_context().replica_id_in_sync_group


def total(*tensors: tf.Tensor) -> list[tf.Tensor]:
    """The sums over all replicas, of tensors that have the same shape in each.

    Gradients flow through them. Every replica has to get here, in the same order; not within a
    `tf.cond`, a loop or a function of its own.
    """
    if count() == 1:
        return list(tensors)
    return list(tf.distribute.get_replica_context().all_reduce("SUM", list(tensors)))


def gathered(tensor: tf.Tensor) -> tf.Tensor:
    """A tensor `(replicas, *shape)`: that of every replica, in their order; gradients flow."""
    place = tf.one_hot(index(), count(), dtype=tensor.dtype)
    place = tf.reshape(place, (-1, *(1 for _ in tensor.shape)))
    # Not a product with the place: 0 * NaN would spoil the parts of the others.
    own = tf.where(place > 0, tensor[None], tf.zeros_like(tensor)[None])
    return total(own)[0]


def joined(
    mean: tf.Tensor, squares: tf.Tensor, examples: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Mean and squared deviations of all replicas' examples, from those of each.

    `mean = Σ n_r mean_r / n` and `squares = Σ (squares_r + n_r (mean_r - mean)²)` with n = Σ n_r:
    no difference of large numbers, and one exchange.

    Source: Chan, Golub & LeVeque 1979, *Updating Formulae and a Pairwise Algorithm for Computing
    Sample Variances*.

    Args:
        mean: Of this replica's examples, `(channels,)`.
        squares: The sum of their squared deviations from it, `(channels,)`.
        examples: How many they are, a scalar of the same dtype; it may be 0.

    Returns:
        The same three of all examples.
    """
    if count() == 1:
        return mean, squares, examples
    number = tf.fill(tf.shape(mean), examples)
    # The mean of no examples is NaN.
    here = tf.where(number > 0, tf.stack([mean, squares, number]), tf.zeros_like(mean))
    means, parts, numbers = tf.unstack(gathered(here), axis=1)
    examples = tf.reduce_sum(numbers, axis=0)[0]
    mean = tf.reduce_sum(numbers * means, axis=0) / examples
    squares = tf.reduce_sum(parts + numbers * tf.square(means - mean), axis=0)
    return mean, squares, examples


def rows(batch: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor] | None:
    """`(first, total)`: where this replica's examples begin in the joint batch, and its size.

    The joint batch is that of replica 0, then that of replica 1, and so on. None for one replica.

    Args:
        batch: How many examples this replica has, an int32 scalar.
    """
    if count() == 1:
        return None
    # As floats: devices of their own keep int32 elsewhere.
    batches = tf.cast(gathered(tf.cast(batch, tf.float32)), tf.int32)
    return tf.cumsum(batches, exclusive=True)[index()], tf.reduce_sum(batches)


@contextlib.contextmanager
def first_batch(is_first: bool = True) -> Iterator[None]:
    """Within it, steps that a first batch sets may ask all replicas for theirs.

    An exchange cannot stand in a branch of a graph. So the step of the first batch is a graph of
    its own, and later ones have no exchange for it at all.
    """
    token = _first_batch.set(is_first)
    try:
        yield
    finally:
        _first_batch.reset(token)


def is_first_batch() -> bool:
    """Whether `first_batch` is in force."""
    return _first_batch.get()
