"""What scores rows: the contract of the runtimes, and what a task gives for each row."""

import abc
from typing import Any

import numpy as np

from keras_flows import checks
from keras_flows.stream.manifest import Scored
from keras_flows.stream.takes import Rows, Takes

TASKS = ("score", "detect", "encode")


class Scorer(abc.ABC):
    """A flow, asked the same of many rows.

    Args:
        task: `"score"` for log_prob; `"detect"` for score, p_value and flag, by the calibration of
            the flow; `"encode"` for the latent z.
        seed: Of the numbers that a random log_prob or encoding draws: each row has its own, by its
            number among all rows. Decisions draw what the calibration drew.

    Attributes:
        takes: What rows it takes.
        scored_by: What it is, with its checksum.
        likelihood: What kind of number the log_prob is.
        columns: Of what it gives, the types by name, with the shape of a row's value where that is
            no number.
        options: What else its numbers depend on.
        threads: How many batches may be scored at a time.

    Raises:
        ValueError: If there is no such task, or the seed is no integer from 0 on.
    """

    takes: Takes
    scored_by: Scored
    likelihood: str
    columns: dict[str, str]
    threads: int = 1

    def __init__(self, task: str, seed: int = 0):
        if task not in TASKS:
            raise ValueError(f"task must be one of {', '.join(TASKS)}; got {task!r}.")
        checks.count(seed, "seed", least=0)
        self.task, self.seed = task, int(seed)
        self.options: dict[str, Any] = {}

    @abc.abstractmethod
    def scores(
        self, x: np.ndarray, context: np.ndarray | None, first: int
    ) -> dict[str, np.ndarray]:
        """The columns for a batch of rows.

        Args:
            x: `(batch, *event_shape)`, the rows `first`, `first + 1`, … of all.
            context: Their contexts, or None.
            first: The number of the first of them.

        Raises:
            ArithmeticError: If a row has no such number; the message says which.
            ValueError: If a row is none that the flow takes.
        """

    @abc.abstractmethod
    def outside(self, rows: Rows) -> dict[str, np.ndarray]:
        """The columns for rows that are all outside of the range of a column.

        Raises:
            ValueError: If the task has none for such rows.
        """


def decision_columns() -> dict[str, str]:
    """The columns of decisions."""
    return {"score": "float32", "p_value": "float64", "flag": "bool"}


def latent_columns(shape: tuple[int, ...], dtype: str) -> dict[str, str]:
    """The columns of a latent: a number each of a vector, one column of lists of any other."""
    if len(shape) == 1:
        return {f"z_{i}": dtype for i in range(shape[0])}
    return {"z": f"{dtype}[{', '.join(map(str, shape))}]"}


def latent_arrays(z: np.ndarray) -> dict[str, np.ndarray]:
    """A latent as those columns."""
    return {f"z_{i}": z[:, i] for i in range(z.shape[1])} if z.ndim == 2 else {"z": z}


def outside(task: str, rows: Rows, smallest_p_value: float | None) -> dict[str, np.ndarray]:
    """The columns for rows outside of a range: log_prob −∞, the smallest p-value, flagged.

    Raises:
        ValueError: If they are to be encoded: they have no latent.
    """
    n = len(rows)
    if task == "score":
        return {"log_prob": np.full(n, -np.inf, np.float32)}
    if task == "detect":
        return {
            "score": np.full(n, np.inf, np.float32),
            "p_value": np.full(n, smallest_p_value, np.float64),
            "flag": np.ones(n, bool),
        }
    row, reason = next(iter(rows.reasons.items()))
    raise ValueError(
        f"Row {row} (counted from 0) is out of range, and has no latent: {reason}. Remove such "
        "rows; `keras-flows score` gives them log_prob -inf."
    )
