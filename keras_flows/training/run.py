"""Runs a recipe: trains, reports, resumes where it was stopped, tests, writes a preset."""

import csv
import dataclasses
import json
import math
import tempfile
import time
from pathlib import Path

import keras
import numpy as np
import rich.console
import rich.progress
import tensorflow as tf

from keras_flows import data as data_sets
from keras_flows import training
from keras_flows.errors import ConvergenceError
from keras_flows.measure import evaluation as evaluate
from keras_flows.models import registry
from keras_flows.plot.tiles import image_grid
from keras_flows.zoo.preset import METADATA

TEST_SEED = 2**31  # of toy densities; training seeds are below it
TEST_POINTS = 100_000
SAVE_MINUTES = 5.0


def train(name, recipe, output, data_dir=None, cache_dir=None, resume=False, console=None):
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

    Returns:
        The `Metadata` of the preset.

    Raises:
        FileNotFoundError: If the data are not there.
        NonFiniteError: At the first NaN or infinity.
        ValueError: If the recipe does not fit together, there is a saved state and `resume` is not
            set, or that state is of another recipe.
    """
    console = console or rich.console.Console(stderr=True)
    output = Path(output)
    folder, work = output / name, output / f"{name}.training"
    if folder.exists() and any(folder.iterdir()) and not (folder / METADATA).exists():
        raise ValueError(f"{folder} exists, and is not a preset; choose another output folder.")
    every = min(recipe.report_every, recipe.steps)
    if recipe.steps % every:
        raise ValueError(
            f"The number of steps must be a multiple of {every}, the steps between reports of this "
            f"recipe, or below it; got {recipe.steps}."
        )
    source = (_Toy if "toy" in recipe.data else _Pictures)(recipe, data_dir, cache_dir)
    state = work / "state.keras"
    _check_state(state, recipe, resume)
    work.mkdir(parents=True, exist_ok=True)
    (work / "recipe.json").write_text(json.dumps(dataclasses.asdict(recipe), indent=2) + "\n")

    if state.exists():
        flow = keras.models.load_model(state)
        flow.optimizer.learning_rate = _schedule(recipe)  # it may have more cycles than the state's
    else:
        flow = build(recipe, source.train)
    start = int(flow.optimizer.iterations)
    _drop_rows(work / "history.csv", start // every)
    if start:
        console.print(f"resuming at step {start:,}")
    if start < recipe.steps:
        columns = (
            *rich.progress.Progress.get_default_columns(),
            rich.progress.MofNCompleteColumn(),
        )
        with rich.progress.Progress(*columns, console=console, transient=True) as progress:
            flow.fit(
                source.train.dataset(recipe.batch_size, recipe.steps, recipe.seed, start),
                steps_per_epoch=every,
                initial_epoch=start // every,
                epochs=recipe.steps // every,
                callbacks=[
                    _Report(recipe, source, work, progress),
                    keras.callbacks.CSVLogger(work / "history.csv", append=True),
                    training.TensorBoardScalars(work / "tensorboard"),
                    training.SaveState(state, SAVE_MINUTES),
                ],
                shuffle=False,
                verbose=0,
            )
    flow.optimizer.finalize_variable_values(flow.trainable_variables)
    flow.converge()
    console.print("testing")
    return _write_preset(flow, recipe, source, work, folder)


def build(recipe, source):
    """A compiled flow at the start of a recipe.

    Args:
        recipe: A `keras_flows.training.Recipe`.
        source: The training data: a `ToyDensity` or `Images`.

    Raises:
        ValueError: If the recipe does not fit together.
    """
    keras.utils.set_random_seed(recipe.seed)
    arguments = {"event_shape": source.event_shape, "seed": recipe.seed, **recipe.arguments}
    flow = registry.model(recipe.model)(**arguments)
    if flow.bits is not None and flow.bits != source.bits:
        raise ValueError(
            f"The flow takes integers of {flow.bits} bits, but the data have {source.bits}."
        )
    layers = flow._flatten_layers()
    if recipe.ema and any(isinstance(x, keras.layers.BatchNormalization) for x in layers):
        raise ValueError(
            "The flow has batch normalisation, whose statistics are those of the present weights, "
            "not of the averaged ones: set ema to None."
        )
    options = dict(recipe.optimizer)
    optimizer = getattr(keras.optimizers, options.pop("class_name"))
    flow.compile(
        optimizer(
            _schedule(recipe),
            global_clipnorm=recipe.clip_norm,
            use_ema=recipe.ema is not None,
            **({} if recipe.ema is None else {"ema_momentum": recipe.ema}),
            **options,
        ),
        jit_compile=recipe.jit_compile,
    )
    # Built before the first step, so that a run without one can be tested and saved, too.
    flow.optimizer.build(flow.trainable_variables)
    return flow


def _schedule(recipe):
    options = dict(recipe.schedule)
    kind = options.pop("class_name")
    if kind == "WarmUp":
        return training.WarmUp(**options)
    if kind == "CosineDecay":
        restarts = [pair for pair in options.get("restarts", ()) if pair[0] < recipe.steps]
        starts, rates = zip((0, options["learning_rate"]), *restarts, strict=True)
        lengths = np.diff([*starts, recipe.steps])
        cycles = [
            _cosine(rate, int(length), options["warmup_steps"])
            for rate, length in zip(rates, lengths, strict=True)
        ]
        return cycles[0] if len(cycles) == 1 else training.Cycles(cycles, starts)
    raise ValueError(f"The schedules are CosineDecay and WarmUp; got {kind!r}.")


def _cosine(rate, steps, warmup):
    warmup = min(warmup, steps - 1)
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0,
        decay_steps=steps - warmup,
        warmup_target=rate,
        warmup_steps=warmup,
    )


# What is trained on -------------------------------------------------------------------------------


class _Toy:
    """A toy density: fresh draws for training and testing."""

    def __init__(self, recipe, data_dir, cache_dir):
        from keras_flows import plot  # needs matplotlib: now, not after the first report

        self._plot = plot
        self.train = data_sets.toy(recipe.data["toy"])
        self.validation = self.train.sample(recipe.validation_examples, seed=(TEST_SEED, 1))
        self.batch_size = 10_000
        self.title = self.train.name.replace("_", " ")
        self.description = f"{self.title}, drawn fresh for every step"

    def draw(self, flow, path):
        """Writes a picture of the density and of samples."""
        figure = self._plot.density(flow, self.train.bounds, self.train.log_prob)
        figure.savefig(path, dpi=100)

    def test(self, flow):
        """The test result, as the metadata of a preset have it."""
        data = f"{self.title}, fresh points, seed {TEST_SEED}"
        return {**score_on_toy(flow, self.train), "data": data}


def score_on_toy(flow, density):
    """Scores a flow on `TEST_POINTS` points that no training run uses.

    Args:
        flow: A flow on the plane, its norms converged.
        density: The `ToyDensity` they are drawn from.

    Returns:
        Dictionary with `nll`, `standard_error`, `examples`, `kl_divergence` and
        `kl_standard_error`, in nats.
    """
    x = density.sample(TEST_POINTS, seed=TEST_SEED)
    scores = evaluate.log_probs(flow, x)
    result = evaluate.summary(flow, scores)
    # Point by point, so that the noise of the entropy cancels.
    excess = density.log_prob(x) - scores
    return {
        "nll": result.nll,
        "standard_error": result.standard_error,
        "examples": result.examples,
        "kl_divergence": float(excess.mean()),
        "kl_standard_error": float(excess.std(ddof=1) / len(excess) ** 0.5),
    }


class _Pictures:
    """A set of images: its training and test splits."""

    def __init__(self, recipe, data_dir, cache_dir):
        options = dict(recipe.data)
        name = options.pop("images")
        splits = options.pop("train", "train"), options.pop("test", "test")
        common = {"data_dir": data_dir, "cache_dir": cache_dir}
        self.train = data_sets.images(name, splits[0], **common, **options)
        plain = {key: value for key, value in options.items() if key in ("bits", "resize")}
        self._test = data_sets.images(name, splits[1], **common, **plain)
        self.validation = self._test.pixels[: recipe.validation_examples]
        self.batch_size = recipe.batch_size
        self._importance_samples = recipe.importance_samples
        height, width, _ = self.train.event_shape
        self.description = (
            f"{self.train.name}: {len(self.train):,} images, {height}×{width}, "
            f"{self.train.bits} bits"
        )

    def draw(self, flow, path):
        """Writes a picture of samples, eight by eight."""
        # White is the highest level of the data: that of the digits is half of what 5 bits hold.
        highest = max(float(self.validation.max()), 1.0)
        picture = image_grid(flow.sample(64, seed=0), highest=highest)
        # Whole screen pixels for an image's, at least 400 of them across.
        size = math.ceil(400 / picture.shape[1])
        picture = picture.repeat(size, 0).repeat(size, 1)
        path.write_bytes(tf.io.encode_png(picture).numpy())

    def test(self, flow):
        """The test result, as the metadata of a preset have it."""
        result = evaluate.evaluate(
            flow,
            self._test.pixels,
            batch_size=self.batch_size,
            importance_samples=self._importance_samples,
        )
        return {
            "nll": result.nll,
            "standard_error": result.standard_error,
            "examples": result.examples,
            "bits_per_dim": result.bits_per_dim,
            "importance_samples": result.importance_samples,
            "data": self._test.name,
        }


# The run ------------------------------------------------------------------------------------------


class _Report(keras.callbacks.Callback):
    """Validates, draws samples, prints a line; the callbacks after it log what it adds."""

    def __init__(self, recipe, source, work, progress):
        super().__init__()
        self.recipe, self.source, self.work, self.progress = recipe, source, work, progress

    def on_train_begin(self, logs=None):
        done = int(self.model.optimizer.iterations)
        self.task = self.progress.add_task("training", total=self.recipe.steps, completed=done)

    def on_epoch_begin(self, epoch, logs=None):
        self.began = time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        self.progress.advance(self.task)

    def on_epoch_end(self, epoch, logs=None):
        flow, step = self.model, int(self.model.optimizer.iterations)
        logs["step"] = step
        logs["seconds"] = time.monotonic() - self.began
        logs["learning_rate"] = float(flow.optimizer.learning_rate)
        last = epoch + 1 == self.params["epochs"]
        with training.averaged(flow):
            held_out = evaluate.evaluate(
                flow, self.source.validation, batch_size=self.source.batch_size
            )
            logs["val_nll_nats"] = held_out.nll
            logs["val_nll_standard_error"] = held_out.standard_error
            if held_out.bits_per_dim is not None:
                logs["val_bits_per_dim"] = held_out.bits_per_dim
            if (epoch + 1) % self.recipe.samples_every == 0 or last:
                self._draw(flow, step)
        pace = 1000 * logs["seconds"] / self.params["steps"]
        self.progress.console.print(
            f"step {step:,} of {self.recipe.steps:,}: {_score(flow, logs, '')}, held out "
            f"{_score(flow, logs, 'val_')}, {pace:.0f} ms a step",
            highlight=False,
            soft_wrap=True,
        )

    def _draw(self, flow, step):
        path = self.work / "samples" / f"step-{step:08}.png"
        path.parent.mkdir(exist_ok=True)
        try:
            self.source.draw(flow, path)
        except ConvergenceError as error:
            # Not for a picture's sake should hours of training end.
            message = f"no samples at step {step:,}: {error}"
            self.progress.console.print(message, highlight=False, markup=False, soft_wrap=True)


def _score(flow, logs, prefix):
    """Mean and, where there is one, standard error, with the unit."""
    nll, error = logs[f"{prefix}nll_nats"], logs.get(f"{prefix}nll_standard_error")
    scale, unit = 1.0, "nats"
    if flow.transform.dequantizes:
        scale, unit = 1.0 / (math.prod(flow.event_shape) * math.log(2.0)), "bits/dim"
    spread = "" if error is None else f" ± {error * scale:.4f}"
    return f"{nll * scale:.4f}{spread} {unit}"


def _check_state(state, recipe, resume):
    if not state.exists():
        return
    if not resume:
        raise ValueError(
            f"{state} is there from a run before: resume it (--resume), or remove {state.parent}."
        )
    before = json.loads((state.parent / "recipe.json").read_text())
    now = json.loads(json.dumps(dataclasses.asdict(_first_cycles(recipe, before["steps"]))))
    changed = [
        f"{key} was {before.get(key)!r} and is {now.get(key)!r}"
        for key in now | before
        if before.get(key) != now.get(key)
    ]
    if changed:
        raise ValueError(
            f"{state} is of another recipe: {'; '.join(changed)}. Choose another output folder."
        )


def _first_cycles(recipe, steps):
    """The recipe up to a restart at that step; where there is none, the whole recipe."""
    restarts = recipe.schedule.get("restarts", ())
    if steps not in dict(restarts):
        return recipe
    schedule = {key: value for key, value in recipe.schedule.items() if key != "restarts"}
    earlier = [pair for pair in restarts if pair[0] < steps]
    if earlier:
        schedule["restarts"] = earlier
    return dataclasses.replace(recipe, steps=steps, schedule=schedule)


def _drop_rows(path, epoch):
    """Leaves out the rows of a history that a resumed run will write again."""
    if not path.exists():
        return
    rows = path.read_bytes().splitlines(keepends=True)
    kept = [row for row in rows[1:] if int(row.split(b",")[0]) < epoch]
    path.write_bytes(b"".join([*rows[:1], *kept]) if kept else b"")


def _write_preset(flow, recipe, source, work, folder):
    """Tests a trained flow and writes it as a preset."""
    described = dataclasses.asdict(recipe)
    summary = described.pop("summary")
    known = registry.RECIPES.get(folder.name)
    if known is not None and dataclasses.replace(known, steps=recipe.steps) == recipe:
        changed = "" if known == recipe else f" --steps {recipe.steps}"
        described = {"command": f"keras-flows train {folder.name}{changed}", **described}
    with open(work / "history.csv", newline="") as file:
        history = list(csv.DictReader(file))
    with tempfile.TemporaryDirectory() as scratch:
        picture = Path(scratch) / ("density.png" if "toy" in recipe.data else "samples.png")
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
