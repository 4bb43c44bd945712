"""Commands that fit flows: train, finetune."""

from pathlib import Path
from typing import Annotated

import typer

from keras_flows.cli.arguments import Columns, Context, Data, DataDir, Handle, Header, Json, read
from keras_flows.cli.console import command, err, print_json, print_table, say, working


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
    workers: Annotated[
        str | None,
        typer.Option(help="Train on several machines: HOST:PORT of all workers, with commas"),
    ] = None,
    worker: Annotated[
        int | None, typer.Option(help="Which of --workers this process is, from 0", min=0)
    ] = None,
    as_json: Json = False,
):
    """Train a flow by a recipe, test it, and save it as a preset."""
    import dataclasses

    strategy = _joined(workers, worker)  # before anything else has TensorFlow work

    from keras_flows.models import registry
    from keras_flows.training import run as runner

    chosen = registry.recipe(recipe)
    if steps is not None:
        chosen = dataclasses.replace(chosen, steps=steps)
    say(f"training {recipe}; the first step is compiled, which can take minutes")
    metadata = runner.train(recipe, chosen, output, data_dir, cache_dir, resume, err, strategy)
    if metadata is None:
        say(f"done; worker 0 has saved {output / recipe}")
        return
    if as_json:
        print_json(metadata.model_dump())
        return
    test = metadata.test
    assert test is not None  # a run ends with one
    rows = [("test", f"{test.nll:.4f} ± {test.standard_error:.4f} nats ({test.data})")]
    if test.bits_per_dim is not None:
        rows.append(("bits per dimension", f"{test.bits_per_dim:.4f}"))
    print_table(f"saved to {output / recipe}", ("", ""), rows)


def _joined(addresses, index):
    """The strategy of several workers, None for one."""
    if (addresses is None) != (index is None):
        raise ValueError(
            "--workers has the addresses of all workers, --worker says which of them this process "
            "is: give both, or neither."
        )
    if addresses is None:
        return None
    from keras_flows.training import workers

    all_of_them = workers.addresses(addresses)
    say(f"worker {index} of {len(all_of_them)}: waiting for the others")
    return workers.join(all_of_them, index)


@command
def finetune(
    handle: Handle,
    data: Data,
    folder: Annotated[Path, typer.Argument(help="Preset folder to write")],
    context: Context = None,
    validation: Annotated[Path | None, typer.Option(help="Held-out examples")] = None,
    validation_context: Annotated[Path | None, typer.Option(help="Their contexts")] = None,
    columns: Columns = None,
    header: Header = None,
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

    Without --validation, a fifth of the examples is held out.
    """
    from keras_flows import training, zoo
    from keras_flows.zoo import preset

    preset.check_target(folder)
    entry, flow = zoo.show(handle), zoo.load(handle)
    x, contexts = read(flow, data, context, columns, header)
    held_out = None
    if validation is not None:
        held_out = read(flow, validation, validation_context, columns, header)
    with working("compiling the first step", epochs) as progress:
        result = training.finetune(
            flow,
            x,
            contexts,
            held_out,
            epochs,
            batch_size,
            learning_rate,
            seed,
            callbacks=[_fit_progress(progress)],
        )
    name = "standard input" if str(data) == "-" else data.name
    described = {
        "fine-tuned from": entry.name,
        "data": name,
        **{name.replace("_", " "): value for name, value in result.settings.items()},
        "best epoch": result.epoch,
        "held-out nll before": result.before.nll,
        "held-out nll": result.after.nll,
    }
    summary = f"{entry.name}, fine-tuned."
    flow.save_to_preset(folder, summary=summary, data=name, training=described)
    if as_json:
        before, after = result.before._asdict(), result.after._asdict()
        scores = {"before": before, "after": after, "epoch": result.epoch}
        print_json({"folder": str(folder), **scores, "settings": result.settings})
        return
    kept = f"epoch {result.epoch}" if result.epoch else "the start: no epoch improved on it"
    rows = [
        ("held out, before", f"{result.before.nll:.4f} ± {result.before.standard_error:.4f} nats"),
        ("held out, after", f"{result.after.nll:.4f} ± {result.after.standard_error:.4f} nats"),
        ("held-out examples", f"{result.after.examples:,}"),
        ("best weights", kept),
    ]
    print_table(f"saved to {folder}", ("", ""), rows)


def _fit_progress(progress):
    """A Keras callback that shows epochs and their scores."""
    import keras

    class Callback(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 0 and self.model.optimizer.iterations == 1:
                progress.describe("epoch 1")

        def on_epoch_end(self, epoch, logs=None):
            losses = ", ".join(
                f"{title} {logs[name]:.4f}"
                for title, name in (("training", "nll_nats"), ("held out", "val_nll_nats"))
            )
            progress.advance()
            progress.describe(f"{losses} nats")

    return Callback()
