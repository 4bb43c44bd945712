"""Runs a recipe: trains, reports, resumes where it was stopped, tests, writes a preset."""

import csv
import dataclasses
import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import rich.console
import rich.progress
import tensorflow as tf

from keras_flows.data import Images, ToyDensity
from keras_flows.files import locked
from keras_flows.flow import Flow
from keras_flows.models import registry
from keras_flows.training import distributed, report, sources, state, workers
from keras_flows.training.adaptation import adapt
from keras_flows.training.callbacks import SaveState, TensorBoardScalars
from keras_flows.training.recipe import Recipe, check_name
from keras_flows.training.rounding import round_weights
from keras_flows.transforms import Standardize
from keras_flows.transforms.chain import flattened
from keras_flows.zoo.metadata import Metadata
from keras_flows.zoo.preset import check_target

SAVE_MINUTES = 5.0
# Examples whose location and scale a `Standardize` takes.
ADAPTED_TO = 10_000


def train(
    name: str,
    recipe: Recipe,
    output: str | Path,
    data_dir: str | Path | None = None,
    cache_dir: str | Path | None = None,
    resume: bool = False,
    console: rich.console.Console | None = None,
    strategy: tf.distribute.Strategy | None = None,
) -> Metadata | None:
    """Trains a flow and writes it as the preset `output/name`.

    Beside it, `output/name.training` holds the state to resume from (saved with a report, at most
    every five minutes), `history.csv`, files for TensorBoard, and pictures of samples. Everything
    random is keyed by the recipe's seed and the number of the step, so a run that was killed and
    resumed ends with the weights of one that was not.

    Args:
        name: Name of the preset.
        recipe: A `keras_flows.training.Recipe`.
        output: Folder.
        data_dir: Where TensorFlow Datasets finds its data; see `keras_flows.data.images`.
        cache_dir: A folder for decoded images; see there.
        resume: Whether to go on from a saved state, where there is one: of this recipe, or of the
            one that ends where this one has a restart.
        console: A `rich.console.Console` for the reports; standard error by default.
        strategy: A `tf.distribute.Strategy` to train under: several devices of this machine, or
            several workers. A batch of the recipe is that of all of them together. The first
            worker reads and writes the files of the run, the others none.

    Returns:
        The `Metadata` of the preset; None on a worker other than the first.

    Raises:
        BlockingIOError: If another process is training there.
        ConnectionError: If another worker is gone.
        FileNotFoundError: If the data are not there.
        NonFiniteError: At the first NaN or infinity.
        OSError: If something cannot be written. A state that was saved before is complete.
        ValueError: If the recipe does not fit together, there is a saved state and `resume` is not
            set, or that state is of another recipe.
    """
    console = console or rich.console.Console(stderr=True)
    strategy = strategy or tf.distribute.get_strategy()
    check_name(name)
    every = min(recipe.report_every, recipe.steps)
    if recipe.steps % every:
        raise ValueError(
            f"The number of steps must be a multiple of {every}, the steps between reports of this "
            f"recipe, or below it; got {recipe.steps}."
        )
    if not workers.is_first(strategy):
        return _help(recipe, sources.source(recipe, data_dir, cache_dir), every, console, strategy)
    output = Path(output)
    folder, work = output / name, output / f"{name}.training"
    check_target(folder)
    data = sources.source(recipe, data_dir, cache_dir)
    path = work / "state.keras"
    state.check(path, recipe, resume)
    # What does not fit together is said before anything is written.
    flow = None
    if strategy.num_replicas_in_sync > 1 or not path.exists():
        with strategy.scope():
            flow = build(recipe, data.train)
    output.mkdir(parents=True, exist_ok=True)
    with locked(work / "lock", f"trains into {work}"):
        state.check(path, recipe, resume)
        state.write_recipe(work / "recipe.json", recipe)
        flow = _at_start(flow, recipe, path, strategy)
        callbacks = [
            keras.callbacks.CSVLogger(work / "history.csv", append=True),
            TensorBoardScalars(work / "tensorboard"),
            SaveState(work / "state.keras", SAVE_MINUTES),
        ]
        state.drop_rows(work / "history.csv", int(flow.optimizer.iterations.numpy()) // every)
        with _progress(console) as progress:
            reports = report.Report(recipe, data, work, progress)
            _fit(flow, recipe, data, every, console, [reports, *callbacks])
        flow.optimizer.finalize_variable_values(flow.trainable_variables)
        if recipe.weight_bits is not None:
            round_weights(flow, recipe.weight_bits)
        flow.converge()
        console.print("testing")
        metadata = _write_preset(flow, recipe, data, work, folder)
        workers.wait(strategy)
        return metadata


def _at_start(flow: Flow | None, recipe, path, strategy) -> Flow:
    """The flow that a run begins with: the one that was built, or as its state has it."""
    saved: Any = state.load(path) if flow is None or path.exists() else None
    if flow is not None and strategy.num_replicas_in_sync > 1:
        state.share(strategy, flow, saved)
        return flow
    if flow is not None and saved is None:
        return flow
    # It may have more cycles than the state's.
    saved.optimizer.learning_rate = recipe.schedule.make(recipe.steps)
    return saved


def _help(recipe, data, every, console, strategy):
    """What a worker does that is not the first: its part of every step."""
    with strategy.scope():
        flow = build(recipe, data.train)
    state.share(strategy, flow, None)
    _fit(flow, recipe, data, every, console, [])
    console.print("waiting for the first worker, which tests and saves the flow")
    workers.wait(strategy)


def _progress(console):
    columns = (
        *rich.progress.Progress.get_default_columns(),
        rich.progress.MofNCompleteColumn(),
    )
    return rich.progress.Progress(*columns, console=console, transient=True)


def _fit(flow, recipe, data, every, console, callbacks):
    """Trains a flow from where it stands to the end of the recipe."""
    start = int(flow.optimizer.iterations.numpy())
    if start:
        console.print(f"resuming at step {start:,}")
    if start >= recipe.steps:
        return
    flow.fit(
        data.train.dataset(recipe.batch_size, recipe.steps, recipe.seed, start),
        steps_per_epoch=every,
        initial_epoch=start // every,
        epochs=recipe.steps // every,
        callbacks=callbacks,
        shuffle=False,
        verbose=0,
    )


def build(recipe: Recipe, source: ToyDensity | Images) -> Flow:
    """A compiled flow at the start of a recipe.

    Args:
        recipe: A `keras_flows.training.Recipe`.
        source: The training data: a `ToyDensity` or `Images`.

    Raises:
        ValueError: If the recipe does not fit together.
    """
    keras.utils.set_random_seed(recipe.seed)
    arguments = {"event_shape": source.event_shape, "seed": recipe.seed, **recipe.arguments}
    if isinstance(source, Images) and source.classes is not None:
        arguments |= _label_arguments(arguments, source.classes)
    flow = registry.model(recipe.model)(**arguments)
    bits = source.bits if isinstance(source, Images) else None
    if flow.bits is not None and flow.bits != bits:
        have = "are real numbers" if bits is None else f"have {bits}"
        raise ValueError(f"The flow takes integers of {flow.bits} bits, but the data {have}.")
    if any(isinstance(step, Standardize) for step in flattened(flow.transform)):
        given = next(iter(source.dataset(ADAPTED_TO, 1, recipe.seed)))
        x, context = given if isinstance(given, tuple) else (given, None)
        adapt(flow, x, context, recipe.seed)
    layers = flow._flatten_layers()
    if recipe.ema and any(isinstance(x, keras.layers.BatchNormalization) for x in layers):
        raise ValueError(
            "The flow has batch normalisation, whose statistics are those of the present weights, "
            "not of the averaged ones: set ema to None."
        )
    averages = {} if recipe.ema is None else {"use_ema": True, "ema_momentum": recipe.ema}
    optimizer = recipe.optimizer.make(
        learning_rate=recipe.schedule.make(recipe.steps),
        global_clipnorm=recipe.clip_norm,
        **averages,
    )
    # What a recipe says of XLA is for one replica; no number depends on it.
    compiled = recipe.jit_compile if distributed.compiles(flow) else "auto"
    flow.compile(optimizer, jit_compile=compiled)
    # Built before the first step, so that a run without one can be tested and saved, too.
    flow.optimizer.build(flow.trainable_variables)
    return flow


def _label_arguments(arguments, classes):
    """The arguments of a model that make it conditional on the labels of the data."""
    wanted = {"class_name": "Embedding", "config": {"input_dim": classes, "output_dim": 16}}
    embedding = arguments.get("context_embedding")
    if isinstance(embedding, Mapping):
        embedding = keras.layers.deserialize({"module": "keras.layers", **embedding})
    if not isinstance(embedding, keras.layers.Embedding) or embedding.input_dim != classes:
        raise ValueError(
            f"The data have labels of {classes} classes: the model needs the argument "
            f"context_embedding, such as {wanted}; got {arguments.get('context_embedding')!r}."
        )
    return {"context_shape": (), "context_embedding": embedding}


def _write_preset(flow, recipe, source, work, folder):
    """Tests a trained flow and writes it as a preset."""
    described = recipe.to_json()
    summary = described.pop("summary")
    known = registry.RECIPES.get(folder.name)
    if known is not None and dataclasses.replace(known, steps=recipe.steps) == recipe:
        changed = "" if known == recipe else f" --steps {recipe.steps}"
        described = {"command": f"keras-flows train {folder.name}{changed}", **described}
    with open(work / "history.csv", newline="") as file:
        history = list(csv.DictReader(file))
    with tempfile.TemporaryDirectory() as scratch:
        picture = Path(scratch) / source.picture
        source.draw(flow, picture)
        return flow.save_to_preset(
            folder,
            summary=summary,
            data=source.description,
            test=source.test(flow),
            training={
                **described,
                "hours": round(sum(float(row["seconds"]) for row in history) / 3600, 2),
                "learning_curve": _learning_curve(history),
            },
            picture=picture,
        )


def _learning_curve(history):
    """Held-out score by step, from at most ten rows of the history, the last among them."""
    column = "val_bits_per_dim" if "val_bits_per_dim" in history[0] else "val_nll_nats"
    some = history[-1 :: -math.ceil(len(history) / 10)]
    return {row["step"]: round(float(row[column]), 4) for row in reversed(some)}
