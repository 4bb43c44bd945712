"""Arguments and options that several commands take, and the reading of data files."""

from pathlib import Path
from typing import Annotated

import typer

_TABLES = ".npy, .npz, .csv, .tsv, either with .gz, or .parquet"

Handle = Annotated[
    str, typer.Argument(help="Zoo entry, preset folder, https://…#sha256=…, hf://… or kaggle://…")
]
Data = Annotated[Path, typer.Argument(help=f"Examples: {_TABLES}; - for text on standard input")]
Context = Annotated[
    Path | None, typer.Option(help="Contexts of a conditional flow, one row an example")
]
Columns = Annotated[
    str | None, typer.Option(help="Columns of the data to take, in this order: a,b,c")
]
Header = Annotated[
    bool | None,
    typer.Option(
        "--header/--no-header",
        help="Whether the first row of a text table that is all numbers holds names",
    ),
]
Output = Annotated[Path | None, typer.Option("--output", "-o", help=f"File to write: {_TABLES}")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON")]
DataDir = Annotated[
    Path | None, typer.Option(help="Where TensorFlow Datasets keeps data (~/tensorflow_datasets)")
]


def read(flow, data, context, columns=None, header=None):
    """The examples and, for a conditional flow, their contexts."""
    from keras_flows.data import tables

    check_context(flow, context)
    if str(data) == str(context) == "-":
        raise ValueError("Standard input can hold the data or the contexts, not both.")
    names = None if columns is None else [name.strip() for name in columns.split(",")]
    x = tables.read(data, flow.event_shape, names, _text_only(data, header))
    return x, read_contexts(flow, context, data, len(x), header)


def check_context(flow, context):
    """Checks that contexts are named where they are needed, and only there."""
    if flow.context_shape is None and context is not None:
        raise ValueError("This flow has no context: leave --context out.")
    if flow.context_shape is not None and context is None:
        raise ValueError("This flow is conditional: give --context FILE.")


def read_contexts(flow, context, data, examples, header=None):
    """The contexts of so many examples of some data; None where no file of them is named."""
    from keras_flows.data import tables

    if context is None:
        return None
    contexts = tables.read(context, flow.context_shape, header=_text_only(context, header))
    if len(contexts) != examples:
        raise ValueError(f"{data} has {examples} examples, but {context} has {len(contexts)}.")
    return contexts


def _text_only(path, header):
    """What was said of headers, for a file that can have one."""
    from keras_flows.data import delimited

    return header if str(path) == "-" or str(path).endswith(delimited.SUFFIXES) else None
