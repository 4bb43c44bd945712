"""Where tables come from: files, arrays, pandas and pyarrow tables, read as they are."""

import csv
import gzip
import sys
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_flows.checks import suggestion
from keras_flows.data import delimited
from keras_flows.data.tables import read_numpy

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = (*delimited.SUFFIXES, ".parquet", ".npy", ".npz")


def some(names) -> str:
    """The first of many names, for a message."""
    names = [str(name) for name in names]
    return ", ".join(names[:8]) + (f", … ({len(names)} in all)" if len(names) > 8 else "")


def name(source: Any) -> str:
    """What to call a source in a message."""
    if isinstance(source, (str, Path)):
        return str(source)
    return {"DataFrame": "The frame", "Table": "The table"}.get(type(source).__name__, "The array")


def check_known(argument: str, name: str, known: Sequence[str], given: Sequence[str]) -> None:
    """Checks that names of columns that someone gives are those of a table.

    Args:
        argument: What they are given as, for the message.
        name: Of the table, for the message.
        known: The names of its columns.
        given: The names.

    Raises:
        ValueError: Some are not; the message has the nearest one.
    """
    unknown = [column for column in given if column not in known]
    if unknown:
        raise ValueError(
            f"{argument}: {name} has no column {some(map(repr, unknown))}."
            f"{suggestion(unknown[0], known)} The columns are: {some(known)}."
        )


def read(source: Any) -> "pd.DataFrame":
    """Read a table.

    A .csv file has commas, semicolons or tabs between its cells, a .tsv file tabs; both are UTF-8
    and begin with the names of the columns. A .npz file must hold one array, or one called "x".
    Pickled objects are never loaded. Columns of arrays are called "0", "1", ….

    Args:
        source: A file that ends in one of `SUFFIXES`, a pandas DataFrame, a pyarrow Table, or an
            array `(rows, columns)`.

    Returns:
        A `pandas.DataFrame` whose names are text, without spaces around them and all different.

    Raises:
        FileNotFoundError: There is no such file.
        ImportError: pandas is not installed, or pyarrow and the file is a .parquet.
        TypeError: The source is none of these.
        ValueError: The file cannot be read as such a table, or two columns have the same name.
    """
    try:
        import pandas as pd

        frame = _frame(source, pd)
    except ImportError as error:
        raise ImportError(
            f"{name(source)}: tables need pandas and pyarrow, and one is missing ({error}). "
            "Install them with: pip install 'keras-flows[data]'"
        ) from error
    if frame.columns.nlevels > 1:
        raise ValueError(
            f"{name(source)} has names of {frame.columns.nlevels} levels; give its columns plain "
            "names."
        )
    names = checked_names(name(source), frame.columns)
    return frame.set_axis(names, axis=1).reset_index(drop=True)


def checked_names(name: str, columns: Iterable[Any]) -> list[str]:
    """The names of columns as text, without spaces around them.

    Args:
        name: Of the table, for the message.
        columns: Their names.

    Raises:
        ValueError: If two are the same.
    """
    names = [str(column).strip() for column in columns]
    twice = [f"{n} ({names.count(n)} times)" for n in dict.fromkeys(names) if names.count(n) > 1]
    if twice:
        raise ValueError(
            f"{name}: several columns have the same name: {some(twice)}. Rename them, or "
            "remove all but one."
        )
    return names


def _frame(source: Any, pd) -> "pd.DataFrame":
    pyarrow = sys.modules.get("pyarrow")
    if isinstance(source, pd.DataFrame):
        return source
    if pyarrow is not None and isinstance(source, pyarrow.Table):
        # Columns of one name are lost in pandas, if they are not told apart before.
        return (
            source.rename_columns(list(map(str, range(source.num_columns))))
            .to_pandas(ignore_metadata=True)
            .set_axis(source.column_names, axis=1)
        )
    if isinstance(source, (str, Path)):
        return _read_file(Path(source), pd)
    if isinstance(source, (list, tuple)) or hasattr(source, "__array__"):
        if isinstance(source, pd.Series):
            raise ValueError("The source is one pandas Series; give a frame: series.to_frame().")
        try:
            return _from_array(name(source), np.asarray(source), pd)
        except ValueError as error:
            if "inhomogeneous" not in str(error):
                raise
            raise ValueError("The rows of the array differ in length.") from None
    raise TypeError(
        "A table is read from a file, a pandas DataFrame, a pyarrow Table or an array; got "
        f"{type(source).__name__}."
    )


def _from_array(name: str, values: np.ndarray, pd) -> "pd.DataFrame":
    if values.dtype.kind not in "iufb":
        raise ValueError(
            f"{name} must hold real numbers, but its dtype is {values.dtype}. Give a pandas "
            "DataFrame if its columns are of different types."
        )
    if values.ndim != 2:
        hint = " One column alone is x[:, None]." if values.ndim == 1 else ""
        raise ValueError(
            f"{name} must have shape (rows, columns), but its shape is {values.shape}.{hint}"
        )
    return pd.DataFrame(values)


def _read_file(path: Path, pd) -> "pd.DataFrame":
    if path.is_dir():
        raise ValueError(f"{path} is a folder; name a file in it.")
    if not path.name.endswith(SUFFIXES):
        raise ValueError(f"{path}: the name of a table must end in one of {', '.join(SUFFIXES)}.")
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    if path.stat().st_size == 0:
        raise ValueError(f"{path} is empty.")
    if path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet

        try:
            return _frame(pyarrow.parquet.read_table(path), pd)
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"{path} cannot be read as a Parquet file: {error}") from error
    if path.suffix in (".npy", ".npz"):
        return _from_array(str(path), read_numpy(path), pd)
    return _read_text(path, pd)


# ------------------------------------------------------------------------ text


def _read_text(path: Path, pd) -> "pd.DataFrame":
    opened = delimited.opener(path)
    try:
        with opened() as file:
            first = next((line for line in file if line.strip()), "")
        if not first:
            raise ValueError(f"{path} is empty.")
        separator = delimited.separator_of(str(path), first)
        with opened() as file:
            names = _check_rows(path, csv.reader(file, delimiter=separator, strict=True), separator)
        with opened() as file:
            frame = pd.read_csv(file, sep=separator, index_col=False, low_memory=False)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not UTF-8, or mixes encodings: {error}. Save it as UTF-8."
        ) from error
    except (
        *(pd.errors.ParserError, csv.Error),
        *(gzip.BadGzipFile, EOFError, zlib.error),
    ) as error:
        raise ValueError(f"{path} is not a well-formed table of text: {error}") from error
    return frame.set_axis(names, axis=1)


def _check_rows(path: Path, rows, separator: str) -> list[str]:
    """Checks that a table of text has names and rows of one length; returns the names."""
    header: list[str] = next((row for row in rows if row), [])
    names = [cell.strip() for cell in header]
    if any(delimited.is_number(cell) for cell in names):
        raise ValueError(
            f"{path}: its first row must hold the names of the columns, but has numbers: "
            f"{some(names)}. If they are names, give pandas.read_csv(path) instead of the file; if "
            "they are the first example, pandas.read_csv(path, header=None)."
        )
    uneven, first = 0, ""
    for row in rows:
        if any("\0" in cell for cell in row):
            raise ValueError(f"{path}: line {rows.line_num} holds a NUL byte: it is not text.")
        if row and len(row) != len(header):
            uneven += 1
            first = first or f"line {rows.line_num} has {len(row)}"
    if uneven:
        raise ValueError(
            f"{path}: its header has {len(header)} cells, but {uneven} rows have more or fewer: "
            f"the first, {first}. Are the cells separated by {separator!r}, and those that hold "
            "one quoted?"
        )
    if len(header) == 1 and any(mark in header[0].strip() for mark in "|;\t:,"):
        raise ValueError(
            f"{path} has one column, {header[0]!r}, whose name looks like several. The separator "
            f"between cells must be {'a tab' if separator == chr(9) else 'a comma, ; or a tab'}."
        )
    return names
