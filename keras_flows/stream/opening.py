"""From a path to the rows that are there, by the format of the files."""

from collections.abc import Sequence
from pathlib import Path

from keras_flows.data import delimited, pictures, sources
from keras_flows.stream.inputs import Examples, Input, Named, Pictures, WithContext
from keras_flows.stream.records import SUFFIXES as RECORDS
from keras_flows.stream.records import Records
from keras_flows.stream.stored import Array, Frames, Parquet, Stored, Text
from keras_flows.stream.takes import Takes

SUFFIXES = (*delimited.SUFFIXES, ".parquet", ".npy", ".npz", *RECORDS)


def open_input(
    path: str | Path,
    takes: Takes,
    columns: Sequence[str] | None = None,
    header: bool | None = None,
    context: str | Path | None = None,
) -> Input:
    """Opens rows to score, whatever they are stored as.

    A Parquet file is read by row groups, a table of text in chunks, a .npy file mapped; a .npz file
    is read into memory, and so is standard input. A folder is all Parquet files in it, in the order
    of their names; or its images, those in subfolders too, in the order of their paths, cut and
    resized to the flow's size and bits. A TFRecord file holds `tf.train.Example`s:
    `keras_flows.stream.records.Records` says how.

    Args:
        path: The file or folder; "-" for text on standard input.
        takes: What the flow takes, such as the `takes` of a scorer.
        columns: Those to take of a table; all by default.
        header: Whether the first row of a table of text holds names; see
            `keras_flows.data.tables.read`.
        context: A file of contexts for a conditional flow without schema, one for every row.

    Returns:
        An `Input`.

    Raises:
        FileNotFoundError: If there is no such file or folder.
        ImportError: If a library that reads it is not installed; the message says which.
        ValueError: If it is empty, damaged, of no known format, or does not fit the flow.
    """
    if takes.schema is not None:
        if context is not None:
            raise ValueError(
                "This flow knows the columns of its context by name: leave --context out, and give "
                f"one table with the columns {sources.some(takes.schema.names)}."
            )
        if header is False:
            raise ValueError("This flow knows its columns by name: the table must have a header.")
        labels = [c.name for c in takes.schema.columns if c.levels]
        stored, base = _stored(path, True, header, labels, named=True)
        if isinstance(stored, _Images):
            raise ValueError(f"{path} holds images, and this flow is on a table.")
        return _checked(Named(stored, takes, columns, base))
    _check_context(takes, context)
    if str(path) == str(context) == "-":
        raise ValueError("Standard input can hold the data or the contexts, not both.")
    data = _checked(_examples(path, takes, columns, header))
    if context is None or takes.context_shape is None:
        return data
    stored, _ = _stored(context, False, _text_only(context, header), (), named=False)
    if isinstance(stored, _Images):
        raise ValueError(f"{context} holds images; contexts are numbers.")
    return WithContext(data, Examples(stored, takes.context_shape))


def is_input(path: str | Path) -> bool:
    """Whether a path is that of rows: a file by its suffix, an existing folder, or "-"."""
    return str(path) == "-" or str(path).endswith(SUFFIXES) or Path(path).expanduser().is_dir()


def _check_context(takes, context):
    if takes.context_shape is None and context is not None:
        raise ValueError("This flow has no context: leave --context out.")
    if takes.context_shape is not None and context is None:
        raise ValueError("This flow is conditional: give --context FILE.")


def _text_only(path, header):
    """What was said of headers, for a file that can have one."""
    return header if str(path) == "-" or str(path).endswith(delimited.SUFFIXES) else None


def _checked(data):
    if data.rows == 0:
        raise ValueError(f"{data.name} is empty: it holds no rows.")
    return data


class _Images:
    """Files of images.

    Args:
        folder: Their folder.
    """

    def __init__(self, folder: Path):
        self.name, self.files = str(folder), pictures.paths(folder)
        self.rows = len(self.files)

    def images(self, start):
        """The images from one on, each with what to call it."""
        return ((path, path.read_bytes()) for path in self.files[start:])


def _examples(path, takes, columns, header):
    """The rows for a flow that knows a shape only."""
    stored, base = _stored(path, False, header, (), named=False)
    if isinstance(stored, Records) and stored.whole is None and columns is None:
        raise ValueError(
            f"{path}: the features of a record have no order, and this flow does not know its "
            f"columns by name. Name them by --columns: {', '.join(stored.names)}."
        )
    of_images = isinstance(stored, Records) and stored.whole == "image"
    if not of_images and not isinstance(stored, _Images):
        return Examples(stored, takes.event_shape, columns, base)
    if columns is not None or header is not None:
        raise ValueError("--columns and --header are for tables; images have neither.")
    return Pictures(stored, stored.images, stored.rows, takes, base)


def _stored(path, index, header, labels, named):
    """What the files at a path hold, and the folder that they are in, None for a single file."""
    folder = Path(path).expanduser()
    if str(path) != "-" and folder.is_dir():
        files = sorted(
            file for file in folder.glob("*.parquet") if not file.name.startswith((".", "_"))
        )
        if header is not None:
            raise ValueError(f"{path} is a folder: only tables of text have headers.")
        return (Parquet(str(path), files, index) if files else _Images(folder)), folder
    suffix = (
        ".csv"
        if str(path) == "-"
        else next((suffix for suffix in SUFFIXES if str(path).endswith(suffix)), None)
    )
    if suffix is None:
        raise ValueError(f"{path}: a table's name must end in one of {', '.join(SUFFIXES)}.")
    if str(path) != "-" and not Path(path).is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    if header is not None and suffix not in delimited.SUFFIXES:
        raise ValueError(
            f"{path}: only text tables ({', '.join(delimited.SUFFIXES)}) have headers."
        )
    stored: Stored | Array
    if suffix in delimited.SUFFIXES:
        # A flow that knows its columns needs their names, whatever these look like.
        stored = Text(path, True if named and str(path) == "-" else header, labels)
    elif suffix == ".parquet":
        stored = Parquet(str(path), [Path(path)], index)
    elif suffix in RECORDS:
        stored = Records(Path(path))
    else:
        stored = Frames(Path(path)) if named else Array(Path(path))
    return stored, None
