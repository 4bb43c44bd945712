"""Tables of numbers in files: what the command line reads and writes.

Examples are rows. In .npy and .npz files they keep their shape; in text and .parquet files each is
one row of numbers, an event of higher rank flattened with its last axis fastest.
"""

import contextlib
import importlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from keras_flows.data import delimited
from keras_flows.data.examples import check_array, finite_float32, numbers
from keras_flows.files import UNREADABLE, check_place, check_room, complete_file

SUFFIXES = (".npy", ".npz", *delimited.SUFFIXES, ".parquet")


def is_table(path: str | Path) -> bool:
    """Whether a path is that of a table: it ends in one of `SUFFIXES`, or is "-"."""
    return str(path) == "-" or str(path).endswith(SUFFIXES)


def read(
    path: str | Path,
    event_shape: tuple[int, ...],
    columns: Sequence[str] | None = None,
    header: bool | None = None,
) -> np.ndarray:
    """Read examples from a file.

    A .npz file must hold one array, or one called "x". A .csv file has commas, semicolons or tabs
    between its cells, a .tsv file tabs. Pickled objects are never loaded.

    Args:
        path: A file that ends in one of `SUFFIXES`; "-" for text on standard input.
        event_shape: The shape of one example.
        columns: The columns to read from a text or .parquet file, in this order; all by default.
        header: Whether the first row of a text file holds names. If None, that must be plain: a
            first row of numbers is an error. Without a header the columns are called "0", "1", ….

    Returns:
        float32 array of shape `(n, *event_shape)`, n at least 1, all of it finite.

    Raises:
        FileNotFoundError: There is no such file.
        ImportError: A text or .parquet file, and pandas or pyarrow is not installed.
        ValueError: The suffix is unknown, or the file is damaged, empty, of another shape, or holds
            anything but finite float32 numbers.
    """
    suffix = _suffix(path)
    if str(path) != "-" and not Path(path).is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    if header is not None and suffix not in delimited.SUFFIXES:
        raise ValueError(
            f"{path}: only text tables ({', '.join(delimited.SUFFIXES)}) have headers."
        )
    if suffix in (".npy", ".npz"):
        if columns is not None:
            raise ValueError(f"{path}: columns can be chosen in text and .parquet files only.")
        values = read_numpy(path)
        check_array(path, values, event_shape)
    else:
        with _needs_data_extra(path):
            frame = _read_parquet(path) if suffix == ".parquet" else delimited.read(path, header)
        name = "standard input" if str(path) == "-" else path
        frame.columns = frame.columns.map(str)
        values = numbers(name, frame, event_shape, columns)
    if len(values) == 0:
        raise ValueError(f"{path} is empty: it holds no rows.")
    return finite_float32(path, values)


def check_output(path: str | Path | None, axes: int) -> None:
    """Check, before the work, that its result can be written.

    Args:
        path: As in `write`.
        axes: The number of axes of the array that will be written.

    Raises:
        FileNotFoundError: The folder of `path` does not exist.
        ImportError: A .parquet file, and pandas or pyarrow is not installed.
        PermissionError: The folder cannot be written to.
        ValueError: The suffix is unknown, such a file cannot hold the array, or `path` is a folder.
    """
    suffix = _suffix("-" if path is None else path)
    if axes > 2 and suffix not in (".npy", ".npz"):
        where = "standard output is CSV" if path in (None, "-") else f"{path} is a table"
        raise ValueError(
            f"The result has {axes} axes, but {where} of rows and columns. Name a .npy or .npz "
            "file for it."
        )
    if path is None or str(path) == "-":
        return
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder; name a file to write.")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {path.parent} to write {path.name} into.")
    check_place(path)
    if suffix == ".parquet":
        with _needs_data_extra(path):
            for name in ("pandas", "pyarrow"):
                importlib.import_module(name)


def write(path: str | Path | None, arrays: Mapping[str, np.ndarray]) -> None:
    """Write named arrays to a file, or as CSV to standard output.

    In text and .parquet files and on standard output an array of shape `(n,)` is a column with its
    own name, and one of shape `(n, k)` the columns name_0 … name_{k−1}. Floating-point numbers are
    written by the shortest decimal that reads as the same number of their dtype: a float32 of 0.1
    as 0.1, and not as the 0.10000000149 that it is in float64. A file that is there is
    replaced by a complete one, or left as it was.

    Args:
        path: A file that ends in one of `SUFFIXES`, of which .npy holds one array; None or "-" for
            standard output.
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
        delimited.print_to(sys.stdout, _as_columns(arrays))
        return
    check_output(path, axes=0)  # what does not fit is said below, with the name of the array
    suffix = _suffix(path)
    if suffix == ".npy" and len(arrays) > 1:
        raise ValueError(
            f"{path}: a .npy file holds one array, but there are {len(arrays)} to write "
            f"({', '.join(arrays)}). Use .npz."
        )
    columns = None if suffix in (".npy", ".npz") else _as_columns(arrays)
    with complete_file(path) as partial:
        if columns is None:  # NumPy has no words for a full disk
            check_room(partial.parent, sum(array.nbytes for array in arrays.values()))
        if suffix == ".npy":
            np.save(partial, next(iter(arrays.values())), allow_pickle=False)
        elif suffix == ".npz":
            np.savez(partial, **arrays)
        elif suffix == ".parquet":
            with _needs_data_extra(path):
                import pandas as pd

                pd.DataFrame(columns).to_parquet(partial, index=False)
        else:
            delimited.write(partial, columns)


# --------------------------------------------------------------------- reading


def _suffix(path: str | Path) -> str:
    if str(path) == "-":
        return ".csv"
    for suffix in SUFFIXES:
        if str(path).endswith(suffix):
            return suffix
    raise ValueError(f"{path}: a table's name must end in one of {', '.join(SUFFIXES)}.")


@contextlib.contextmanager
def _needs_data_extra(path: str | Path):
    try:
        yield
    except ImportError as error:
        raise ImportError(
            f"{path}: text and .parquet tables need pandas and pyarrow, and one is missing "
            f"({error}). Install them with: pip install 'keras-flows[data]'"
        ) from error


def read_numpy(path: str | Path) -> np.ndarray:
    """Reads the array of a .npy file, or the one of a .npz file that is alone or called "x".

    Args:
        path: The file.

    Returns:
        The array, as it is stored.

    Raises:
        ValueError: If it cannot be read as plain numbers, or there is no such array.
    """
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded:
            names = loaded.files
            wanted = names[0] if len(names) == 1 else "x"
            if wanted in names:
                return np.asarray(loaded[wanted])
    except MemoryError as error:
        raise ValueError(f"{path} claims to hold more than memory does: {error}") from error
    except UNREADABLE as error:
        raise ValueError(
            f"{path} cannot be read as a NumPy file of plain numbers (pickled objects are never "
            f"loaded): {error}"
        ) from error
    raise ValueError(
        f'{path} must hold one array, or one called "x", but it holds {len(names)}: '
        f"{', '.join(names)}."
    )


def _read_parquet(path: str | Path):
    import pandas as pd
    import pyarrow as pa

    try:
        return pd.read_parquet(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"{path} cannot be read as a Parquet file: {error}") from error


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
                f"{name} has shape {array.shape}, but text and .parquet tables take arrays of "
                "one or two axes. Use .npy or .npz."
            )
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"The arrays of one table must have equally many rows, but: {lengths}.")
    return columns
