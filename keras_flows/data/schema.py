"""What the columns of a table are, kept with a flow, and other tables put in that order."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pydantic

from keras_flows.checks import suggestion
from keras_flows.data import cells, sources
from keras_flows.data.columns import Category, Column


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of a table as arrays, in the order of a schema.

    Attributes:
        schema: What the columns are.
        x: The events, a float64 array `(n, d)`, in the units of the table.
        context_columns: The columns of the context by name: int32 labels `(n,)` of a category,
            float64 numbers `(n,)` of any other.
    """

    schema: "Schema"
    x: np.ndarray
    context_columns: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.x)

    @property
    def context(self) -> np.ndarray | None:
        """The context as a float64 matrix `(n, context_size)`; None if there is none.

        Numbers are columns as they are; a category is as many columns as it has levels, of which
        that of the label is 1 and all others 0.
        """
        parts = []
        for column in self.schema.context:
            values = self.context_columns[column.name]
            width = len(column.levels)
            parts.append(np.eye(width)[values] if width else values[:, None])
        return np.concatenate(parts, axis=1) if parts else None

    @property
    def labels(self) -> np.ndarray | None:
        """The labels, int32 `(n,)`, if the context is one category and no more; else None."""
        context = self.schema.context
        if len(context) != 1 or not isinstance(context[0].kind, Category):
            return None
        return self.context_columns[context[0].name]


@dataclass(frozen=True, eq=False)
class Arranged(Rows):
    """Rows of another table in the order of a schema; some may be outside of its ranges.

    Attributes:
        inside: Whether all values of a row are in the ranges of their columns, `(n,)` booleans. The
            log_prob of any other row is −inf, whatever a flow makes of its numbers.
        reasons: What is wrong with the rows outside, by their index, in words.
    """

    inside: np.ndarray
    reasons: dict[int, str]


@dataclass(frozen=True)
class Schema:
    """The columns of a table: names, kinds with their parameters, levels of categories.

    The columns of the event are the components of x in this order, and likewise those of the
    context.

    Attributes:
        columns: One `Column` each, those of the event and of the context in any order.

    Raises:
        ValueError: Two columns have the same name, or none is part of the event.
    """

    __pydantic_config__ = pydantic.ConfigDict(extra="forbid", strict=True)
    columns: tuple[Column, ...]

    def __post_init__(self):
        twice = {name for name in self.names if self.names.count(name) > 1}
        if twice:
            raise ValueError(f"Several columns have the same name: {sources.some(sorted(twice))}.")
        if not self.event:
            raise ValueError("No column is part of the event: a density needs at least one.")

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all columns."""
        return tuple(column.name for column in self.columns)

    @property
    def event(self) -> tuple[Column, ...]:
        """The columns that x has."""
        return tuple(column for column in self.columns if not column.context)

    @property
    def context(self) -> tuple[Column, ...]:
        """The columns of the context."""
        return tuple(column for column in self.columns if column.context)

    @property
    def context_size(self) -> int:
        """The number of columns of the context matrix, in which categories are one-hot."""
        return sum(len(column.levels) or 1 for column in self.context)

    @property
    def integer(self) -> np.ndarray:
        """Which components of x are integers that need dequantization, `(d,)` booleans."""
        return np.array([column.kind.kind == "integer" for column in self.event])

    def to_json(self) -> str:
        """Return the schema as JSON, for `from_json`."""
        return _adapter().dump_json(self).decode("utf-8")

    @staticmethod
    def from_json(text: str) -> "Schema":
        """Return the schema that `to_json` wrote.

        Raises:
            ValueError: The text is no JSON, or not such a schema: a field is missing, unknown, of
                the wrong type or out of range.
        """
        try:
            return _adapter().validate_json(text)
        except pydantic.ValidationError as error:
            wrong = (f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise ValueError(f"This is not the JSON of a schema: {'; '.join(wrong)}.") from None

    def arrange(self, source: Any) -> Arranged:
        """Put the columns of another table in the order of this schema, by name.

        Args:
            source: As in `keras_flows.data.table`.

        Returns:
            Its `Arranged` rows. A row outside of the range of a column is among them, not an error.

        Raises:
            FileNotFoundError: There is no such file.
            ImportError: pandas or pyarrow is not installed.
            TypeError: The source is no table.
            ValueError: The source cannot be read, has no rows, or lacks a column or has one more;
                or a cell is missing, is no finite number, or is no level of its category.
        """
        values = _values(source, self.columns)
        x = np.stack([values[column.name] for column in self.event], axis=1)
        reasons = self.outside(x)
        inside = np.ones(len(x), bool)
        inside[list(reasons)] = False
        given = {column.name: values[column.name] for column in self.context}
        return Arranged(self, x, given, inside, reasons)

    def arrange_context(self, source: Any) -> np.ndarray:
        """Put a table of the columns of the context alone in the order of this schema, by name.

        Args:
            source: As in `keras_flows.data.table`.

        Returns:
            The context as a float64 matrix `(n, context_size)`; see `Rows.context`.

        Raises:
            FileNotFoundError: There is no such file.
            ImportError: pandas or pyarrow is not installed.
            TypeError: The source is no table.
            ValueError: The schema has no context, or the source does not fit it, as in `arrange`.
        """
        if not self.context:
            raise ValueError("This flow has no context: none of its columns is part of one.")
        values = _values(source, self.context)
        n = len(values[self.context[0].name])
        context = Rows(self, np.empty((n, 0)), values).context
        assert context is not None  # there is one, by the check above
        return context

    def outside(self, x: np.ndarray) -> dict[int, str]:
        """Why rows are outside of the ranges of their columns, in words, by index.

        Args:
            x: Events, an array `(n, d)` in the units of the table.
        """
        reasons: dict[int, list[str]] = {}
        for column, values in zip(self.event, x.T, strict=True):
            for row in np.flatnonzero(column.kind.outside(values)):
                reasons.setdefault(int(row), []).append(
                    f"{column.name} is {values[row]:.15g} and must be {column.kind.needed}"
                )
        return {row: "; ".join(reasons[row]) for row in sorted(reasons)}


def _values(source: Any, columns: Sequence[Column]) -> dict[str, np.ndarray]:
    """The numbers and labels of a table that has exactly these columns, by name."""
    name, frame = sources.name(source), sources.read(source)
    _check_names(name, list(frame.columns), [column.name for column in columns])
    if len(frame) == 0:
        raise ValueError(f"{name} is empty: it holds no rows.")
    frame = frame[[column.name for column in columns]]
    categories = [column for column in columns if isinstance(column.kind, Category)]
    labels = [column.name for column in categories]
    cells.check_numbers(name, frame.drop(columns=labels))
    cells.check_labels(name, frame[labels])
    gaps = cells.missing(frame)
    if gaps:
        raise ValueError(
            f"{name}: these columns have missing values: {gaps}. A row with a gap has no "
            "log_prob: fill the gaps or remove the rows."
        )
    return cells.to_numbers(name, frame.drop(columns=labels)) | _labels(name, frame, categories)


def _check_names(name: str, found: list[str], needed: list[str]) -> None:
    missing = [column for column in needed if column not in found]
    unknown = [column for column in found if column not in needed]
    if not missing and not unknown:
        return
    parts = []
    if missing:
        near = suggestion(missing[0], unknown) if unknown else ""
        parts.append(f"lacks {len(missing)} columns: {sources.some(missing)}.{near}")
    if unknown:
        parts.append(f"has {len(unknown)} unknown columns: {sources.some(unknown)}.")
    raise ValueError(
        f"{name} {' It '.join(parts)} It needs exactly these, in any order: {', '.join(needed)}."
    )


def _labels(name: str, frame, categories: list[Column]) -> dict[str, np.ndarray]:
    labels, unknown = {}, []
    for column in categories:
        known = {level: label for label, level in enumerate(column.levels)}
        text = cells.to_text(frame[column.name])
        labels[column.name] = np.array([known.get(level, -1) for level in text], np.int32)
        others = text[labels[column.name] < 0]
        if len(others):
            levels = sources.some(map(repr, dict.fromkeys(others)))
            unknown.append(
                f"{column.name!r} ({len(others)} of {len(text)} cells: {levels}; known: "
                f"{sources.some(map(repr, known))})"
            )
    if unknown:
        raise ValueError(
            f"{name}: these categories have levels that the flow has never seen: "
            f"{'; '.join(unknown)}. Remove the rows, or fit a flow to data that have them."
        )
    return labels


@functools.cache
def _adapter() -> pydantic.TypeAdapter:
    return pydantic.TypeAdapter(Schema)
