"""Tables of numbers in files: what the command line reads and writes.

Examples are rows. In .npy and .npz files they keep their shape; in .csv and .parquet files each is
one row of numbers, an event of higher rank flattened with its last axis fastest.
"""

import contextlib
import csv
import sys
import warnings
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TextIO

import numpy as np

SUFFIXES = (".npy", ".npz", ".csv", ".parquet")


def read(
    path: str | Path, event_shape: tuple[int, ...], columns: Sequence[str] | None = None
) -> np.ndarray:
    """Read examples from a file.

    A .npz file must hold one array, or one called "x". A .csv file has commas between its cells; if
    its first row is all numbers it has no header, and its columns are called "0", "1", …. Pickled
    objects are never loaded.

    Args:
        path: A .npy, .npz, .csv or .parquet file.
        event_shape: The shape of one example.
        columns: The columns to read from a .csv or .parquet file, in this order; all by default.

    Returns:
        float32 array of shape `(n, *event_shape)`, n at least 1, all of it finite.

    Raises:
        FileNotFoundError: There is no such file.
        ImportError: A .csv or .parquet file, and pandas or pyarrow is not installed.
        ValueError: The suffix is unknown, or the file is damaged, empty, of another shape, or holds
            anything but finite float32 numbers.
    """
    path = Path(path)
    suffix = _suffix(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    if suffix in (".npy", ".npz"):
        if columns is not None:
            raise ValueError(f"{path}: columns can be chosen in .csv and .parquet files only.")
        values = _read_numpy(path)
        if values.dtype.kind not in "iuf":
            raise ValueError(f"{path} must hold real numbers, but its dtype is {values.dtype}.")
        if values.shape[1:] != tuple(event_shape) or values.ndim == 0:
            raise ValueError(
                f"{path} must hold an array of shape {_rows_of(event_shape)}, "
                f"but its shape is {values.shape}."
            )
    else:
        values = _read_columns(path, suffix, event_shape, columns)
    if len(values) == 0:
        raise ValueError(f"{path} is empty: it holds no rows.")
    return _finite_float32(path, values)


def write(path: str | Path | None, arrays: Mapping[str, np.ndarray]) -> None:
    """Write named arrays to a file, or as CSV to standard output.

    In .csv and .parquet files and on standard output an array of shape `(n,)` is a column with its
    own name, and one of shape `(n, k)` the columns name_0 … name_{k−1}. Floating-point numbers are
    written with as many digits as it takes to read the same number again.

    Args:
        path: A .npy (one array), .npz, .csv or .parquet file; None or "-" for standard output.
        arrays: Arrays of real numbers or booleans by name.

    Raises:
        FileNotFoundError: The folder of `path` does not exist.
        ImportError: A .parquet file, and pandas or pyarrow is not installed.
        ValueError: There is no array, the suffix is unknown, or an array does not fit into such a
            file.
    """
    arrays = {name: np.asarray(array) for name, array in arrays.items()}
    if not arrays:
        raise ValueError("There is nothing to write: arrays is empty.")
    for name, array in arrays.items():
        if array.dtype.kind not in "biuf":
            raise ValueError(f"{name} must hold real numbers, but its dtype is {array.dtype}.")
    if path is None or str(path) == "-":
        _write_csv(sys.stdout, _as_columns(arrays))
        return
    path = Path(path)
    suffix = _suffix(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {path.parent} to write {path.name} into.")
    if suffix == ".npy":
        if len(arrays) > 1:
            raise ValueError(
                f"{path}: a .npy file holds one array, but there are {len(arrays)} to write "
                f"({', '.join(arrays)}). Use .npz."
            )
        np.save(path, next(iter(arrays.values())), allow_pickle=False)
    elif suffix == ".npz":
        np.savez(path, **arrays)
    elif suffix == ".csv":
        columns = _as_columns(arrays)
        with open(path, "w", newline="", encoding="utf-8") as file:
            _write_csv(file, columns)
    else:
        columns = _as_columns(arrays)
        with _needs_data_extra(path):
            import pandas as pd

            pd.DataFrame(columns).to_parquet(path, index=False)


# --------------------------------------------------------------------- reading


def _suffix(path: Path) -> str:
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{path}: a table's name must end in one of {', '.join(SUFFIXES)}.")
    return path.suffix


@contextlib.contextmanager
def _needs_data_extra(path: Path):
    try:
        yield
    except ImportError as error:
        raise ImportError(
            f"{path}: {path.suffix} files need pandas and pyarrow, and one is missing ({error}). "
            "Install them with: pip install 'keras-flows[data]'"
        ) from error


def _rows_of(event_shape: tuple[int, ...]) -> str:
    return f"({', '.join(['n', *map(str, event_shape)])})"


def _read_numpy(path: Path) -> np.ndarray:
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded:
            names = loaded.files
            wanted = names[0] if len(names) == 1 else "x"
            if wanted in names:
                return np.asarray(loaded[wanted])
    except (ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(
            f"{path} cannot be read as a NumPy file of plain numbers (pickled objects are never "
            f"loaded): {error}"
        ) from error
    raise ValueError(
        f'{path} must hold one array, or one called "x", but it holds {len(names)}: '
        f"{', '.join(names)}."
    )


def _read_columns(
    path: Path, suffix: str, event_shape: tuple[int, ...], columns: Sequence[str] | None
) -> np.ndarray:
    with _needs_data_extra(path):
        frame = _read_csv(path) if suffix == ".csv" else _read_parquet(path)
    frame.columns = frame.columns.map(str)
    if columns is not None:
        missing = [name for name in columns if name not in frame.columns]
        if missing:
            raise ValueError(
                f"{path} has no column {', '.join(missing)}. It has: {', '.join(frame.columns)}."
            )
        frame = frame[list(columns)]
    width = int(np.prod(event_shape))
    if frame.shape[1] != width:
        raise ValueError(
            f"{path} must have {width} columns for examples of shape {tuple(event_shape)}, but it "
            f"has {frame.shape[1]}: {_some(frame.columns)}. Choose among them with columns."
        )
    text = [
        name
        for name, dtype in zip(frame.columns, frame.dtypes, strict=True)
        if getattr(dtype, "kind", "O") not in "iuf"
    ]
    if text and len(frame):
        raise ValueError(f"{path} must hold numbers, but these columns do not: {_some(text)}.")
    return frame.to_numpy(np.float64, na_value=np.nan).reshape(-1, *event_shape)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (", …" if len(names) > 8 else "")


def _read_csv(path: Path):
    import pandas as pd

    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            first = next((row for row in csv.reader(file) if row), None)
        if first is None:
            raise ValueError(f"{path} is empty: it holds no rows.")
        numbers = [_is_number(cell) for cell in first]
        if any(numbers) and not all(numbers):
            raise ValueError(
                f"{path}: its first row must be all names or all numbers, but it is a mixture: "
                f"{_some(first)}."
            )
        with warnings.catch_warnings():
            # A row longer than the header would otherwise be cut with no more than a warning.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            return pd.read_csv(
                path,
                header=None if all(numbers) else 0,
                index_col=False,
                encoding="utf-8-sig",
            )
    except (pd.errors.ParserError, pd.errors.ParserWarning, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is not a well-formed CSV file: {error}") from error


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _read_parquet(path: Path):
    import pandas as pd
    import pyarrow as pa

    try:
        return pd.read_parquet(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"{path} cannot be read as a Parquet file: {error}") from error


def _finite_float32(path: Path, values: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        result = values.astype(np.float32)
    bad = np.flatnonzero(~np.isfinite(result).reshape(len(result), -1).all(axis=1))
    if bad.size:
        raise ValueError(
            f"{path} must hold finite float32 numbers, but {bad.size} of its {len(result)} rows "
            f"hold a missing value, NaN, infinity or a number too large; the first is row {bad[0]} "
            "(counted from 0, without the header)."
        )
    return result


# --------------------------------------------------------------------- writing


def _as_columns(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    columns = {}
    for name, array in arrays.items():
        if array.ndim == 1:
            columns[name] = array
        elif array.ndim == 2:
            columns.update({f"{name}_{i}": array[:, i] for i in range(array.shape[1])})
        else:
            raise ValueError(
                f"{name} has shape {array.shape}, but .csv and .parquet files take arrays of one "
                "or two axes. Use .npy or .npz."
            )
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"The arrays of one table must have equally many rows, but: {lengths}.")
    return columns


def _write_csv(file: TextIO, columns: Mapping[str, np.ndarray]) -> None:
    row = ",".join(_format(column.dtype) for column in columns.values()) + "\n"
    file.write(",".join(columns) + "\n")
    file.writelines(
        row % cells for cells in zip(*(c.tolist() for c in columns.values()), strict=True)
    )


def _format(dtype: np.dtype) -> str:
    if dtype.kind != "f":
        return "%d"
    return "%.9g" if dtype.itemsize <= 4 else "%.17g"
