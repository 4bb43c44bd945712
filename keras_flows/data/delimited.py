"""Tables as text: comma-, semicolon- and tab-separated, plain or compressed.

Nothing is guessed that could be wrong without a sign: a first row of numbers may be names of
columns ("2020,2021") or the first example, so it is an error until someone says which.
"""

import contextlib
import csv
import gzip
import io
import sys
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz")


def some(names) -> str:
    """The first of many names, for a message."""
    return ", ".join(names[:8]) + (", …" if len(names) > 8 else "")


def read(path: str | Path, header: bool | None = None) -> "pd.DataFrame":
    """Read a table of text.

    Args:
        path: A file with one of `SUFFIXES`, or "-" for standard input. A .tsv file has tabs between
            its cells; any other table commas, semicolons or tabs, as its first row shows.
        header: Whether the first row holds the names of the columns. None is for tables where that
            is plain: all its cells are names.

    Returns:
        A `pandas.DataFrame`; without a header the columns are called "0", "1", ….

    Raises:
        ImportError: pandas is not installed.
        ValueError: The table is empty or not well-formed, or it is not plain whether its first row
            is a header or which character separates its cells.
    """
    return next(frames(layout(path, header)))


class Layout(NamedTuple):
    """How a table of text is written.

    Attributes:
        name: What it is called in messages.
        again: A function that opens it, from its beginning.
        separator: What separates its cells.
        header: Whether its first row holds the names of the columns.
        names: The names of the columns.
    """

    name: str
    again: Callable[[], contextlib.AbstractContextManager[TextIO]]
    separator: str
    header: bool
    names: list[str]


def layout(path: str | Path, header: bool | None = None) -> Layout:
    """How a table of text is written; arguments and errors are those of `read`."""
    name = "standard input" if str(path) == "-" else str(path)
    with _well_formed(name):
        again = opener(path)
        with again() as file:
            line = next((line for line in file if line.strip()), None)
        if line is None:
            raise ValueError(f"{name} is empty: it holds no rows.")
        separator = separator_of(name, line)
        with again() as file:
            first = next(row for row in csv.reader(file, delimiter=separator) if any(row))
        cells = [cell.strip() for cell in first]
        named = _has_header(name, cells, header)
    names = cells if named else [str(i) for i in range(len(cells))]
    return Layout(name, again, separator, named, names)


def frames(
    table: Layout, rows: int | None = None, columns: Sequence[str] | None = None, **options: Any
) -> Iterator["pd.DataFrame"]:
    """The rows of a table of text, a number of them at a time.

    Args:
        table: See `layout`.
        rows: How many at a time, the last ones excepted; None for all at once.
        columns: The columns to read, in this order; all by default.
        **options: More arguments of `pandas.read_csv`.

    Yields:
        A `pandas.DataFrame` each; one without rows where the table has none.

    Raises:
        ImportError: pandas is not installed.
        ValueError: The table is not well-formed.
    """
    import pandas as pd

    reading: dict[str, Any] = {
        "sep": table.separator,
        "header": 0 if table.header else None,
        "index_col": False,
        **options,
    }
    with table.again() as file:
        parts = _parts(file, rows, reading)
        while True:
            with _well_formed(table.name), warnings.catch_warnings():
                # A row longer than the header would otherwise be cut with no more than a warning.
                warnings.simplefilter("error", pd.errors.ParserWarning)
                frame = next(parts, None)
            if frame is None:
                return
            if frame.shape[1] != len(table.names):
                raise ValueError(
                    f"{table.name} is not a well-formed table of text: its first row has "
                    f"{len(table.names)} cells, others {frame.shape[1]}."
                )
            frame.columns = table.names
            yield frame if columns is None else frame[list(columns)]


def _parts(file, rows, reading):
    """The frames of an open file."""
    import pandas as pd

    if rows is None:
        yield pd.read_csv(file, **reading)
        return
    # Not by parts of a column: its type would then depend on where these end.
    yield from pd.read_csv(file, **reading, chunksize=rows, low_memory=False)


@contextlib.contextmanager
def _well_formed(name):
    """Turns what is raised for tables that are not into one error."""
    import pandas as pd

    try:
        yield
    except (
        *(pd.errors.ParserError, pd.errors.ParserWarning, csv.Error),
        *(UnicodeDecodeError, gzip.BadGzipFile, EOFError, zlib.error),
    ) as error:
        raise ValueError(f"{name} is not a well-formed table of text: {error}") from error


def write(path: Path, columns: Mapping[str, np.ndarray]) -> None:
    """Write columns, as commas or, in a .tsv file, tabs between the cells."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wt", newline="", encoding="utf-8") as file:
        print_to(file, columns, "\t" if _is_tsv(path.name) else ",")


def print_to(file: TextIO, columns: Mapping[str, np.ndarray], separator: str = ",") -> None:
    """Write columns to an open file: numbers by the shortest decimals that read as the same."""
    file.write(separator.join(columns) + "\n")
    cells = zip(*map(_as_text, columns.values()), strict=True)
    file.writelines(separator.join(row) + "\n" for row in cells)


def _as_text(column: np.ndarray) -> Iterator[str]:
    """The numbers of a column as text, floating-point ones the shortest of their own precision."""
    if column.dtype.kind != "f":
        return map(str, column.astype("u8" if column.dtype.kind == "u" else "i8").tolist())
    # NumPy's text of a number is the shortest; of a float64, Python's is the same and quicker.
    numbers = column.tolist() if column.dtype == np.float64 else column
    return (str(number).removesuffix(".0") for number in numbers)


def opener(path: str | Path) -> Callable[[], contextlib.AbstractContextManager[TextIO]]:
    """A function that opens the table, from its beginning, as often as it is called."""
    text: Any = {"newline": "", "encoding": "utf-8-sig"}
    if str(path) == "-":
        content = sys.stdin.buffer.read()  # it can be read once only
        return lambda: io.TextIOWrapper(io.BytesIO(content), **text)
    if str(path).endswith(".gz"):
        return lambda: gzip.open(path, "rt", **text)
    return lambda: open(path, **text)


def _is_tsv(name: str) -> bool:
    return name.removesuffix(".gz").endswith(".tsv")


def separator_of(name: str, first: str) -> str:
    """What separates the cells of a table, by its name and its first row.

    Raises:
        ValueError: If the row has commas and semicolons.
    """
    if _is_tsv(name):
        return "\t"
    found = [mark for mark in (",", ";", "\t") if mark in first]
    if ";" in found and "," in found:
        raise ValueError(
            f"{name}: its first row has commas and semicolons, {first.strip()[:60]!r}, and either "
            "may separate the cells. Use one of them, and a point in decimals."
        )
    return found[-1] if found else ","


def _has_header(name: str, cells: list[str], given: bool | None) -> bool:
    numbers = [is_number(cell) for cell in cells]
    if given is None and all(numbers):
        raise ValueError(
            f"{name}: its first row is all numbers ({some(cells)}), which may be names of columns "
            "or the first example. Say which: header (--header), or no header (--no-header)."
        )
    if given is None and any(numbers):
        raise ValueError(
            f"{name}: its first row must be all names or all numbers, but it is a mixture: "
            f"{some(cells)}. If they are names, say header (--header)."
        )
    if given is False and not all(numbers):
        raise ValueError(f"{name}: without a header its first row must be numbers: {some(cells)}.")
    if given is not False and len(set(cells)) < len(cells):
        raise ValueError(f"{name}: two columns of its header have the same name: {some(cells)}.")
    return given is not False


def is_number(cell: str) -> bool:
    """Whether a cell of text is a number."""
    try:
        float(cell)
    except ValueError:
        return False
    return True
