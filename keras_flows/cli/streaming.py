"""What `score`, `detect` and `encode` share: rows are scored as they are read.

The results go to standard output or into one file, and are in memory until they are complete; or
into a folder, part by part.
"""

import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from keras_flows.cli.console import say, say_out_of_range, working

if TYPE_CHECKING:  # commands that compute nothing do without NumPy
    import numpy as np

Rows = Annotated[
    str,
    typer.Argument(
        help="A table (.parquet, .csv, .tsv, either with .gz, .npy, .npz), a .tfrecord, a folder "
        "of Parquet files or of images, or - for text on standard input; for a flow on images "
        "also a data set (digits, mnist, …)"
    ),
]
Split = Annotated[str | None, typer.Option(help="Of a data set (test by default), or a subfolder")]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        help="File to write: .npy, .npz, .csv, .tsv, either with .gz, or .parquet; or a folder "
        "(without a suffix) for Parquet files in parts, with a manifest",
    ),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on with the folder of a run that was ended")
]
PartRows = Annotated[
    int | None, typer.Option(help="Rows of a part in a folder; some megabytes by default", min=1)
]


class RuntimeName(StrEnum):
    """What computes."""

    keras = "keras"
    onnx = "onnx"


Runtime = Annotated[
    RuntimeName,
    typer.Option(help="onnx: FLOW is an exported folder, and onnxruntime scores, without Keras"),
]


class Outcome(NamedTuple):
    """What a command made.

    Attributes:
        rows: How many rows there are.
        out_of_range: How many of them are outside of the range of a column.
        flagged: How many are flagged, of decisions.
        arrays: The columns; None where they are in a folder.
        discoveries: Of a folder of decisions at a false-discovery rate, how many; else None.
    """

    rows: int
    out_of_range: int
    flagged: int
    arrays: "dict[str, np.ndarray] | None"
    discoveries: int | None = None


def is_folder(output):
    """Whether an output is a folder of parts."""
    if output is None or str(output) == "-":
        return False
    return output.is_dir() or not output.suffix


def check_output(runtime, output, axes, resume, part_rows):
    """Checks, before the work, that the result can be written.

    It is the first that a command does: of a runtime without TensorFlow it says so to what is
    imported from here on.

    Args:
        runtime: What computes.
        output: The file or folder, or None.
        axes: Of the array in a file.
        resume: The option, like `part_rows`.
        part_rows: See there.

    Raises:
        ValueError: If it cannot, or an option is for folders and this is none; see
            `keras_flows.data.tables.check_output` for more.
    """
    if runtime is RuntimeName.onnx:
        os.environ["KERAS_FLOWS_RUNTIME"] = "onnx"
    from keras_flows.data import tables

    if not is_folder(output):
        if resume or part_rows is not None:
            raise ValueError(
                "--resume and --part-rows are for parts in a folder: name one by --output FOLDER, "
                "without a suffix."
            )
        tables.check_output(output, axes)
        return
    from keras_flows.stream import parts

    parts.check_folder(output)


def scorer_of(runtime, handle, task, **options):
    """The scorer of a flow in a runtime."""
    if runtime is RuntimeName.onnx:
        from keras_flows.stream import OnnxScorer

        return OnnxScorer(handle, task, **options)
    from keras_flows.stream.keras_scorer import KerasScorer

    return KerasScorer(handle, task, **options)


def open_rows(scorer, data, context, columns, header, split=None, data_dir=None):
    """The rows for a scorer, a `keras_flows.stream.Input`."""
    from keras_flows.cli.arguments import names, read_images
    from keras_flows.stream import inputs, opening

    if opening.is_input(data):
        path = Path(data).expanduser()
        if split is not None:
            if not path.is_dir():
                raise ValueError("--split is for data sets and folders.")
            data = path / split
        return opening.open_input(data, scorer.takes, names(columns), header, context)
    if columns is not None or header is not None:
        raise ValueError("--columns and --header are for tables; images have neither.")
    images, contexts = read_images(scorer.takes, data, split or "test", data_dir, context)
    return inputs.InMemory(images.name, images.pixels, contexts)


def score_rows(scorer, data, output, resume, part_rows, means, said=None):
    """Scores rows, into a folder or into memory, and shows the progress.

    Args:
        scorer: The scorer.
        data: The rows.
        output: Where the results go.
        resume: Whether to go on with a folder.
        part_rows: Rows of a part.
        means: What it means to be out of range, for the lines on such rows.
        said: The options that choose among the data, noted in the manifest.

    Returns:
        An `Outcome`.
    """
    from keras_flows.stream import running, scoring

    outside = scoring.Outside()
    title = "scoring" if scorer.scored_by.runtime == "onnx" else "compiling, then scoring"
    with working(title, data.rows, "rows") as progress:
        if not is_folder(output):
            arrays = scoring.in_memory(scorer, data, outside, progress.advance)
            made = Outcome(
                len(next(iter(arrays.values()))),
                outside.count,
                int(arrays["flag"].sum()) if "flag" in arrays else 0,
                arrays,
            )
        else:
            chosen: dict[str, Any] = {k: v for k, v in (said or {}).items() if v is not None}
            manifest = running.run(
                *(scorer, data, output, resume, part_rows, outside),
                progress=progress.advance,
                note=say,
                began=lambda there: _say_where(there, progress),
                **chosen,
            )
            found = manifest.discoveries
            made = Outcome(
                manifest.count("rows"),
                manifest.count("out_of_range"),
                manifest.count("flagged"),
                None,
                None if found is None else int(found["discoveries"]),
            )
            say(f"{made.rows:,} rows in {len(manifest.parts):,} parts: {output}")
    if made.out_of_range:
        say_out_of_range(outside.reasons, made.out_of_range, means)
    return made


def _say_where(manifest, progress):
    """Says how far a run came before."""
    done = manifest.count("rows")
    if done:
        say(f"resuming: {done:,} rows in {len(manifest.parts):,} parts are there")
        progress.skip(done)
