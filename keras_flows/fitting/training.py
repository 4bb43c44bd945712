"""Training on the rows of a table: the best weights by held-out likelihood, and how to resume."""

import json
import time
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_flows.data import batches
from keras_flows.data.schema import Rows
from keras_flows.files import complete_file
from keras_flows.fitting.defaults import Settings
from keras_flows.flow import Flow
from keras_flows.measure import evaluation
from keras_flows.training import upkeep
from keras_flows.training.callbacks import SaveState

STATE, PROGRESS, PLAN = "state.keras", "progress.npz", "plan.json"
SAVE_MINUTES = 1.0
# Steps from which on XLA saves more time than it takes to compile.
COMPILED_FROM = 100


class Trained(NamedTuple):
    """What training did.

    Attributes:
        flow: The flow, with the best weights.
        steps: The steps that were made.
        best_step: The step of the weights that were kept; 0 for those before the first.
        ended: Why it ended: `"steps"` (all were made), `"patience"` or `"minutes"`.
        history: Of every look: `step`, `nll` of the training rows since the look before, and
            `held_out` with its `standard_error`, nats.
    """

    flow: Flow
    steps: int
    best_step: int
    ended: str
    history: list[dict[str, float]]


def train(
    flow: Flow,
    rows: Rows,
    held_out: Rows,
    settings: Settings,
    folder: Path | None = None,
    minutes: float | None = None,
    callbacks: tuple[keras.callbacks.Callback, ...] = (),
) -> Trained:
    """Trains a flow by plain `fit`, looks at held-out rows, and keeps the best weights.

    Args:
        flow: The flow with its first weights, or a compiled one from a saved state.
        rows: The training rows.
        held_out: What to stop by and to choose the weights by.
        settings: See `defaults.Settings`.
        folder: Where to save the state of training, at most once a minute; None for nowhere. If
            it has one of before, that is gone on from.
        minutes: After so many, training stops with the best weights so far.
        callbacks: Keras callbacks, which find `held_out_nll`, `held_out_standard_error` and
            `best_step` in the logs of an epoch.

    Returns:
        A `Trained`.

    Raises:
        NonFiniteError: At the first NaN or infinity.
    """
    if folder is not None and (folder / STATE).exists():
        flow = _resumed(flow, folder)
    else:
        flow.compile(_optimizer(settings), jit_compile=settings.steps >= COMPILED_FROM)
        flow.optimizer.build(flow.trainable_variables)
    start = int(flow.optimizer.iterations)
    best = _HeldOut(flow, held_out, settings, minutes)
    saving = []
    if folder is not None:
        best.resume(folder, start)
        saving = [_Save(folder, best)]
    if not best.rows:
        best.look(0, float("nan"))
    if start < settings.steps and best.ended != "patience":
        flow.fit(
            _batches(flow, rows, settings, start),
            steps_per_epoch=settings.report_every,
            initial_epoch=start // settings.report_every,
            epochs=settings.steps // settings.report_every,
            callbacks=[best, *callbacks, *saving],
            shuffle=False,
            verbose=0,
        )
    best.restore()
    steps = int(flow.optimizer.iterations)
    return Trained(flow, steps, int(best.best["step"]), best.ended, best.rows)


def _optimizer(settings):
    warmup = max(1, settings.steps // 20)
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=settings.learning_rate / (warmup + 1),
        warmup_target=settings.learning_rate,
        warmup_steps=warmup,
        decay_steps=max(1, settings.steps - warmup),
    )
    return keras.optimizers.Adam(schedule, global_clipnorm=5.0)


def _batches(flow, rows, settings, start):
    """The batches from a step on: every epoch has its own order, known from the seed alone."""
    x = tf.constant(rows.x, flow.compute_dtype)
    context = None if rows.context is None else tf.constant(rows.context, flow.context_dtype)
    size, epoch = settings.batch_size, max(1, len(rows) // settings.batch_size)
    orders: dict[int, np.ndarray] = {}

    def places(step):
        number, place = divmod(int(step), epoch)
        if number not in orders:
            orders.clear()
            orders[number] = batches.generator(settings.seed, number).permutation(len(rows))
        return orders[number][place * size : (place + 1) * size]

    def draw(step):
        chosen = tf.ensure_shape(tf.numpy_function(places, [step], tf.int64), (size,))
        if context is None:
            return tf.gather(x, chosen)
        return tf.gather(x, chosen), tf.gather(context, chosen)

    steps = settings.steps - start
    data = tf.data.Dataset.range(start, settings.steps).map(draw)
    return data.apply(tf.data.experimental.assert_cardinality(steps)).prefetch(2)


class _HeldOut(keras.callbacks.Callback):
    """Looks at held-out rows after every epoch, keeps the best weights, and knows when to stop."""

    def __init__(self, flow, held_out, settings, minutes):
        super().__init__()
        self._flow, self._held_out, self._settings = flow, held_out, settings
        self._seconds = None if minutes is None else 60.0 * minutes
        self._began = time.monotonic()
        self.rows: list[dict[str, Any]] = []
        self.best: dict[str, Any] = {"step": 0, "held_out": float("inf")}
        self.weights: list[np.ndarray] = []
        self.ended = "steps"

    def look(self, step, nll):
        """Scores the held-out rows, all looks with the same draws."""
        with upkeep.restored(self._flow):
            self._flow.converge()
            result = evaluation.evaluate(self._flow, self._held_out.x, self._held_out.context)
            row = {
                "step": step,
                "nll": nll,
                "held_out": result.nll,
                "standard_error": result.standard_error,
            }
            self.rows.append(row)
            if not self.weights or result.nll < self.best["held_out"]:
                self.best = row
                self.weights = [weight.numpy() for weight in upkeep.copies(self._flow)]
        return row

    def on_epoch_end(self, epoch, logs=None):
        row = self.look(int(self.model.optimizer.iterations), float(logs["nll_nats"]))
        logs["held_out_nll"] = row["held_out"]
        logs["held_out_standard_error"] = row["standard_error"]
        logs["best_step"] = self.best["step"]
        since = (row["step"] - self.best["step"]) // self._settings.report_every
        late = self._seconds is not None and time.monotonic() - self._began > self._seconds
        if row["step"] < self._settings.steps and (since >= self._settings.patience or late):
            self.ended = "minutes" if late else "patience"
            self.model.stop_training = True

    def restore(self):
        """Puts the best weights into the flow."""
        upkeep.put_back(self._flow, self.weights)

    def resume(self, folder, start):
        """Takes up what was before a step, where there is a file of it."""
        if start == 0:
            return
        with np.load(folder / PROGRESS, allow_pickle=False) as file:
            content = json.loads(str(file["history"]))
            self.weights = [file[f"weight_{i}"] for i in range(len(self._flow.weights))]
        # The file may be of a look after the state, which will be made again.
        self.rows = [row for row in content["rows"] if row["step"] <= start]
        self.best = content["best"]


class _Save(SaveState):
    """Saves the best weights and the history, then the state that they belong to."""

    def __init__(self, folder, best):
        super().__init__(folder / STATE, SAVE_MINUTES)
        self._progress, self._best = folder / PROGRESS, best

    def save(self):
        """Writes both files, each complete or not at all."""
        weights = {f"weight_{i}": value for i, value in enumerate(self._best.weights)}
        history = json.dumps({"rows": self._best.rows, "best": self._best.best})
        with complete_file(self._progress) as partial:
            np.savez(partial, history=history, **weights)
        super().save()


def _resumed(flow, folder):
    """The flow of a saved state, which is as `flow` is but for its weights and optimizer."""
    loaded = keras.models.load_model(folder / STATE)
    loaded.schema = flow.schema
    return loaded
