"""Sources of randomness.

A stochastic step never draws by itself: it asks the source it is handed. The same code then
draws from a seed (training, sampling), replays recorded numbers (tests, reproducibility), or
slices one explicit input (exported graphs, which are pure functions).
"""

import random
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

# Named, because XLA would choose another, and a seed must give the same numbers with and without.
_ALGORITHM = "philox"
# The integers to draw, those without a sign, how many bits they have, and how many a float keeps.
_BITS = {
    tf.float32: (tf.int32, tf.uint32, 32, 24),
    tf.float64: (tf.int64, tf.uint64, 64, 53),
}

Seed: TypeAlias = int | tuple[int, int] | tf.Tensor


def as_seed(seed: Seed) -> tf.Tensor:
    """Turns a seed into the `(2,)` int32 tensor that stateless random ops take.

    Args:
        seed: An integer, a pair of integers, or an integer tensor of shape `(2,)`.

    Returns:
        An int32 tensor of shape `(2,)`.

    Raises:
        ValueError: If `seed` is none of these.
    """
    if isinstance(seed, (int, np.integer)) and not isinstance(seed, bool):
        low, high = int(seed) & 0xFFFFFFFF, (int(seed) >> 32) & 0xFFFFFFFF
        return tf.constant(np.array([high, low], dtype=np.uint32).view(np.int32))
    seed = tf.convert_to_tensor(seed)
    if not seed.dtype.is_integer or seed.shape != (2,):
        raise ValueError(
            "A seed is an integer, a pair of integers, or an integer tensor of shape (2,); "
            f"got {seed!r}."
        )
    return tf.cast(seed, tf.int32)


def fresh_seed() -> tf.Tensor:
    """A seed of no call before, as `as_seed` gives it.

    Eagerly it comes from Python's generator, in a graph from TensorFlow's, at every run: both begin
    differently in every process, and both are set by `keras.utils.set_random_seed`.
    """
    if tf.executing_eagerly():
        return as_seed(random.getrandbits(64))
    return tf.random.uniform((2,), maxval=2**31 - 1, dtype=tf.int32)


def fold_in(seed: tf.Tensor, number: int | tf.Tensor) -> tf.Tensor:
    """A seed that belongs to a seed and a number, the same eagerly and under XLA."""
    return tf.random.experimental.stateless_fold_in(seed, number, alg=_ALGORITHM)


def require(noise: "Noise | None", drawing: object, call: str = "log_prob") -> "Noise":
    """Checks that what draws random numbers has a source of them.

    Args:
        noise: The source, or None.
        drawing: The object that draws, named in the message.
        call: What it is asked for: `"log_prob"` or `"decode"`.

    Returns:
        The source.

    Raises:
        ValueError: If there is none.
    """
    if noise is None:
        raise ValueError(
            f"{type(drawing).__name__} draws random numbers: give {call} a `seed` or `noise`."
        )
    return noise


class Noise:
    """What a stochastic step draws from. Every draw has one leading batch axis."""

    def normal(
        self, batch: int | tf.Tensor, event_shape: tuple[int, ...], dtype: str | tf.DType
    ) -> tf.Tensor:
        """Standard normal numbers of shape `(batch, *event_shape)`."""
        raise NotImplementedError

    def uniform(
        self, batch: int | tf.Tensor, event_shape: tuple[int, ...], dtype: str | tf.DType
    ) -> tf.Tensor:
        """Uniform numbers in [0, 1) of shape `(batch, *event_shape)`."""
        raise NotImplementedError

    def rademacher(
        self, batch: int | tf.Tensor, event_shape: tuple[int, ...], dtype: str | tf.DType
    ) -> tf.Tensor:
        """Signs, -1 or +1 with equal probability, of shape `(batch, *event_shape)`."""
        raise NotImplementedError

    def scalar(self, dtype: str | tf.DType) -> tf.Tensor:
        """One uniform number in [0, 1), shape `()`, shared by the whole batch."""
        raise NotImplementedError


class SeededNoise(Noise):
    """Draws from a seed. Draw number k depends on the seed and on k only.

    Args:
        seed: See `as_seed`.
        next_draw: The number of the first draw.
        rows: `(first, total)`, where the batch is a part of a larger one, its examples being those
            from `first` on of `total`: each of them draws what it would in that one. None for a
            batch of its own.

    Attributes:
        seed: The seed, a `(2,)` int32 tensor.
        next_draw: The number of the next draw, an integer or a scalar tensor.
        rows: As above.
    """

    def __init__(
        self,
        seed: Seed,
        next_draw: int | tf.Tensor = 0,
        rows: tuple[int | tf.Tensor, int | tf.Tensor] | None = None,
    ):
        self.seed = as_seed(seed)
        self.next_draw = next_draw
        self.rows = rows

    def next_seed(self) -> tf.Tensor:
        """A fresh seed, a `(2,)` int32 tensor; counts as a draw."""
        number = self.next_draw
        self.next_draw = number + 1
        return fold_in(self.seed, number)

    def normal(
        self, batch: int | tf.Tensor, event_shape: tuple[int, ...], dtype: str | tf.DType
    ) -> tf.Tensor:
        return self._own_rows(_normal, batch, event_shape, dtype)

    def uniform(
        self, batch: int | tf.Tensor, event_shape: tuple[int, ...], dtype: str | tf.DType
    ) -> tf.Tensor:
        return self._own_rows(_uniform, batch, event_shape, dtype)

    def _own_rows(self, draw, batch, event_shape, dtype):
        seed, dtype = self.next_seed(), tf.as_dtype(dtype)
        if self.rows is None:
            return draw((batch, *event_shape), seed, dtype)
        # Those of the others are drawn with them: random numbers cost little beside a flow.
        first, total = self.rows
        return draw((total, *event_shape), seed, dtype)[first : first + batch]

    def rademacher(
        self, batch: int | tf.Tensor, event_shape: tuple[int, ...], dtype: str | tf.DType
    ) -> tf.Tensor:
        heads = self.uniform(batch, event_shape, dtype) < 0.5
        return tf.cast(tf.where(heads, 1, -1), dtype)

    def scalar(self, dtype: str | tf.DType) -> tf.Tensor:
        return _uniform((), self.next_seed(), tf.as_dtype(dtype))


# Floats from integers, of which XLA draws the same ones as TensorFlow without it. Where the seed is
# a tensor and not a constant, XLA makes other floats of the same bits.


def _uniform(shape, seed, dtype):
    """Uniform numbers in [0, 1): the highest bits of an integer behind the point."""
    integer, unsigned, width, digits = _BITS[dtype]
    bits = tf.random.stateless_uniform(shape, seed, None, None, integer, alg=_ALGORITHM)
    shift = tf.constant(width - digits, unsigned)
    highest = tf.bitwise.right_shift(tf.bitcast(bits, unsigned), shift)
    return tf.cast(tf.bitcast(highest, integer), dtype) * 2.0**-digits


def _normal(shape, seed, dtype):
    """Standard normal numbers `sqrt(-2 ln u) cos(2 pi v)` of uniform ones (Box and Muller 1958)."""
    u, v = tf.unstack(_uniform((2, *shape), seed, dtype))
    return tf.sqrt(-2.0 * tf.math.log1p(-u)) * tf.cos(2.0 * np.pi * v)


class ScaledNoise(SeededNoise):
    """Draws from a seed, with normal numbers of another deviation: samples at a temperature.

    Args:
        seed: See `as_seed`.
        scale: The deviation.
    """

    def __init__(self, seed: Seed, scale: float | tf.Tensor):
        super().__init__(seed)
        self._scale = scale

    def normal(
        self, batch: int | tf.Tensor, event_shape: tuple[int, ...], dtype: str | tf.DType
    ) -> tf.Tensor:
        return tf.cast(self._scale, dtype) * super().normal(batch, event_shape, dtype)


class ReplayedNoise(Noise):
    """Hands out recorded arrays in the order of consumption, whatever kind is asked for.

    Args:
        arrays: A sequence of arrays, each of the full shape `(batch, *event_shape)` (or `()` for
            a scalar draw) that the step consuming it asks for.
    """

    def __init__(self, arrays: Sequence[ArrayLike]):
        self._arrays = list(arrays)
        self._used = 0

    def _next(self, shape, dtype):
        if self._used == len(self._arrays):
            raise ValueError(
                f"The noise to replay holds {len(self._arrays)} arrays, and a step asks for one "
                "more. `flow.noise_shape(direction)` says what is consumed."
            )
        array = tf.cast(tf.convert_to_tensor(self._arrays[self._used]), dtype)
        wanted = tf.zeros(shape).shape
        if not array.shape.is_compatible_with(wanted):
            raise ValueError(
                f"Array {self._used} of the noise to replay has shape {array.shape}; the step "
                f"that consumes it needs {wanted}."
            )
        self._used += 1
        return array

    def normal(
        self, batch: int | tf.Tensor, event_shape: tuple[int, ...], dtype: str | tf.DType
    ) -> tf.Tensor:
        return self._next((batch, *event_shape), dtype)

    uniform = rademacher = normal

    def scalar(self, dtype: str | tf.DType) -> tf.Tensor:
        return self._next((), dtype)

    def finish(self) -> None:
        """Raises a ValueError if arrays are left over."""
        if self._used != len(self._arrays):
            raise ValueError(
                f"The noise to replay holds {len(self._arrays)} arrays, but only {self._used} were "
                "consumed."
            )


class InputNoise(Noise):
    """Slices one explicit input of standard normal numbers, as exported graphs do.

    Uniform numbers are the normal distribution function of the slice, signs are its signs.

    Args:
        values: A tensor `(batch, n)` of standard normal numbers, `n` the flow's
            `noise_shape(direction)`.
    """

    def __init__(self, values: tf.Tensor):
        self._values = values
        self._used = 0

    def normal(
        self, batch: int | tf.Tensor, event_shape: tuple[int, ...], dtype: str | tf.DType
    ) -> tf.Tensor:
        size = int(np.prod(event_shape, dtype=np.int64))
        available = self._values.shape[-1]
        if self._used + size > available:
            raise ValueError(
                f"The noise input holds {available} numbers per example; the steps of this flow "
                f"ask for more than {self._used + size - 1}."
            )
        piece = self._values[:, self._used : self._used + size]
        self._used += size
        return tf.cast(tf.reshape(piece, (batch, *event_shape)), dtype)

    def uniform(
        self, batch: int | tf.Tensor, event_shape: tuple[int, ...], dtype: str | tf.DType
    ) -> tf.Tensor:
        normal = self.normal(batch, event_shape, dtype)
        uniform = 0.5 * (1.0 + tf.math.erf(normal * float(np.sqrt(0.5))))
        # Far out, the distribution function rounds to one.
        below_one = np.nextafter(1.0, 0.0, dtype=uniform.dtype.as_numpy_dtype)
        return tf.minimum(uniform, tf.constant(below_one))

    def rademacher(
        self, batch: int | tf.Tensor, event_shape: tuple[int, ...], dtype: str | tf.DType
    ) -> tf.Tensor:
        normal = self.normal(batch, event_shape, dtype)
        return tf.where(normal < 0, -tf.ones_like(normal), tf.ones_like(normal))

    def scalar(self, dtype: str | tf.DType) -> tf.Tensor:
        raise ValueError(
            "A random number of series terms cannot come from a noise input with one row per "
            "example. Use the 'power_series' estimator for exported graphs."
        )
