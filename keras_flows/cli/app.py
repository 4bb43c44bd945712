"""The command line: `keras-flows`.

Results go to standard output, everything else to standard error. The exit code is 0 when the
command did what it says, 1 when it failed or a check did, 2 when it was called wrongly.
"""

import contextlib
import functools
import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import rich.console
import rich.markdown
import rich.progress
import rich.table
import typer

app = typer.Typer(
    help="Pretrained normalizing flows: load, score, sample, fine-tune, export.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_out = rich.console.Console()
_err = rich.console.Console(stderr=True)

Handle = Annotated[
    str, typer.Argument(help="Zoo entry, preset folder, https://…#sha256=…, hf://… or kaggle://…")
]
Data = Annotated[Path, typer.Argument(help="Examples: .npy, .npz, .csv or .parquet")]
Context = Annotated[
    Path | None, typer.Option(help="Contexts of a conditional flow, one row an example")
]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="File to write: .npy, .npz, .csv or .parquet"),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON")]
DataDir = Annotated[
    Path | None, typer.Option(help="Where TensorFlow Datasets keeps data (~/tensorflow_datasets)")
]


def command(function):
    """Registers a command; its errors become one line and exit code 1."""

    @functools.wraps(function)
    def wrapped(*args, **kwargs):
        try:
            return function(*args, **kwargs)
        except (ValueError, TypeError, ArithmeticError, OSError, ImportError) as error:
            # Not wrapped: some messages hold a command to copy.
            message = f"[bold red]error:[/] {rich.markup.escape(str(error))}"
            _err.print(message, highlight=False, soft_wrap=True)
            raise typer.Exit(1) from error

    return app.command(name=function.__name__.rstrip("_").replace("_", "-"))(wrapped)


def _print_json(value):
    typer.echo(json.dumps(value, indent=2))


def _table(title, columns, rows):
    if title is not None:
        _out.print(title, soft_wrap=True, highlight=False)
    table = rich.table.Table(show_header=any(columns))
    for i, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=i == 0)
    for row in rows:
        table.add_row(*map(str, row))
    _out.print(table)


def _progress():
    columns = (
        *rich.progress.Progress.get_default_columns(),
        rich.progress.MofNCompleteColumn(),
    )
    return rich.progress.Progress(*columns, console=_err, transient=True)


@contextlib.contextmanager
def _counting(title, total):
    """A progress bar; gives the function that advances it."""
    with _progress() as progress:
        yield functools.partial(progress.advance, progress.add_task(title, total=total))


def _read(flow, data, context):
    """The examples and, for a conditional flow, their contexts."""
    from keras_flows.data import tables

    x = tables.read(data, flow.event_shape)
    if flow.context_shape is None:
        if context is not None:
            raise ValueError("This flow has no context: leave --context out.")
        return x, None
    if context is None:
        raise ValueError("This flow is conditional: give --context FILE.")
    contexts = tables.read(context, flow.context_shape)
    if len(contexts) != len(x):
        raise ValueError(f"{data} has {len(x)} examples, but {context} has {len(contexts)}.")
    return x, contexts


@command
def list_(as_json: Json = False):
    """List the zoo's entries."""
    from keras_flows import zoo

    entries = zoo.list()
    if as_json:
        _print_json([entry.model_dump() for entry in entries])
        return
    _table(
        None,
        ("name", "parameters", "likelihood", "test NLL, nats"),
        (
            (
                entry.name,
                f"{entry.parameters:,}",
                entry.likelihood,
                "" if entry.test is None else f"{entry.test.nll:.3f}",
            )
            for entry in entries
        ),
    )


@command
def show(handle: Handle, as_json: Json = False):
    """Show the model card of a preset."""
    from keras_flows import zoo

    if as_json:
        _print_json(zoo.show(handle).model_dump())
        return
    text = zoo.card(handle)
    if text.startswith("---\n"):
        text = text.split("---\n", 2)[2]
    _out.print(rich.markdown.Markdown(text))


@command
def sample(
    handle: Handle,
    n: Annotated[int, typer.Option("-n", help="Number of samples", min=1)] = 1000,
    seed: Annotated[int | None, typer.Option(help="Same seed, same samples")] = None,
    temperature: Annotated[float, typer.Option(help="Factor on the base deviation", min=0)] = 1.0,
    context: Context = None,
    output: Output = None,
):
    """Draw samples; CSV on standard output unless --output names a file."""
    from keras_flows import zoo
    from keras_flows.data import tables

    flow = zoo.load(handle)
    contexts = None if context is None else tables.read(context, flow.context_shape or ())
    if contexts is not None and len(contexts) == 1:
        contexts = contexts[0]
    drawn = flow.sample(n, seed=seed, temperature=temperature, context=contexts)
    tables.write(output, {"x": drawn.numpy()})


@command
def score(
    handle: Handle,
    data: Data,
    context: Context = None,
    seed: Annotated[int, typer.Option(help="Of the draws of a stochastic log_prob")] = 0,
    output: Output = None,
):
    """Score examples by log_prob, in nats; CSV on standard output unless --output is given."""
    from keras_flows import zoo
    from keras_flows.data import tables
    from keras_flows.measure import evaluation as evaluate

    flow = zoo.load(handle)
    x, contexts = _read(flow, data, context)
    with _counting("scoring", len(x)) as progress:
        scores = evaluate.log_probs(flow, x, contexts, seed=seed, progress=progress)
    tables.write(output, {"log_prob": scores})


def _read_images(flow, name, split, data_dir):
    """A data set of images as the flow takes them: of its size, and with its number of bits."""
    from keras_flows import data as sets

    if flow.context_shape is not None:
        raise ValueError("This flow is conditional: give its data and --context as files.")
    if flow.bits is None or len(flow.event_shape) != 3:
        raise ValueError(
            f"{name!r} is no .npy, .npz, .csv or .parquet file, and this flow is not one on images."
        )
    options = {"split": split, "data_dir": data_dir, "bits": flow.bits}
    images = sets.images(name, **options, resize=flow.event_shape[:2])
    if images.event_shape != flow.event_shape:
        raise ValueError(
            f"{images.name} has images of {images.event_shape[2]} channels; the flow takes "
            f"{flow.event_shape[2]}."
        )
    return images


@command
def evaluate(
    handle: Handle,
    data: Annotated[
        str,
        typer.Argument(
            help="Examples: .npy, .npz, .csv or .parquet; for a flow on images also a data set "
            "(digits, mnist, cifar10, …) or a folder, taken at the flow's size and bits"
        ),
    ],
    context: Context = None,
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
    import math

    from keras_flows import zoo
    from keras_flows.data import tables
    from keras_flows.measure import evaluation as scores

    flow = zoo.load(handle)
    if Path(data).suffix in tables.SUFFIXES:
        x, contexts = _read(flow, Path(data), context)
        title = Path(data).name
    else:
        folder = Path(data).expanduser().is_dir()
        images = _read_images(flow, data, split or (None if folder else "test"), data_dir)
        x, contexts, title = images.pixels, None, images.name
    with _counting("scoring", len(x)) as progress:
        result = scores.evaluate(
            flow, x, contexts, batch_size, seed, progress, importance_samples, probes
        )
    bits_error = None
    if result.bits_per_dim is not None:
        bits_error = result.standard_error / (math.prod(flow.event_shape) * math.log(2.0))
    if as_json:
        extra = {"bits_per_dim_standard_error": bits_error, "data": title}
        _print_json({**result._asdict(), **extra})
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
    _table(handle, ("", ""), rows)


@command
def recipes(as_json: Json = False):
    """List the training recipes."""
    import dataclasses

    from keras_flows.models.registry import RECIPES

    if as_json:
        _print_json({name: dataclasses.asdict(recipe) for name, recipe in RECIPES.items()})
        return
    _table(
        None,
        ("name", "data", "steps", "batch"),
        (
            (
                name,
                recipe.data.get("toy") or recipe.data["images"],
                f"{recipe.steps:,}",
                recipe.batch_size,
            )
            for name, recipe in RECIPES.items()
        ),
    )


@command
def train(
    recipe: Annotated[str, typer.Argument(help="Name of a recipe; `keras-flows recipes` has them")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The preset is written to OUTPUT/RECIPE")
    ] = Path("trained"),
    data_dir: DataDir = None,
    cache_dir: Annotated[
        Path | None, typer.Option(help="Folder for decoded images, for more than memory holds")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the saved state, where there is one")
    ] = False,
    steps: Annotated[
        int | None, typer.Option(help="Training steps, instead of the recipe's", min=1)
    ] = None,
    as_json: Json = False,
):
    """Train a flow by a recipe, test it, and save it as a preset."""
    import dataclasses

    from keras_flows.models import registry
    from keras_flows.training import run as runner

    chosen = registry.recipe(recipe)
    if steps is not None:
        chosen = dataclasses.replace(chosen, steps=steps)
    metadata = runner.train(recipe, chosen, output, data_dir, cache_dir, resume, _err)
    if as_json:
        _print_json(metadata.model_dump())
        return
    test = metadata.test
    rows = [("test", f"{test.nll:.4f} ± {test.standard_error:.4f} nats ({test.data})")]
    if test.bits_per_dim is not None:
        rows.append(("bits per dimension", f"{test.bits_per_dim:.4f}"))
    _table(f"saved to {output / recipe}", ("", ""), rows)


@command
def finetune(
    handle: Handle,
    data: Data,
    folder: Annotated[Path, typer.Argument(help="Preset folder to write")],
    context: Context = None,
    validation: Annotated[Path | None, typer.Option(help="Held-out examples")] = None,
    validation_context: Annotated[Path | None, typer.Option(help="Their contexts")] = None,
    epochs: Annotated[int, typer.Option(min=1)] = 5,
    batch_size: Annotated[
        int | None, typer.Option(help="By default ten steps an epoch, or more", min=1)
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="The highest; by default it follows the weights")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of what is held out and the order", min=0)] = 0,
    as_json: Json = False,
):
    """Fine-tune a preset on new examples; save the best weights by held-out score as a preset.

    Without --validation, a tenth of the examples is held out.
    """
    from keras_flows import training, zoo

    entry, flow = zoo.show(handle), zoo.load(handle)
    x, contexts = _read(flow, data, context)
    held_out = None
    if validation is not None:
        held_out = _read(flow, validation, validation_context)
    result = training.finetune(
        flow,
        x,
        contexts,
        held_out,
        epochs,
        batch_size,
        learning_rate,
        seed,
        callbacks=[_fit_progress(epochs)],
    )
    flow.save_to_preset(
        folder,
        summary=f"{entry.name}, fine-tuned.",
        data=data.name,
        training={
            "fine-tuned from": entry.name,
            "data": data.name,
            **{name.replace("_", " "): value for name, value in result.settings.items()},
            "best epoch": result.epoch,
            "held-out nll before": result.before.nll,
            "held-out nll": result.after.nll,
        },
    )
    if as_json:
        before, after = result.before._asdict(), result.after._asdict()
        scores = {"before": before, "after": after, "epoch": result.epoch}
        _print_json({"folder": str(folder), **scores, "settings": result.settings})
        return
    kept = f"epoch {result.epoch}" if result.epoch else "the start: no epoch improved on it"
    rows = [
        ("held out, before", f"{result.before.nll:.4f} ± {result.before.standard_error:.4f} nats"),
        ("held out, after", f"{result.after.nll:.4f} ± {result.after.standard_error:.4f} nats"),
        ("held-out examples", f"{result.after.examples:,}"),
        ("best weights", kept),
    ]
    _table(f"saved to {folder}", ("", ""), rows)


def _fit_progress(epochs):
    """A Keras callback that shows epochs and their loss."""
    import keras

    class Callback(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.progress = _progress()
            self.progress.start()
            self.task = self.progress.add_task("compiling", total=epochs)

        def on_epoch_end(self, epoch, logs=None):
            losses = ", ".join(
                f"{title} {logs[name]:.4f}"
                for title, name in (("training", "nll_nats"), ("held out", "val_nll_nats"))
            )
            self.progress.update(self.task, advance=1, description=f"{losses} nats")

        def on_train_end(self, logs=None):
            self.progress.stop()

    return Callback()


class Format(StrEnum):
    """What to export to."""

    saved_model = "saved-model"
    onnx = "onnx"


@command
def export(
    handle: Handle,
    folder: Annotated[Path, typer.Argument(help="New folder to write")],
    format: Annotated[Format, typer.Option("--format", "-f", help="What to write")] = Format.onnx,
    opset: Annotated[int, typer.Option(help="ONNX operator set")] = 17,
    seed: Annotated[int, typer.Option(help="Of the noise in log_prob_fixed", min=0)] = 0,
    as_json: Json = False,
):
    """Export to ONNX or a SavedModel, and check the files against the flow."""
    from keras_flows import export as exports
    from keras_flows import zoo
    from keras_flows.export import manifest

    flow = zoo.load(handle)
    with _err.status(f"exporting to {format.value}, and checking"):
        if format is Format.onnx:
            exports.to_onnx(flow, folder, opset=opset, seed=seed)
        else:
            exports.to_saved_model(flow, folder, seed=seed)
    report = exports.verify(folder)
    costs = {name: graph.cost for name, graph in manifest.read(folder).graphs.items()}
    if as_json:
        costs = {name: cost.model_dump() for name, cost in costs.items()}
        _print_json({**_report_json(folder, report), "graphs": costs})
        return
    _print_checks(folder, report)
    size = "file" if format is Format.onnx else "all files"
    _table(
        None,
        ("graph", size, "nodes", "loads in", "runs on one example in"),
        (
            (
                name,
                f"{cost.bytes / 1000:,.0f} kB",
                f"{cost.nodes:,}",
                f"{cost.load_ms:,.1f} ms",
                f"{cost.latency_ms:,.2f} ms",
            )
            for name, cost in costs.items()
        ),
    )


@command
def verify(
    folder: Annotated[Path, typer.Argument(help="Folder of an export")], as_json: Json = False
):
    """Check an exported folder: checksums, loading, recorded outputs, round trip."""
    from keras_flows import export as exports

    report = exports.verify(folder)
    if as_json:
        _print_json(_report_json(folder, report))
        return
    _print_checks(folder, report)


def _report_json(folder, report):
    return {"folder": str(folder), "checks": [row._asdict() for row in report.rows]}


def _print_checks(folder, report):
    _table(
        f"{folder}: all checks passed",
        ("check", "measured", "tolerance"),
        ((row.check, row.measured, row.tolerance) for row in report.rows),
    )


@command
def certify(handle: Handle, as_json: Json = False):
    """Certify that every residual block is invertible: Lipschitz bounds below 1."""
    from keras_flows import zoo

    certificate = zoo.load(handle).certify()
    if as_json:
        _print_json({"largest": certificate.largest, "bounds": certificate.bounds})
        return
    _table(
        f"{handle}: every block is certified invertible",
        ("block", "Lipschitz bound"),
        ((path, f"{bound:.6f}") for path, bound in certificate.bounds.items()),
    )


@command
def import_checkpoint(
    file: Annotated[Path, typer.Argument(help="Published checkpoint: .npz, .pt or .pth")],
    folder: Annotated[Path, typer.Argument(help="Preset folder to write")],
    config: Annotated[Path, typer.Option(help="JSON file with its configuration")],
    as_json: Json = False,
):
    """Turn a published checkpoint into a preset folder."""
    from keras_flows import zoo

    flow = zoo.import_checkpoint(file, config)
    metadata = flow.save_to_preset(folder, summary=f"Imported from {file.name}.")
    if as_json:
        _print_json(metadata.model_dump())
        return
    rows = [
        ("model", metadata.model),
        ("parameters", f"{metadata.parameters:,}"),
        ("likelihood", metadata.likelihood),
    ]
    if metadata.lipschitz:
        rows.append(("largest Lipschitz bound", f"{metadata.largest_bound:.6f}"))
    _table(f"saved to {folder}", ("", ""), rows)


if __name__ == "__main__":
    app()
