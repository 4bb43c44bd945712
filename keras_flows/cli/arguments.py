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


def names(text):
    """The names in a list with commas, None for none."""
    return None if text is None else [name.strip() for name in text.split(",")]


def read(flow, data, context, columns=None, header=None):
    """The examples and, for a conditional flow, their contexts.

    Those of a flow with a schema are one table, put in order by the names of its columns.
    """
    from keras_flows.data import tables

    if flow.schema is not None:
        rows = arranged(flow, data, context, columns, header)
        if rows.reasons:
            row, reason = next(iter(rows.reasons.items()))
            raise ValueError(
                f"{data}: {len(rows.reasons)} of {len(rows)} rows are out of range, the first at "
                f"index {row}: {reason}. Their log_prob is -inf: remove them."
            )
        return rows.x, rows.context
    check_context(flow, context)
    if str(data) == str(context) == "-":
        raise ValueError("Standard input can hold the data or the contexts, not both.")
    x = tables.read(data, flow.event_shape, names(columns), _text_only(data, header))
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


def read_sample_contexts(flow, context, header=None):
    """The contexts to sample with, one for all samples or as many; of a schema, by name."""
    from keras_flows.data import delimited, tables

    named = str(context) == "-" or str(context).endswith((*delimited.SUFFIXES, ".parquet"))
    if flow.schema is None or not named or header is False:
        return tables.read(context, flow.context_shape or (), header=header)
    table = delimited.read("-", header=True) if str(context) == "-" else context
    return flow.schema.arrange_context(table).astype(flow.context_dtype)


def arranged(flow, data, context=None, columns=None, header=None):
    """The rows of a table for a flow that has a schema, a `keras_flows.data.Arranged`."""
    from keras_flows.data import delimited, sources

    if context is not None:
        raise ValueError(
            "This flow knows the columns of its context by name: leave --context out, and give one "
            f"table with the columns {sources.some(flow.schema.names)}."
        )
    if header is False:
        raise ValueError("This flow knows its columns by name: the table must have a header.")
    table = delimited.read("-", header=True) if str(data) == "-" else sources.read(data)
    chosen = names(columns)
    if chosen is not None:
        sources.check_known("--columns", str(data), list(table.columns), chosen)
        table = table[chosen]
    try:
        return flow.schema.arrange(table)
    except ValueError as error:
        # It is called by the name of the file, not of the frame that was read from it.
        message = str(error).replace("The frame", str(data), 1)
        if "unknown columns" in message:
            message += " --columns chooses among those of a file."
        raise ValueError(message) from None


def examples(flow, data, context=None, columns=None, header=None, split=None, data_dir=None):
    """The examples of a table or a data set of images, their contexts, and what they are called."""
    from keras_flows.data import tables

    if tables.is_table(data):
        x, contexts = read(flow, Path(data), context, columns, header)
        return x, contexts, "standard input" if data == "-" else Path(data).name
    if columns is not None or header is not None:
        raise ValueError("--columns and --header are for tables; images have neither.")
    split = split or (None if Path(data).expanduser().is_dir() else "test")
    images, contexts = read_images(flow, data, split, data_dir, context)
    return images.pixels, contexts, images.name


def read_images(flow, name, split, data_dir, context):
    """A data set of images as the flow takes them: of its size, with its number of bits.

    The flow may be a `keras_flows.stream.Takes`, which says the same.

    Returns:
        The `keras_flows.data.Images`, and their contexts: from a file, or the data set's labels.
    """
    from keras_flows import data as sets

    labels = flow.labels is not None and context is None
    if not labels:
        check_context(flow, context)
    if flow.bits is None or len(flow.event_shape) != 3:
        raise ValueError(
            f"{name!r} is no .npy, .npz, .csv, .tsv or .parquet file, and this flow is not one on "
            "images."
        )
    options = {"split": split, "data_dir": data_dir, "bits": flow.bits, "labels": labels}
    images = sets.images(name, **options, resize=flow.event_shape[:2])
    if images.event_shape != flow.event_shape:
        raise ValueError(
            f"{images.name} has images of {images.event_shape[2]} channels; the flow takes "
            f"{flow.event_shape[2]}."
        )
    if labels and images.classes != flow.labels:
        raise ValueError(
            f"{images.name} has labels of {images.classes} classes; the flow takes {flow.labels}. "
            "Give --context FILE."
        )
    if labels:
        return images, images.labels
    return images, read_contexts(flow, context, images.name, len(images))


def _text_only(path, header):
    """What was said of headers, for a file that can have one."""
    from keras_flows.data import delimited

    return header if str(path) == "-" or str(path).endswith(delimited.SUFFIXES) else None
