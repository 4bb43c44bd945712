"""What tables hold, as the examples of a flow: their columns, their shape, finite numbers."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from keras_flows.data import delimited

if TYPE_CHECKING:
    import pandas as pd


def check_array(path: str | Path, values: np.ndarray, event_shape: tuple[int, ...]) -> None:
    """Checks that an array of a file is one of examples.

    Args:
        path: Where it is from, for the message.
        values: The array.
        event_shape: The shape of one example.

    Raises:
        ValueError: If it is of another shape, or holds no real numbers.
    """
    if values.dtype.kind not in "iuf":
        raise ValueError(f"{path} must hold real numbers, but its dtype is {values.dtype}.")
    if values.shape[1:] != tuple(event_shape) or values.ndim == 0:
        raise ValueError(
            f"{path} must hold an array of shape {_rows_of(event_shape)}, "
            f"but its shape is {values.shape}."
        )


def check_columns(
    path: str | Path,
    names: Sequence[str],
    event_shape: tuple[int, ...],
    columns: Sequence[str] | None = None,
) -> list[str]:
    """The columns of a table that hold the examples.

    Args:
        path: Where it is from, for the message.
        names: The names of all its columns.
        event_shape: The shape of one example.
        columns: Those that were chosen; all by default.

    Returns:
        Their names, in order.

    Raises:
        ValueError: If one is not there, or they are too few or too many.
    """
    chosen = list(names) if columns is None else list(columns)
    missing = [name for name in chosen if name not in names]
    if missing:
        raise ValueError(f"{path} has no column {', '.join(missing)}. It has: {', '.join(names)}.")
    width = int(np.prod(event_shape))
    if len(chosen) != width:
        raise ValueError(
            f"{path} must have {width} columns for examples of shape {tuple(event_shape)}, but it "
            f"has {len(chosen)}: {delimited.some(chosen)}. Choose among them with "
            "columns (--columns)."
        )
    return chosen


def numbers(
    path: str | Path,
    frame: "pd.DataFrame",
    event_shape: tuple[int, ...],
    columns: Sequence[str] | None = None,
) -> np.ndarray:
    """The examples in the rows of a data frame, a float64 array `(n, *event_shape)`.

    Args:
        path: See `check_columns`, like the other arguments.
        frame: The rows.
        event_shape: See there.
        columns: See there.

    Raises:
        ValueError: If the columns are not as many as needed, or do not hold numbers.
    """
    frame = frame[check_columns(path, list(frame.columns), event_shape, columns)]
    text = [
        name
        for name, dtype in zip(frame.columns, frame.dtypes, strict=True)
        if getattr(dtype, "kind", "O") not in "iuf"
    ]
    if text and len(frame):
        names = delimited.some(text)
        raise ValueError(f"{path} must hold numbers, but these columns do not: {names}.")
    return frame.to_numpy(np.float64, na_value=np.nan).reshape(-1, *event_shape)


def finite_float32(path: str | Path, values: np.ndarray, first: int = 0) -> np.ndarray:
    """Examples in float32.

    Args:
        path: Where they are from, for the message.
        values: The examples.
        first: Which row of the file the first of them is.

    Raises:
        ValueError: If one holds anything but finite float32 numbers.
    """
    with np.errstate(over="ignore"):
        result = values.astype(np.float32)
    bad = np.flatnonzero(~np.isfinite(result).reshape(len(result), -1).all(axis=1))
    if bad.size:
        raise ValueError(
            f"{path} must hold finite float32 numbers, but {bad.size} of its {len(result)} rows "
            "hold a missing value, NaN, infinity or a number too large; the first is row "
            f"{first + bad[0]} (counted from 0, without the header)."
        )
    return result


def _rows_of(event_shape: tuple[int, ...]) -> str:
    return f"({', '.join(['n', *map(str, event_shape)])})"
