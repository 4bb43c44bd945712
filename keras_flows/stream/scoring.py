"""Rows scored a batch at a time, wherever the scores go."""

import concurrent.futures
import dataclasses
import functools
from collections.abc import Callable, Iterator

import numpy as np

from keras_flows.stream.inputs import Input
from keras_flows.stream.scorer import Scorer
from keras_flows.stream.takes import Rows

# Numbers of the input that are in memory at a time.
_READ = 2**22
# Reasons of rows outside of a range that are kept, to be shown.
_SHOWN = 5


@dataclasses.dataclass
class Outside:
    """The rows outside of the range of a column.

    Attributes:
        count: How many there are.
        reasons: Of the first of them what is wrong, by row.
    """

    count: int = 0
    reasons: dict[int, str] = dataclasses.field(default_factory=dict)

    def add(self, reasons: dict[int, str]) -> None:
        """Counts more of them."""
        self.count += len(reasons)
        for row in list(reasons)[: _SHOWN - len(self.reasons)]:
            self.reasons[row] = reasons[row]


def batches(scorer: Scorer, rows: Rows) -> Iterator[dict[str, np.ndarray]]:
    """The scores of rows, a batch at a time.

    Every batch begins at a multiple of its size, and all but the last of all rows have that size:
    so the rounding of a row does not depend on the size of parts. The places of rows that are
    outside of the range of a column are filled with copies of one that is not.
    """
    size = scorer.takes.batch
    if rows.first % size:
        raise ValueError(f"Rows are scored from multiples of {size} on; got {rows.first}.")
    cut = (rows.part(start, start + size) for start in range(0, len(rows), size))
    if scorer.threads == 1 or len(rows) <= size:
        yield from map(functools.partial(_batch, scorer), cut)
        return
    with concurrent.futures.ThreadPoolExecutor(scorer.threads) as pool:
        yield from pool.map(functools.partial(_batch, scorer), cut)


def _batch(scorer, part):
    """The scores of one batch."""
    if part.inside.all():
        return scorer.scores(part.x, part.context, part.first)
    made = scorer.outside(part)
    inside = np.flatnonzero(part.inside)
    if len(inside):
        places = np.where(part.inside, np.arange(len(part)), inside[0])
        context = None if part.context is None else part.context[places]
        for name, values in scorer.scores(part.x[places], context, part.first).items():
            made[name][part.inside] = values[part.inside]
    return made


def in_memory(
    scorer: Scorer,
    data: Input,
    outside: Outside | None = None,
    progress: Callable[[int], object] = lambda rows: None,
) -> dict[str, np.ndarray]:
    """The scores of all rows, as arrays.

    Args:
        scorer: What scores them.
        data: The rows.
        outside: To count the rows in that are outside of a range.
        progress: Called with the number of rows of every batch.

    Returns:
        The columns of the scorer by name, `(n, …)`.

    Raises:
        ValueError: If a row cannot be read or scored.
    """
    outside = Outside() if outside is None else outside
    made = []
    for rows in data.read(0, reading(scorer, data.rows or 100 * scorer.takes.batch)):
        outside.add(rows.reasons)
        for batch in batches(scorer, rows):
            made.append(batch)
            progress(len(next(iter(batch.values()))))
    if not made:
        raise ValueError(f"{data.name} is empty: it holds no rows.")
    data.check_unchanged()
    return together(made)


def together(made: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Batches of columns, one after the other."""
    return {name: np.concatenate([batch[name] for batch in made]) for name in made[0]}


def reading(scorer: Scorer, part_rows: int) -> int:
    """Rows to read at a time: batches, a divisor of a part, and not too many numbers."""
    batch = scorer.takes.batch
    whole = max(1, part_rows // batch)
    most = max(1, _READ // (batch * scorer.takes.width))
    return batch * max(d for d in range(1, whole + 1) if whole % d == 0 and d <= most)
