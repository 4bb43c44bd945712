"""Calibrating a flow on held-out rows, and scoring rows as it was calibrated."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from keras_flows import checks
from keras_flows.detect.calibration import Calibration, fingerprint
from keras_flows.detect.statistics import STATISTICS, Statistic

if TYPE_CHECKING:
    from keras_flows.flow import Flow


def calibrate(
    flow: "Flow",
    x: ArrayLike,
    data: str,
    statistic: str = "log_prob",
    context: ArrayLike | None = None,
    seed: int = 0,
    draws: int = 1,
    data_sha256: str | None = None,
) -> Calibration:
    """Scores held-out rows, for p-values of others.

    The rows must be no part of what the flow was trained on, nor of what its training was stopped
    by, and otherwise like the rows that it will judge. Spectral norms are brought to convergence
    first, as saving does. A fifth of the rows, chosen by the seed, gives the constants of a
    statistic that has some, and the others the scores.

    Args:
        flow: A `keras_flows.Flow`.
        x: The held-out rows, `(n, *event_shape)`.
        data: The name of the data.
        statistic: A name in `keras_flows.detect.STATISTICS`.
        context: Their context, `(n, *context_shape)`, for a conditional flow.
        seed: Of the draws of a random log_prob, and of the choice of rows.
        draws: How many draws of a random log_prob to average.
        data_sha256: The SHA-256 of the file the rows are from; that of the array x by default.

    Returns:
        A `Calibration`.

    Raises:
        ValueError: If an argument does not fit, there are too few rows, or a score is NaN.
    """
    kind = checks.known(statistic, STATISTICS, "statistic")
    kind.check(flow)
    checks.count(seed, "seed", least=0)
    rows = _rows(x)
    if kind.fitted and len(rows) < 2:
        raise ValueError(f"The statistic {statistic!r} needs at least two rows; got {len(rows)}.")
    flow.converge()
    measured = kind.measure(flow, rows, None if context is None else _rows(context), seed, draws)
    constants = {}
    if kind.fitted:
        order = np.random.default_rng(seed).permutation(len(rows))
        fifth = -(-len(rows) // 5)
        constants = kind.constants(measured[order[:fifth]])
        measured = measured[order[fifth:]]
    return Calibration(
        scores=kind.scores(measured, constants),
        statistic=statistic,
        constants=constants,
        likelihood=flow.likelihood,
        seed=seed,
        draws=draws,
        data=data,
        data_sha256=fingerprint(rows) if data_sha256 is None else data_sha256,
    )


def rows_to_calibrate(kind: Statistic, scores: int) -> int:
    """How many held-out rows give a number of scores."""
    return -(-5 * scores // 4) if kind.fitted else scores


def scores(
    flow: "Flow", x: ArrayLike, calibration: Calibration, context: ArrayLike | None = None
) -> np.ndarray:
    """The scores of rows, larger for the more abnormal, made as those of a calibration were.

    Args:
        flow: The flow that was calibrated.
        x: The rows, `(n, *event_shape)`.
        calibration: Its `Calibration`.
        context: Their context, for a conditional flow.

    Returns:
        float32 array `(n,)`; `calibration.p_values` takes it.

    Raises:
        ValueError: If an argument does not fit, or the calibration is not of such a flow.
    """
    kind = checks.known(calibration.statistic, STATISTICS, "statistic")
    kind.check(flow)
    if calibration.likelihood != flow.likelihood:
        raise ValueError(
            f"The calibration is of log_probs that are {calibration.likelihood!r}; those of this "
            f"flow are {flow.likelihood!r}. Calibrate the flow as it is now."
        )
    measured = kind.measure(
        flow,
        _rows(x),
        None if context is None else _rows(context),
        calibration.seed,
        calibration.draws,
    )
    with np.errstate(over="ignore"):  # what is too large is infinite
        return kind.scores(measured, calibration.constants).astype(np.float32)


def _rows(x):
    """An array of rows; what it holds is checked by the flow."""
    x = np.asarray(x)
    if not x.ndim:
        raise ValueError(f"Rows must be an array of one row each; got the number {x}.")
    return x
