"""Which columns make a row unusual."""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import tensorflow as tf
from scipy.special import logsumexp

from keras_flows import checks
from keras_flows.detect.calibration import Calibration
from keras_flows.detect.shared_noise import log_probs
from keras_flows.measure.conditionals import column_order, conditional_log_probs

if TYPE_CHECKING:
    from keras_flows.flow import Flow

# Rows that are explained at a time, each of them `draws` times in memory.
_ROWS = 1000


class Conditionals:
    """Declares that a flow of one's own knows its density column by column.

    Such a flow inherits from this beside `keras_flows.Flow`. Flows of steps that are autoregressive
    in one order need not: `keras_flows.measure.column_order` finds them.
    """

    def conditional_log_probs(self, x: tf.Tensor) -> tf.Tensor:
        """The terms of `log_prob(x) = sum_j log p(x_j | columns before j)`.

        Args:
            x: `(batch, columns)`.

        Returns:
            Tensor `(batch, columns)`, nats; column j holds the term of column j.
        """
        raise NotImplementedError


class Explanation(NamedTuple):
    """What every column adds to the score of every row.

    Attributes:
        contributions: Nats, array `(n, columns)`. The larger, the more the column makes the row
            unusual; near 0 for an ordinary one, and below 0 for one more usual than most.
        kind: `"conditional"` or `"drop_column"`; see `explain`.
        seed: Of the choice of held-out rows; None where none are chosen.
        draws: How many held-out rows a column was replaced from; None for `"conditional"`.
    """

    contributions: np.ndarray
    kind: str
    seed: int | None
    draws: int | None


def explain(
    flow: "Flow",
    x: np.ndarray,
    held_out: np.ndarray,
    calibration: Calibration,
    draws: int = 32,
    seed: int = 0,
) -> Explanation:
    """Which columns make rows unusual, without gradients.

    * `"conditional"`, of a flow that is autoregressive in one order of its columns
      (`keras_flows.measure.column_order`) or has `Conditionals`:
      `c_j = m_j - log p(x_j | before j)`, with m_j the median of that term over the held-out rows.
      Exact terms of log_prob, of positive, interval and periodic columns too, by the log-det of
      their maps; what they say depends on the order of the columns: of two that contradict one
      another, the later is blamed.
    * `"drop_column"`, of any other, and of any that draws, as with integers among the columns:
      `c_j = ln mean_k p(x with column j from row k) - log_prob(x)`
      over some held-out rows k: by how much the row would be more probable if column j were drawn
      anew. It changes one column at a time: where two are unusual together, either explains the
      row, and both get the contribution; where two of three agree on an odd value, none may. It is
      an estimate from the rows drawn, and no decomposition: contributions do not sum to the score.

    Neither depends on the units of the columns.

    Args:
        flow: A `keras_flows.Flow` on vectors, without context.
        x: Rows, `(n, columns)`.
        held_out: Rows that the flow was not trained on, `(m, columns)`.
        calibration: The flow's, of the statistic `"log_prob"`; its seed and draws are those of a
            random log_prob.
        draws: How many held-out rows to replace a column from, or all if there are fewer.
        seed: Of the choice of them.

    Returns:
        An `Explanation`. If a row is out of the bounds of a column, so that its log_prob is -inf,
        that contribution is inf.

    Raises:
        ValueError: If an argument does not fit, or the statistic is another.
        ArithmeticError: If the conditional terms do not sum to the log_prob.
    """
    if len(flow.event_shape) != 1 or flow.context_shape is not None:
        raise ValueError(
            "Columns are explained for flows on vectors without context; this one has the event "
            f"shape {flow.event_shape} and the context shape {flow.context_shape}."
        )
    if calibration.statistic != "log_prob":
        raise ValueError(
            "What is explained is log_prob, and the scores of this calibration are of the "
            f"statistic {calibration.statistic!r}. Calibrate with 'log_prob' for explanations."
        )
    checks.count(draws, "draws")
    checks.count(seed, "seed", least=0)
    x, held_out = np.asarray(x, "float64"), np.asarray(held_out, "float64")
    for rows, name in ((x, "x"), (held_out, "held_out")):
        checks.batch_shape(rows.shape, flow.event_shape, name)

    def log_prob(rows):
        return log_probs(flow, rows, None, calibration.seed, calibration.draws)

    terms = _conditional_terms(flow)
    if terms is not None:
        median = np.median(_checked(terms, flow, held_out, log_prob), axis=0)
        return Explanation(median - _checked(terms, flow, x, log_prob), "conditional", None, None)
    chosen = held_out[np.random.default_rng(seed).permutation(len(held_out))[:draws]]
    parts = [
        _drop_columns(log_prob, x[start : start + _ROWS], chosen)
        for start in range(0, len(x), _ROWS)
    ]
    return Explanation(np.concatenate(parts), "drop_column", seed, len(chosen))


def _conditional_terms(flow: "Flow") -> Callable | None:
    """The function of rows that makes the terms; None for a flow that has none."""
    if isinstance(flow, Conditionals):
        return flow.conditional_log_probs
    if column_order(flow) is not None:
        return functools.partial(conditional_log_probs, flow)
    return None


def _checked(make: Callable, flow: "Flow", x: np.ndarray, log_prob: Callable) -> np.ndarray:
    """The conditional terms, which must sum to the log_prob."""
    terms = np.asarray(make(x), "float64")
    if terms.shape != x.shape:
        raise ValueError(
            f"conditional_log_probs must return the shape {x.shape}; {type(flow).__name__} "
            f"returned {terms.shape}."
        )
    total = log_prob(x)
    wrong = np.flatnonzero(~np.isclose(terms.sum(axis=1), total, rtol=1e-3, atol=1e-3))
    if len(wrong):
        raise ArithmeticError(
            f"The conditional terms of {type(flow).__name__} do not sum to its log_prob in "
            f"{len(wrong)} of {len(x)} rows: {terms[wrong[0]].sum():.6g} and {total[wrong[0]]:.6g} "
            f"in row {wrong[0]}."
        )
    return terms


def _drop_columns(log_prob, x, chosen):
    """The drop-column contributions of rows, with the rows whose columns replace theirs."""
    before = log_prob(x)
    result = np.empty(x.shape)
    for column in range(x.shape[1]):
        changed = np.repeat(x[:, None], len(chosen), axis=1)
        changed[:, :, column] = chosen[:, column]
        after = log_prob(changed.reshape(-1, x.shape[1])).reshape(len(x), -1)
        mean = logsumexp(after, axis=1) - np.log(len(chosen))
        # A row that stays impossible is no fault of this column alone.
        possible = np.isfinite(mean) | np.isfinite(before)
        result[:, column] = np.subtract(mean, before, out=np.zeros(len(x)), where=possible)
    return result
