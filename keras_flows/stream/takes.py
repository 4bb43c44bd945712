"""What rows a flow takes, and what rows are handed to it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from keras_flows.data.schema import Schema


class Takes(NamedTuple):
    """What rows a flow takes.

    Attributes:
        event_shape: The shape of one example.
        context_shape: The shape of its context; None for a flow without.
        schema: What the columns of its table are, context included; None for any other data.
        bits: Of the integers that the flow is on; None for others.
        labels: How many integer labels the context may be; None where it is no label, or where
            that is not known.
    """

    event_shape: tuple[int, ...]
    context_shape: tuple[int, ...] | None = None
    schema: "Schema | None" = None
    bits: int | None = None
    labels: int | None = None

    @property
    def on_images(self) -> bool:
        """Whether the examples are images of integers."""
        return self.bits is not None and len(self.event_shape) == 3

    @property
    def batch(self) -> int:
        """How many rows are computed at a time, always: the rounding of a row depends on it."""
        return 100 if len(self.event_shape) == 3 else 10_000

    @property
    def width(self) -> int:
        """How many numbers an example has."""
        return int(np.prod(self.event_shape))


@dataclass(frozen=True, eq=False)
class Rows:
    """Some rows of the data, one after the other.

    Attributes:
        first: Which row of all the first one is, from 0 on.
        x: The examples, array `(n, *event_shape)`.
        context: Their contexts, `(n, *context_shape)`, or None.
        inside: Whether all values of a row are in the ranges of their columns, booleans `(n,)`.
        reasons: What is wrong with the others, by the number of their row among all, in words.
    """

    first: int
    x: np.ndarray
    context: np.ndarray | None
    inside: np.ndarray
    reasons: dict[int, str]

    def __len__(self) -> int:
        return len(self.x)

    def part(self, start: int, stop: int) -> "Rows":
        """Some of these rows, from the one number to the other."""
        low, high = self.first + start, self.first + stop
        return Rows(
            low,
            self.x[start:stop],
            None if self.context is None else self.context[start:stop],
            self.inside[start:stop],
            {row: reason for row, reason in self.reasons.items() if low <= row < high},
        )
