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
    as_json: Json = False,
):
    """Train a flow by a recipe, test it, and save it as a preset."""
    import dataclasses

    from keras_flows.models import registry
    from keras_flows.training import run as runner

    chosen = registry.recipe(recipe)
    if steps is not None:
        chosen = dataclasses.replace(chosen, steps=steps)
    say(f"training {recipe}; the first step is compiled, which can take minutes")
    metadata = runner.train(recipe, chosen, output, data_dir, cache_dir, resume, err)
    if as_json:
        print_json(metadata.model_dump())
        return
    test = metadata.test
    rows = [("test", f"{test.nll:.4f} ± {test.standard_error:.4f} nats ({test.data})")]
    if test.bits_per_dim is not None:
        rows.append(("bits per dimension", f"{test.bits_per_dim:.4f}"))
    print_table(f"saved to {output / recipe}", ("", ""), rows)


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
    batch_size: Annotated[int, typer.Option(min=1)] = 500,
    learning_rate: Annotated[float, typer.Option(min=0)] = 1e-4,
    seed: Annotated[int, typer.Option(help="Of shuffling and random draws")] = 0,
    as_json: Json = False,
):
    """Fine-tune a preset on new examples and save the result as a preset."""
    import keras

    from keras_flows import zoo
    from keras_flows.zoo import preset

    preset.check_target(folder)
    keras.utils.set_random_seed(seed)
    entry, flow = zoo.show(handle), zoo.load(handle)
    x, contexts = read(flow, data, context, columns, header)
    held_out = None
    if validation is not None:
        held_out = read(flow, validation, validation_context, columns, header)
    flow.compile(keras.optimizers.Adam(learning_rate))
    with working("compiling the first step", epochs) as progress:
        history = flow.fit(
            x,
            contexts,
            epochs=epochs,
            batch_size=min(batch_size, len(x)),
            validation_data=held_out,
            verbose=0,
            callbacks=[_fit_progress(progress, epochs)],
        )
    name = "standard input" if str(data) == "-" else data.name
    training = {
        "fine-tuned from": entry.name,
        "data": name,
        "examples": len(x),
        "epochs": epochs,
        "batch size": batch_size,
        "learning rate": learning_rate,
        "seed": seed,
    }
    flow.save_to_preset(folder, summary=f"{entry.name}, fine-tuned.", data=name, training=training)
    last = {name: float(values[-1]) for name, values in history.history.items()}
    if as_json:
        print_json({"folder": str(folder), **last})
        return
    rows = ((key, f"{value:.4f}") for key, value in last.items())
    print_table(f"saved to {folder}", ("", "last epoch"), rows)


def _fit_progress(progress, epochs):
    """A Keras callback that shows epochs and their loss."""
    import keras

    class Callback(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 0 and self.model.optimizer.iterations == 1:
                progress.describe("epoch 1")

        def on_epoch_end(self, epoch, logs=None):
            losses = ", ".join(
                f"{name} {logs[name]:.4f}" for name in ("loss", "val_loss") if name in logs
            )
            progress.advance()
            progress.describe(f"{losses} nats")

    return Callback()
