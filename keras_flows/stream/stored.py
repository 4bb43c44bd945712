"""Tables in files, read some rows at a time: Parquet by row groups, text in chunks, NumPy mapped.

However large the files are, the memory that reading takes is that of the rows asked for; of a .npz
file it is the whole array, for these cannot be mapped.
"""

import abc
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_flows.data import delimited, sources, tables
from keras_flows.files import UNREADABLE

if TYPE_CHECKING:
    import pandas as pd

# Rows that are read to know the types of columns of text.
_ROWS = 100_000


class Stored(abc.ABC):
    """Rows in files.

    Attributes:
        name: What to call them in messages.
        files: The files that hold them, in the order of the rows.
        names: The names of the columns.
        rows: How many there are; None where only reading them to the end tells.
    """

    name: str
    files: Sequence[Path]
    names: list[str]
    rows: int | None

    @abc.abstractmethod
    def frames(
        self, start: int, size: int, columns: Sequence[str] | None = None
    ) -> Iterator["pd.DataFrame"]:
        """The rows from one on, a number of them at a time, the last ones excepted.

        Args:
            start: The first row.
            size: Rows at a time.
            columns: The columns to read, in this order; all by default.

        Yields:
            A `pandas.DataFrame` with text for names.

        Raises:
            ValueError: If the files are damaged.
        """


class Parquet(Stored):
    """The rows of Parquet files, one after the other.

    Args:
        name: See `Stored`.
        files: The files; their columns have the same names in the same order.
        index: Whether columns that pandas wrote as the index of a frame are among the columns.

    Raises:
        ValueError: If a file is damaged, two columns have the same name, or the files differ.
    """

    def __init__(self, name: str, files: Sequence[Path], index: bool):
        self.name, self.files = name, files
        self.rows = 0
        for path in files:
            file = _parquet(path)
            found = [str(column) for column in file.schema_arrow.names]
            stored = [column for column in found if index or column not in _index_columns(file)]
            names = sources.checked_names(str(path), stored)
            if path is files[0]:
                self._stored, self.names = stored, names
            elif names != self.names:
                raise ValueError(
                    f"{path} has the columns {sources.some(names)}; those of {files[0]} are "
                    f"{sources.some(self.names)}. All files of a folder must have the same."
                )
            self.rows += file.metadata.num_rows

    def frames(
        self, start: int, size: int, columns: Sequence[str] | None = None
    ) -> Iterator["pd.DataFrame"]:
        import pyarrow as pa

        chosen = self.names if columns is None else list(columns)
        stored = [self._stored[self.names.index(name)] for name in chosen]
        kept: list[Any] = []
        held = 0
        for batch in self._batches(start, size, stored):
            kept.append(batch)
            held += len(batch)
            while held >= size:
                table = pa.Table.from_batches(kept)
                yield _to_pandas(table[:size], chosen)
                kept = table[size:].to_batches()
                held -= size
        if held:
            yield _to_pandas(pa.Table.from_batches(kept), chosen)

    def _batches(self, start, size, columns):
        """Arrow's batches of the rows from one on; row groups before it are not read."""
        import pyarrow as pa

        for path in self.files:
            file = _parquet(path)
            if start >= file.metadata.num_rows:
                start -= file.metadata.num_rows
                continue
            groups = list(range(file.metadata.num_row_groups))
            while start >= (rows := file.metadata.row_group(groups[0]).num_rows):
                start -= rows
                groups.pop(0)
            try:
                for batch in file.iter_batches(size, groups, columns):
                    taken = batch.select(columns)[start:]
                    start -= len(batch) - len(taken)
                    if len(taken):
                        yield taken
            except (pa.ArrowException, OSError) as error:
                raise ValueError(f"{path} is a damaged Parquet file: {error}") from error


def _parquet(path):
    """An open Parquet file."""
    try:
        import pyarrow as pa
        import pyarrow.parquet
    except ImportError as error:
        raise _needs_data_extra(path, error) from error
    try:
        # Buffered ahead, it would hold all row groups that a loop over its batches has passed.
        return pyarrow.parquet.ParquetFile(path, pre_buffer=False)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path} cannot be read as a Parquet file: {error}") from error


def _index_columns(file):
    """The columns of a Parquet file that are the index of the frame that pandas wrote."""
    described = file.schema_arrow.pandas_metadata or {}
    return [column for column in described.get("index_columns", []) if isinstance(column, str)]


def _to_pandas(table, names):
    return table.to_pandas(ignore_metadata=True).set_axis(names, axis=1)


def _needs_data_extra(path, error):
    return ImportError(
        f"{path}: text and .parquet tables need pandas and pyarrow, and one is missing ({error}). "
        "Install them with: pip install 'keras-flows[data]'"
    )


class Text(Stored):
    """The rows of a table of text.

    Args:
        path: The file, or "-" for standard input, which is read into memory.
        header: See `keras_flows.data.delimited.read`.
        labels: Columns whose cells are labels: in all parts of the table they are taken for the
            same, text or numbers, as they would be in the whole of it.

    Raises:
        ValueError: See `keras_flows.data.delimited.read`.
    """

    rows = None

    def __init__(self, path: str | Path, header: bool | None, labels: Sequence[str] = ()):
        try:
            self.layout = delimited.layout(path, header)
        except ImportError as error:
            raise _needs_data_extra(path, error) from error
        self.name = self.layout.name
        self.files = [] if str(path) == "-" else [Path(path)]
        self.names = sources.checked_names(self.name, self.layout.names)
        self._options = self._as_text([name for name in labels if name in self.names])

    def _as_text(self, labels):
        """The options by which columns that hold text in some of their parts are text in all."""
        if not labels:
            return {}
        places = [self.names.index(name) for name in labels]
        kinds: dict[int, set[str]] = {place: set() for place in places}
        # The names are those of `layout`: pandas may have others, for columns of no name.
        layout = self.layout._replace(names=[self.names[place] for place in sorted(places)])
        for frame in delimited.frames(layout, _ROWS, usecols=places):
            for place, found in kinds.items():
                kind = frame[self.names[place]].dtype.kind
                found.add("number" if kind in "iuf" else kind)
        # All numbers, or all true and false, are so in every part.
        text = [place for place, found in kinds.items() if found not in ({"number"}, {"b"})]
        return {"dtype": dict.fromkeys(text, str)} if text else {}

    def frames(
        self, start: int, size: int, columns: Sequence[str] | None = None
    ) -> Iterator["pd.DataFrame"]:
        import pandas as pd

        layout = self.layout._replace(names=self.names)
        kept: list[pd.DataFrame] = []
        # Rows before the first are read and dropped: where the next begins only reading tells.
        skipped = 0
        for frame in delimited.frames(layout, size, columns, **self._options):
            dropped = min(start - skipped, len(frame))
            skipped += dropped
            if len(frame) > dropped:
                kept.append(frame[dropped:])
            whole = pd.concat(kept, ignore_index=True) if len(kept) > 1 else None
            if whole is None and kept and len(kept[0]) >= size:
                whole = kept[0].reset_index(drop=True)
            if whole is not None and len(whole) >= size:
                yield whole[:size]
                kept = [whole[size:]] if len(whole) > size else []
        if kept:
            yield pd.concat(kept, ignore_index=True)


class Array:
    """An array whose rows are read from a file as needed.

    Args:
        path: A .npy file, which is mapped, or a .npz file, which is read.

    Attributes:
        name: What to call it in messages.
        files: The file.
        shape: Of the array.
        dtype: Of its numbers.

    Raises:
        ValueError: If it cannot be read as plain numbers.
    """

    def __init__(self, path: Path):
        self.name, self.files = str(path), [path]
        self._values = tables.read_numpy(path) if path.suffix == ".npz" else None
        values = self._open()
        self.shape, self.dtype = values.shape, values.dtype

    def _open(self):
        if self._values is not None:
            return self._values
        try:
            return np.load(self.files[0], mmap_mode="r", allow_pickle=False)
        except UNREADABLE:
            return tables.read_numpy(self.files[0])  # which says what is wrong

    def __getitem__(self, rows: slice) -> np.ndarray:
        # Mapped anew every time: what was read before then takes no memory.
        return np.array(self._open()[rows])


class Frames(Stored):
    """The rows of a matrix in a NumPy file as data frames, with the columns "0", "1", ….

    Raises:
        ValueError: If it is no matrix of real numbers.
    """

    def __init__(self, path: Path):
        self._array = Array(path)
        self.name, self.files = self._array.name, self._array.files
        # The names and the checks of a matrix that is read as a table.
        frame = sources.read(np.empty((0, *self._array.shape[1:]), self._array.dtype))
        self.names = list(frame.columns)
        self.rows = self._array.shape[0]

    def frames(
        self, start: int, size: int, columns: Sequence[str] | None = None
    ) -> Iterator["pd.DataFrame"]:
        for first in range(start, self._array.shape[0], size):
            frame = sources.read(self._array[first : first + size])
            yield frame if columns is None else frame[list(columns)]
