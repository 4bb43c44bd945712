"""The cells of a table: from what a file holds to numbers and labels, or to an error.

Every check looks at all columns and raises one error that lists the columns and how many of their
cells are wrong.
"""

import datetime
import decimal
import numbers
import reprlib
from typing import TYPE_CHECKING

import numpy as np

from keras_flows.data.columns import LARGEST_INTEGER
from keras_flows.data.sources import some

if TYPE_CHECKING:
    import pandas as pd

# The largest float32: flows compute in float32, and a number above it is no measurement.
LARGEST = float(np.finfo(np.float32).max)

_COMMAS = r"[+-]?(?:\d+[.,])*\d*,\d+(?:[.,]\d+)*"
_DATE = r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}(?:[T ].*)?"

_TIMES = (datetime.date, datetime.time, datetime.timedelta)

# What a column can hold instead of numbers, and what to do about it.
_ADVICE = {
    "text": "If it is a label, make it a category of the context: kinds={{{column!r}: 'category'}}",
    "true and false": "Make it a category of the context: kinds={{{column!r}: 'category'}}",
    "numbers and text": "Correct these cells, or empty them and let drop_missing drop their rows",
    "numbers written as text": "Convert it: frame[{column!r}].astype(float)",
    "numbers with commas": "Write them with a point, and without separators of thousands",
    "dates or times": "Convert it to a number first, such as the days since a date",
    "cells that are neither numbers nor text": "Convert it to numbers",
}
_OR = ", or leave the column out by columns=[…]."


def check_numbers(name: str, frame: "pd.DataFrame") -> None:
    """Checks that columns hold numbers and missing values only.

    Args:
        name: Of the table, for the message.
        frame: The columns that have to be numbers.

    Raises:
        ValueError: Some do not. The message groups them by what they hold.
    """
    found: dict[str, dict[str, str]] = {}
    for column in frame.columns:
        holds, count, example = _instead_of_numbers(frame[column])
        if holds:
            example = reprlib.repr(example.item() if isinstance(example, np.generic) else example)
            detail = f"{column!r} ({count} of {len(frame)} cells, such as {example})"
            found.setdefault(holds, {})[column] = detail
    if found:
        parts = (
            f"{_columns(columns)} {holds}: {some(columns.values())}. "
            f"{_ADVICE[holds].format(column=next(iter(columns)))}{_OR}"
            for holds, columns in found.items()
        )
        raise ValueError(f"{name}: {' Also, '.join(parts)}")


def check_labels(name: str, frame: "pd.DataFrame") -> None:
    """Checks that the columns of categories hold text, numbers, booleans and missing values only.

    Raises:
        ValueError: Some do not.
    """
    for column in frame.columns:
        for cell in frame[column].dropna():
            if not isinstance(cell, (str, numbers.Real, np.bool_)):
                raise ValueError(
                    f"{name}: the levels of a category must be text, numbers or booleans, but "
                    f"{column!r} holds {type(cell).__name__}, such as {reprlib.repr(cell)}."
                )


def missing(frame: "pd.DataFrame") -> str:
    """How many cells of which columns are missing, in words; empty if none is."""
    counts = {column: int(frame[column].isna().sum()) for column in frame.columns}
    return some(f"{c!r} ({count} of {len(frame)})" for c, count in counts.items() if count)


def without_gaps(name: str, frame: "pd.DataFrame", drop: bool) -> "pd.DataFrame":
    """Return a table without the rows that have missing values.

    Raises:
        ValueError: There are such rows, and they are not to be dropped, or no other row is left.
    """
    gaps = missing(frame)
    if not gaps:
        return frame
    complete = frame.dropna().reset_index(drop=True)
    if not drop:
        raise ValueError(
            f"{name}: these columns have missing values: {gaps}. drop_missing=True drops the "
            f"{len(frame) - len(complete)} of {len(frame)} rows that have any; or leave columns "
            "out by columns=[…]."
        )
    if complete.empty:
        raise ValueError(
            f"{name}: each of its {len(frame)} rows has a missing value, so that none is left. "
            f"Leave columns out by columns=[…]: {gaps}."
        )
    return complete


def check_information(name: str, values: dict[str, np.ndarray]) -> None:
    """Checks that there is something to learn from every column.

    Args:
        name: Of the table, for the message.
        values: The columns by name, `(n,)`: numbers, or text in object arrays.

    Raises:
        ValueError: There is one row only, a column is constant or equals another, or a category has
            more levels than half of the rows.
    """
    rows = len(next(iter(values.values())))
    if rows < 2:
        raise ValueError(f"{name} has one row, and no density can be learned from it: add rows.")
    constant = [f"{c!r} (always {v[0]})" for c, v in values.items() if (v == v[0]).all()]
    if constant:
        raise ValueError(
            f"{name}: these columns are constant, and a density on them is infinite: "
            f"{some(constant)}. Leave them out by columns=[…]."
        )
    equal: dict[tuple | bytes, list[str]] = {}
    for column, of_column in values.items():
        is_text = of_column.dtype == object
        # Adding 0 makes -0 the same bytes as 0.
        key = tuple(of_column) if is_text else (of_column + 0.0).tobytes()
        equal.setdefault(key, []).append(column)
    groups = [" = ".join(map(repr, group)) for group in equal.values() if len(group) > 1]
    if groups:
        raise ValueError(
            f"{name}: these columns equal one another in all {rows} rows, and a density on them is "
            f"infinite: {some(groups)}. Keep one of each by columns=[…]."
        )
    levels = {c: len(set(v)) for c, v in values.items() if v.dtype == object}
    many = [f"{c!r} ({n} levels in {rows} rows)" for c, n in levels.items() if n > rows / 2]
    if many:
        raise ValueError(
            f"{name}: categories with too few rows of each level to learn from: {some(many)}. "
            "Leave them out by columns=[…], or join levels."
        )


def to_numbers(name: str, frame: "pd.DataFrame") -> dict[str, np.ndarray]:
    """Return columns of numbers without missing values as float64 arrays.

    Raises:
        ValueError: A number is not finite, larger than float32 has, or an integer that float64 does
            not hold exactly.
    """
    infinite: list[str] = []
    large: list[str] = []
    inexact: list[str] = []
    result = {}
    for column in frame.columns:
        values = result[column] = np.asarray(frame[column], np.float64)
        size = np.abs(values)
        for wrong, found in (
            (~np.isfinite(values), infinite),
            ((size > LARGEST) & np.isfinite(values), large),
            ((size > LARGEST_INTEGER) & _is_integer(frame[column]), inexact),
        ):
            if wrong.any():
                example = values[wrong.argmax()]
                found.append(f"{column!r} ({wrong.sum()} of {len(frame)}, such as {example:g})")
    if infinite:
        raise ValueError(
            f"{name}: these columns hold infinity or NaN: {some(infinite)}. They have no density: "
            "correct the cells, or empty them and let drop_missing drop their rows."
        )
    if large:
        raise ValueError(
            f"{name}: these columns hold numbers beyond float32, above {LARGEST:.2g}: "
            f"{some(large)}. If they stand for missing values, empty the cells; else change the "
            "unit."
        )
    if inexact:
        raise ValueError(
            f"{name}: these columns hold integers of 2^53 or more, which float64 does not tell "
            f"apart: {some(inexact)}. If they are identifiers, leave them out; else change the "
            "unit."
        )
    return result


def to_text(series: "pd.Series") -> np.ndarray:
    """Return the cells of a category as text, an object array; 1, 1.0 and "1" are the same."""
    import pandas as pd

    codes, levels = pd.factorize(series)
    return np.array([_text(level) for level in levels], object)[codes]


def holds_labels(series: "pd.Series") -> bool:
    """Whether a column can only be a category: text, booleans, or pandas's own categories."""
    import pandas as pd

    if isinstance(series.dtype, pd.CategoricalDtype):
        return True
    return _instead_of_numbers(series)[0] in ("text", "true and false")


def _text(cell) -> str:
    if isinstance(cell, str):
        return cell.strip()
    # A file with missing values gives its integers as floating-point numbers.
    if not isinstance(cell, (bool, np.bool_)) and cell == cell // 1:
        return str(int(cell))
    return str(cell)


def _columns(found) -> str:
    return "this column holds" if len(found) == 1 else f"these {len(found)} columns hold"


def _is_integer(series: "pd.Series") -> bool:
    import pandas as pd

    return pd.api.types.infer_dtype(series) == "integer"


def _instead_of_numbers(series: "pd.Series") -> tuple[str, int, object]:
    """What a column holds that is no number, how many such cells, and one; "" if all are."""
    import pandas as pd

    types = pd.api.types
    if isinstance(series.dtype, pd.CategoricalDtype):
        series = series.astype(series.cat.categories.dtype)
    cells = series.dropna()
    if types.is_bool_dtype(series.dtype):
        return _found("true and false", cells)
    if types.is_numeric_dtype(series.dtype) and not types.is_complex_dtype(series.dtype):
        return "", 0, None
    is_text = np.array([isinstance(cell, str) for cell in cells], bool)
    is_bool = np.array([isinstance(cell, (bool, np.bool_)) for cell in cells], bool)
    is_real = ~is_bool & np.array(
        [isinstance(cell, (numbers.Real, decimal.Decimal)) for cell in cells], bool
    )
    if is_real.all():
        return "", 0, None
    if is_bool.all():
        return _found("true and false", cells)
    if all(isinstance(cell, (*_TIMES, pd.Period)) for cell in cells):
        return _found("dates or times", cells)
    if not (is_text | is_real).all():
        return _found("cells that are neither numbers nor text", cells[~(is_text | is_real)])
    return _in_text(cells[is_text], len(cells))


def _in_text(texts: "pd.Series", cells: int) -> tuple[str, int, object]:
    """What text holds, in a column of so many cells that are not missing."""
    import pandas as pd

    # As objects: pandas's numbers from the text of Arrow count NaN as a number.
    texts = texts.astype(object).str.strip()
    number = pd.to_numeric(texts, errors="coerce").notna()
    commas = texts.str.fullmatch(_COMMAS)
    dates = texts.str.fullmatch(_DATE)
    others = texts[~number]
    if others.empty:
        return _found("numbers written as text", texts)
    if (number | commas).all():
        return _found("numbers with commas", texts[~number])
    if len(others) < cells:
        return _found("numbers and text", others)
    return _found("dates or times" if dates.all() else "text", others)


def _found(holds: str, cells: "pd.Series") -> tuple[str, int, object]:
    return holds, len(cells), cells.iloc[0] if len(cells) else None
