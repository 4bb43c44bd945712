"""Commands that use a flow: sample, score, encode, evaluate."""

from typing import Annotated

import typer

from keras_flows.cli import arguments, streaming
from keras_flows.cli.arguments import Columns, Context, DataDir, Handle, Header, Json
from keras_flows.cli.arguments import examples as _examples
from keras_flows.cli.arguments import read_sample_contexts as _read_sample_contexts
from keras_flows.cli.console import command, print_json, print_table, say, working
from keras_flows.cli.streaming import (
    Output,
    PartRows,
    Resume,
    Rows,
    Runtime,
    RuntimeName,
    Split,
)


@command
def sample(
    handle: Handle,
    n: Annotated[int, typer.Option("-n", help="Number of samples", min=1)] = 1000,
    seed: Annotated[int | None, typer.Option(help="Same seed, same samples")] = None,
    temperature: Annotated[float, typer.Option(help="Factor on the base deviation", min=0)] = 1.0,
    tolerance: Annotated[
        float | None, typer.Option(help="Of the inverse of residual blocks; their own by default")
    ] = None,
    context: Context = None,
    header: Header = None,
    output: arguments.Output = None,
):
    """Draw samples; CSV on standard output unless --output names a file."""
    from keras_flows import zoo
    from keras_flows.data import tables

    tables.check_output(output, 1 + len(zoo.show(handle).event_shape))
    flow = zoo.load(handle)
    contexts = None
    if context is not None:
        contexts = _read_sample_contexts(flow, context, header)
        contexts = contexts[0] if len(contexts) == 1 else contexts
    with working(f"compiling, and drawing {n:,} samples"):
        drawn = flow.sample(n, seed, temperature, contexts, tolerance).numpy()
    named = {"x": drawn}
    if flow.schema is not None:
        named = {column.name: drawn[:, i] for i, column in enumerate(flow.schema.event)}
    tables.write(output, named)


@command
def score(
    handle: Handle,
    data: Rows,
    context: Context = None,
    columns: Columns = None,
    header: Header = None,
    split: Split = None,
    data_dir: DataDir = None,
    seed: Annotated[int, typer.Option(help="Of the draws of a stochastic log_prob", min=0)] = 0,
    runtime: Runtime = RuntimeName.keras,
    output: Output = None,
    resume: Resume = False,
    part_rows: PartRows = None,
):
    """Score examples by log_prob, in nats; CSV on standard output unless --output is given.

    Rows are scored as they are read. Into a folder they go in parts, and --resume goes on after a
    kill.
    """
    from keras_flows.data import tables

    streaming.check_output(runtime, output, 1, resume, part_rows)
    scorer = streaming.scorer_of(runtime, handle, "score", seed=seed)
    rows = streaming.open_rows(scorer, data, context, columns, header, split, data_dir)
    said = {"columns": columns, "header": header}
    made = streaming.score_rows(scorer, rows, output, resume, part_rows, "log_prob -inf", said)
    if made.arrays is not None:
        tables.write(output, made.arrays)


@command
def encode(
    handle: Handle,
    data: Rows,
    context: Context = None,
    columns: Columns = None,
    header: Header = None,
    split: Split = None,
    data_dir: DataDir = None,
    seed: Annotated[int, typer.Option(help="Of the draws of a stochastic encoding", min=0)] = 0,
    runtime: Runtime = RuntimeName.keras,
    output: Output = None,
    resume: Resume = False,
    part_rows: PartRows = None,
):
    """Encode examples, data to latent; CSV on standard output unless --output is given.

    As in `score`, rows are encoded as they are read.
    """
    from keras_flows.data import tables

    streaming.check_output(runtime, output, 2, resume, part_rows)
    scorer = streaming.scorer_of(runtime, handle, "encode", seed=seed)
    if "z" in scorer.columns:  # each latent an array
        streaming.check_output(runtime, output, 3, resume, part_rows)
    rows = streaming.open_rows(scorer, data, context, columns, header, split, data_dir)
    said = {"columns": columns, "header": header}
    made = streaming.score_rows(scorer, rows, output, resume, part_rows, "no latent", said)
    if made.arrays is not None:
        tables.write(output, made.arrays if "z" in made.arrays else {"z": _matrix(made.arrays)})


def _matrix(columns):
    """Columns as one array."""
    import numpy as np

    return np.stack(list(columns.values()), axis=1)


@command
def evaluate(
    handle: Handle,
    data: Annotated[
        str,
        typer.Argument(
            help="Examples, as in `score`; for a flow on images also a data set (digits, mnist, "
            "cifar10, …) or a folder, taken at the flow's size and bits; the context of a flow on "
            "labels is the data set's own, unless there is a --context"
        ),
    ],
    context: Context = None,
    columns: Columns = None,
    header: Header = None,
    split: Annotated[
        str | None, typer.Option(help="Of a data set (test by default), or a subfolder")
    ] = None,
    data_dir: DataDir = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Examples at a time (10000 points, 100 images)", min=1)
    ] = None,
    importance_samples: Annotated[
        int | None, typer.Option(help="Draws of the bound of a flow that has one", min=1)
    ] = None,
    probes: Annotated[int, typer.Option(help="Draws of a random log_prob to average", min=1)] = 1,
    seed: Annotated[int, typer.Option(help="Of the draws of a stochastic log_prob")] = 0,
    as_json: Json = False,
):
    """Mean negative log-likelihood of examples, with its standard error."""
    from keras_flows import zoo
    from keras_flows.measure import evaluation as scores
    from keras_flows.numerics.events import bits_per_dim

    flow = zoo.load(handle)
    x, contexts, title = _examples(flow, data, context, columns, header, split, data_dir)
    with working("compiling, then scoring", len(x), "examples") as progress:
        result = scores.evaluate(
            flow, x, contexts, batch_size, seed, progress.advance, importance_samples, probes
        )
    bits_error = None
    if result.bits_per_dim is not None:
        bits_error = bits_per_dim(result.standard_error, flow.event_shape)
    _compare_with_card(zoo.show(handle), importance_samples)
    if as_json:
        extra = {"bits_per_dim_standard_error": bits_error, "data": title}
        print_json({**result._asdict(), **extra})
        return
    rows = [
        ("negative log-likelihood", f"{result.nll:.4f} ± {result.standard_error:.4f} nats"),
        ("examples", f"{result.examples:,} ({title})"),
        ("likelihood", result.likelihood),
    ]
    if importance_samples is not None:
        rows.append(("importance samples", f"{importance_samples:,}"))
    if result.probes is not None:
        error = f"{result.estimator_standard_error:.4f} nats ({probes:,} probes)"
        rows.append(("of the error, the estimator's own", error))
    if bits_error is not None:
        score = f"{result.bits_per_dim:.4f} ± {bits_error:.4f}"
        rows.insert(1, ("bits per dimension", score))
    print_table(handle, ("", ""), rows)


def _compare_with_card(entry, importance_samples):
    """Says so where the card's number is of another kind than the one just measured."""
    stated = None if entry.test is None else entry.test.importance_samples
    if stated is not None and stated != importance_samples:
        here = "a single draw" if importance_samples is None else f"{importance_samples:,} draws"
        say(
            f"note: the test result in the card of {entry.name} is an importance-weighted bound of "
            f"{stated:,} draws, this one of {here}; --importance-samples {stated} compares."
        )
