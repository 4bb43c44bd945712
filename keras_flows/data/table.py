"""Anyone's table as data: what its columns are, its rows as arrays, and a split without leaks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from keras_flows.checks import is_real
from keras_flows.data import batches, cells, sources, splits
from keras_flows.data.columns import Category, Column, Real, in_words, infer, parse, warning
from keras_flows.data.schema import Rows, Schema

if TYPE_CHECKING:
    import pandas as pd


def table(
    source: Any,
    columns: Sequence[str] | None = None,
    kinds: Mapping[str, str | Sequence] | None = None,
    context: Sequence[str] | None = None,
    drop_missing: bool = False,
) -> "Table":
    """Read a table, and say what its columns are taken for.

    A column of whole numbers is taken for integer, one of numbers above 0 that are skewed to the
    right for positive, any other one for real; `Table.describe` says what and why. Columns of text
    or booleans are categories if they are named in `context` or `kinds`.

    Args:
        source: A .csv, .tsv (either may end in .gz), .parquet, .npy or .npz file, a pandas
            DataFrame, a pyarrow Table, or an array `(rows, columns)`, whose columns are called
            "0", "1", …. Text is UTF-8, its first row holds the names.
        columns: The columns to take, of event and context, in this order; all by default.
        kinds: The kinds of columns by name, where they are not to be inferred: `"real"`,
            `"positive"`, `"integer"`, `"category"`, `("interval", low, high)` with both bounds
            excluded, `("periodic", period)`.
        context: The columns of the context, which x does not have. Numbers among them are taken as
            they are. Categories are part of the context, named here or not.
        drop_missing: Whether to drop the rows with missing values, which are an error otherwise.

    Returns:
        The `Table`.

    Raises:
        FileNotFoundError: There is no such file.
        ImportError: pandas or pyarrow is not installed.
        TypeError: The source is no table, or an argument is of the wrong type.
        ValueError: The source cannot be read; an argument names no column or no kind; a column is
            constant, equals another, or holds anything but finite numbers, or numbers outside of
            the range of its kind; or there are fewer than two rows.
    """
    name, frame = sources.name(source), sources.read(source)
    if not isinstance(drop_missing, (bool, np.bool_)):
        raise TypeError(f"drop_missing must be True or False, but it is {drop_missing!r}.")
    frame = _choose(name, frame, columns)
    given = _given_kinds(name, list(frame.columns), kinds)
    in_context = _names("context", name, list(frame.columns), context)
    labels = [
        column
        for column in frame.columns
        if given.get(column) == "category"
        or (column in in_context and column not in given and cells.holds_labels(frame[column]))
    ]
    if len(frame) == 0:
        raise ValueError(f"{name} is empty: it holds no rows.")
    cells.check_numbers(name, frame.drop(columns=labels))
    cells.check_labels(name, frame[labels])
    rows = len(frame)
    frame = cells.without_gaps(name, frame, drop_missing)
    values = cells.to_numbers(name, frame.drop(columns=labels))
    values |= {column: cells.to_text(frame[column]) for column in labels}
    values = {column: values[column] for column in frame.columns}
    cells.check_information(name, values)
    described = {
        column: _column(column, values[column], given.get(column), column in in_context)
        for column in values
    }
    schema = Schema(tuple(column for column, _, _ in described.values()))
    _check_ranges(name, schema, values)
    numbers = {
        c.name: _codes(values[c.name], c.kind) if isinstance(c.kind, Category) else values[c.name]
        for c in schema.columns
    }
    return Table(
        schema=schema,
        x=np.stack([numbers[column.name] for column in schema.event], axis=1),
        context_columns={column.name: numbers[column.name] for column in schema.context},
        name=name,
        dropped=rows - len(frame),
        why={column: (why, warning) for column, (_, why, warning) in described.items()},
    )


@dataclass(frozen=True, eq=False)
class Table(Rows):
    """A table in memory.

    Attributes:
        name: Where it came from, for people.
        dropped: How many rows were dropped because of missing values.
        why: Why each column is taken for what it is, and what to look at in it, by name.
    """

    name: str
    dropped: int
    why: dict[str, tuple[str, str]]

    def describe(self) -> list[dict[str, str]]:
        """Return what every column is taken for, as the rows of a table to print.

        Returns:
            For each column its `"column"` (the name), `"part"` (event or context), `"kind"` with
            its parameters, `"why"`, and a `"warning"`, which is often empty.
        """
        return [
            {
                "column": column.name,
                "part": "context" if column.context else "event",
                "kind": in_words(column.kind),
                "why": self.why[column.name][0],
                "warning": self.why[column.name][1],
            }
            for column in self.schema.columns
        ]

    def split(self, holdout: float = 0.2, seed: batches.Seed = 0) -> "Split":
        """Split the rows at random in three, equal rows always together.

        A row that is in two parts would make a flow that learned it by heart look good. Of every
        level of a category at least one row is for training.

        Args:
            holdout: The part of the rows to hold out, in (0, 1): half of it for validation, half
                for the test.
            seed: A nonnegative integer, or a tuple of them.

        Returns:
            The `Split`.

        Raises:
            TypeError: An argument is of the wrong type.
            ValueError: An argument is out of range, a part would be empty, or a column would be
                constant in training.
        """
        if not is_real(holdout):
            raise TypeError(f"holdout must be a number in (0, 1), but it is {holdout!r}.")
        if not 0 < holdout < 1:
            raise ValueError(f"holdout must be in (0, 1), a part of the rows, but it is {holdout}.")
        generator = batches.generator(*batches.key(seed))
        groups, sizes = splits.equal_rows([self.x, *self.context_columns.values()])
        labels = [
            self.context_columns[column.name]
            for column in self.schema.context
            if isinstance(column.kind, Category)
        ]
        each = round(len(self) * holdout / 2)
        taken = splits.assign(groups, sizes, labels, each, generator)
        if not all(map(len, taken)):
            counts = " + ".join(str(len(rows)) for rows in taken)
            raise ValueError(
                f"{self.name} has {len(self)} rows, {len(sizes)} of them different: too few to "
                f"hold out {holdout:g} of them; training, validation and test would have {counts}."
            )
        train, validation, test = map(self._take, taken)
        constant = [
            repr(column.name)
            for column, values in zip(self.schema.event, train.x.T, strict=True)
            if values.min() == values.max()
        ]
        if constant:
            raise ValueError(
                f"{self.name}: only held-out rows have another value in these columns, which are "
                f"constant in training: {sources.some(constant)}. Leave them out by columns=[…], "
                "hold out less, or take another seed."
            )
        return Split(train, validation, test, len(self) - len(sizes))

    def _take(self, rows: np.ndarray) -> "Table":
        context = {name: values[rows] for name, values in self.context_columns.items()}
        return Table(self.schema, self.x[rows], context, self.name, self.dropped, self.why)


class Split(NamedTuple):
    """The parts of a table.

    Attributes:
        train: To train on.
        validation: To choose by, such as when to stop.
        test: To judge by, and used for nothing else.
        repeated: How many rows of the whole table equal one before.
    """

    train: Table
    validation: Table
    test: Table
    repeated: int


# ------------------------------------------------------------------- arguments


def _names(argument: str, name: str, known: list[str], given) -> list[str]:
    """Names of columns that someone gives in a list, none by default."""
    if given is None:
        return []
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise TypeError(f"{argument} must be a list of names of columns, but it is {given!r}.")
    given = [str(column) for column in given]
    sources.check_known(argument, name, known, given)
    twice = [column for column in dict.fromkeys(given) if given.count(column) > 1]
    if twice:
        raise ValueError(f"{argument} has names several times: {sources.some(twice)}.")
    return given


def _choose(name: str, frame: "pd.DataFrame", chosen) -> "pd.DataFrame":
    found = list(frame.columns)
    if chosen is not None:
        found = _names("columns", name, found, chosen)
    if not found:
        raise ValueError(f"{name} has no columns, or columns names none: a density needs one.")
    if "" in found:
        raise ValueError(
            f"{name}: column {found.index('')} of {len(found)} has no name. If it is an index that "
            "pandas wrote, write with to_csv(index=False) or choose the others by columns=[…]; "
            "else name it."
        )
    return frame[found]


def _given_kinds(name: str, known: list[str], kinds) -> dict[str, Any]:
    if kinds is None:
        return {}
    if not isinstance(kinds, Mapping):
        raise TypeError(f"kinds must be a dictionary by name of column, but it is {kinds!r}.")
    kinds = {str(column): kind for column, kind in kinds.items()}
    sources.check_known("kinds", name, known, list(kinds))
    return {column: parse(column, kind) for column, kind in kinds.items()}


# --------------------------------------------------------------------- columns


def _column(name: str, values: np.ndarray, given, in_context: bool) -> tuple[Column, str, str]:
    """What a column is taken for, why, and what to look at."""
    if values.dtype == object:
        levels = tuple(sorted(set(values), key=_by_number))
        why = f"{'given' if given else 'text, of the context'}; {len(levels)} levels"
        return Column(name, Category(levels), context=True), why, ""
    if given is not None:
        return Column(name, given, in_context), "given", warning(values, given)
    kind, why = (Real(), "number of the context") if in_context else infer(values)
    return Column(name, kind, in_context), why, warning(values, kind)


def _by_number(level: str) -> tuple[int, float, str]:
    """Levels that are numbers come first and in their order, the others alphabetically."""
    try:
        return 0, float(level), level
    except ValueError:
        return 1, 0.0, level


def _check_ranges(name: str, schema: Schema, values: dict[str, np.ndarray]) -> None:
    outside = []
    for column in schema.event:
        of_column = values[column.name]
        wrong = column.kind.outside(of_column)
        if wrong.any():
            outside.append(
                f"{column.name!r} is given as {in_words(column.kind)}, but {wrong.sum()} of "
                f"{len(wrong)} values, such as {of_column[wrong.argmax()]:.15g}, are not "
                f"{column.kind.needed}"
            )
    if outside:
        raise ValueError(
            f"{name}: {'; '.join(outside)}. Nothing is clipped: give another kind or other bounds, "
            "or remove the rows."
        )


def _codes(values: np.ndarray, kind: Category) -> np.ndarray:
    labels = {level: label for label, level in enumerate(kind.levels)}
    return np.array([labels[level] for level in values], np.int32)
