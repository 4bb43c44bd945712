"""What all data have in common: seeds, and training batches that repeat exactly."""

import operator
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf

Seed = int | tuple[int, ...]


def dataset(
    make: Callable[[tuple[int, ...], int], np.ndarray],
    shape: tuple[int, ...],
    dtype: str,
    batch_size: int,
    steps: int,
    seed: Seed,
    start: int,
) -> "tf.data.Dataset":
    """The batches `start`, …, `steps - 1` of a run.

    Args:
        make: From the parts of the seed and the number of a step to its batch, an array
            `(batch_size, *shape)`. It has no other source of randomness, so a run that stopped
            after k batches goes on with `start=k` and sees what it would have seen.
        shape: Of an example.
        dtype: Of the batches.
        batch_size: Examples in a batch, at least 1.
        steps: Batches in the whole run, at least 1.
        seed: A nonnegative integer, or a tuple of them.
        start: Batches to leave out at the beginning, from 0 to `steps`.

    Returns:
        A `tf.data.Dataset` of `steps - start` tensors.

    Raises:
        TypeError: If a number is not an integer.
        ValueError: If a number is out of range.
    """
    import tensorflow as tf

    batch_size = integer("batch_size", batch_size, at_least=1)
    steps = integer("steps", steps, at_least=1)
    start = integer("start", start, at_least=0)
    parts = key(seed)
    if start > steps:
        raise ValueError(f"start must be at most steps, but start={start} and steps={steps}.")

    def draw(step):
        x = tf.numpy_function(lambda step: make(parts, int(step)), [step], tf.as_dtype(dtype))
        return tf.ensure_shape(x, (batch_size, *shape))

    batches = tf.data.Dataset.range(start, steps).map(draw)
    return batches.apply(tf.data.experimental.assert_cardinality(steps - start)).prefetch(2)


def generator(*key: int) -> np.random.Generator:
    """The random generator of a key; keys of different lengths are different."""
    # NumPy pads a short seed with zeros, so the length goes in front to keep seeds apart.
    return np.random.default_rng((len(key), *key))


def integer(name: str, value: int, at_least: int) -> int:
    """An argument that must be an integer of some size."""
    try:
        value = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, but it is {value!r}.") from None
    if value < at_least:
        raise ValueError(f"{name} must be at least {at_least}, but it is {value}.")
    return value


def key(seed: Seed) -> tuple[int, ...]:
    """The parts of a seed."""
    parts = seed if isinstance(seed, tuple) else (seed,)
    if not parts:
        raise ValueError("seed is an empty tuple: give an integer or a tuple of integers.")
    parts = tuple(integer("each part of seed", part, at_least=0) for part in parts)
    if max(parts) >= 2**32:
        raise ValueError(f"each part of seed must be below 2**32, but seed={seed!r}.")
    return parts
