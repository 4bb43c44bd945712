"""What a calibrated flow decides of new rows."""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from keras_flows.data.schema import Arranged
from keras_flows.detect.calibration import Calibration, benjamini_hochberg
from keras_flows.detect.scoring import scores

if TYPE_CHECKING:
    from keras_flows.flow import Flow


class Decision(NamedTuple):
    """What is decided of rows, in their order.

    Attributes:
        score: The larger, the more abnormal, float32 `(n,)`; infinite for a row outside of the
            range of a column.
        p_value: The conformal p-value, float64 `(n,)`.
        flag: Whether the p-value is at most alpha, booleans `(n,)`.
        discovery: Which rows are discoveries at the false-discovery rate, booleans `(n,)`; None
            where none was given.
        reasons: What is wrong with the rows outside of a range, by their index, in words.
    """

    score: np.ndarray
    p_value: np.ndarray
    flag: np.ndarray
    discovery: np.ndarray | None
    reasons: dict[int, str]


def decide(
    flow: "Flow",
    rows: Any,
    alpha: float = 0.01,
    fdr: float | None = None,
    context: ArrayLike | None = None,
) -> Decision:
    """Which rows are unusual, by the calibration of a flow.

    >>> decision = kf.detect.decide(kf.zoo.load("my_flow"), "new.csv", alpha=0.01)

    Args:
        flow: A `keras_flows.Flow` with a `calibration`, as `keras_flows.fit` and `keras-flows
            calibrate` make it.
        rows: For a flow that has a `schema`, a table of its columns in any order, context included,
            as in `keras_flows.data.table`; or what `Schema.arrange` made of one. For any other, an
            array `(n, *event_shape)`.
        alpha: The rate at which rows like the held-out ones are flagged.
        fdr: Among the discoveries, the share of false ones, in expectation at most; the rows are
            judged together. See `keras_flows.detect.benjamini_hochberg`.
        context: The context of an array of rows, for a conditional flow without schema.

    Returns:
        A `Decision`.

    Raises:
        FileNotFoundError: There is no such file.
        ImportError: pandas or pyarrow is not installed, and rows is a table.
        TypeError: The rows are no table.
        ValueError: The flow has no calibration; there are too few held-out rows for alpha or fdr,
            and the message says how many it takes; or the rows do not fit the flow.
    """
    calibration = calibration_of(flow)
    calibration.check_level(alpha)
    if fdr is not None:
        calibration.check_level(fdr, "fdr")
    score, reasons = _scores(flow, rows, calibration, context)
    p_value = calibration.p_values(score)
    return Decision(
        score=score,
        p_value=p_value,
        flag=calibration.flags(p_value, alpha),
        discovery=None if fdr is None else benjamini_hochberg(p_value, fdr),
        reasons=reasons,
    )


def calibration_of(flow: "Flow") -> Calibration:
    """The calibration of a flow.

    Raises:
        ValueError: If it has none.
    """
    if flow.calibration is None:
        raise ValueError(
            f"{flow.name} has no calibration, and no p-values without one. `keras-flows calibrate` "
            "adds one to a preset, from held-out data; in Python it is flow.calibration = "
            "kf.detect.calibrate(flow, held_out, name)."
        )
    return flow.calibration


def _scores(flow, rows, calibration, context):
    """The scores of rows, and why some are outside of the ranges."""
    if flow.schema is None:
        return scores(flow, rows, calibration, context), {}
    if context is not None:
        raise ValueError("This flow has a schema: its context is among the columns of the rows.")
    arranged = rows if isinstance(rows, Arranged) else flow.schema.arrange(rows)
    made = scores_inside(flow, arranged.x, arranged.inside, calibration, arranged.context)
    return made, arranged.reasons


def scores_inside(
    flow: "Flow",
    x: np.ndarray,
    inside: np.ndarray,
    calibration: Calibration,
    context: np.ndarray | None = None,
) -> np.ndarray:
    """The scores of rows, infinite for those that are outside of the range of a column.

    Args:
        flow: The flow that was calibrated.
        x: The rows, `(n, columns)`.
        inside: Whether each is inside, booleans `(n,)`.
        calibration: Of the flow.
        context: The context of each, or None.

    Returns:
        float32 array `(n,)`.
    """
    made = np.full(len(x), np.inf, np.float32)
    if inside.any():
        given = None if context is None else context[inside]
        made[inside] = scores(flow, x[inside], calibration, given)
    return made
