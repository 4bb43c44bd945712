"""Pieces of a training run: learning rates, averaged weights, exact resume, an error at NaN."""

import contextlib
import itertools
import os
import pathlib
import time

import keras
import tensorflow as tf

from keras_flows.errors import NonFiniteError


@keras.saving.register_keras_serializable("keras_flows")
class WarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that rises linearly, then stays or falls by a factor from epoch to epoch.

    `rate(t) = learning_rate · min(1, (t + 1) / warmup_steps) · decay^⌊t / decay_steps⌋` at step
    t = 0, 1, …; from step `final_start` on, it is `final_rate`.

    Sources: the schedules of Chen et al. 2019, *Residual Flows* (no decay), and of Grcić et al.
    2021, *Densely connected normalizing flows*.

    Args:
        learning_rate: The highest rate.
        warmup_steps: Steps of the rise.
        decay: Factor from epoch to epoch.
        decay_steps: Steps in an epoch.
        final_rate: The rate at the end, None for no such part.
        final_start: The step at which that part begins.
    """

    def __init__(
        self,
        learning_rate,
        warmup_steps,
        decay=1.0,
        decay_steps=1,
        final_rate=None,
        final_start=None,
    ):
        if min(learning_rate, warmup_steps, decay, decay_steps) <= 0:
            raise ValueError(
                "learning_rate, warmup_steps, decay and decay_steps must be positive; got "
                f"{learning_rate}, {warmup_steps}, {decay} and {decay_steps}."
            )
        if (final_rate is None) != (final_start is None):
            raise ValueError("final_rate and final_start go together: give both, or neither.")
        self._config = {
            "learning_rate": learning_rate,
            "warmup_steps": warmup_steps,
            "decay": decay,
            "decay_steps": decay_steps,
            "final_rate": final_rate,
            "final_start": final_start,
        }

    def __call__(self, step):
        config = self._config
        t = tf.cast(step, "float32")
        rate = config["learning_rate"] * tf.minimum((t + 1.0) / config["warmup_steps"], 1.0)
        rate *= tf.pow(config["decay"], tf.floor(t / config["decay_steps"]))
        if config["final_rate"] is None:
            return rate
        return tf.where(t >= config["final_start"], config["final_rate"], rate)

    def get_config(self):
        return dict(self._config)


@keras.saving.register_keras_serializable("keras_flows")
class Cycles(keras.optimizers.schedules.LearningRateSchedule):
    """Schedules one after the other: warm restarts.

    `rate(t) = schedule_i(t - start_i)` with the last i of which `start_i ≤ t`.

    Source: Loshchilov and Hutter 2017, *SGDR: Stochastic gradient descent with warm restarts*.

    Args:
        schedules: A `keras.optimizers.schedules.LearningRateSchedule` for each cycle.
        starts: The step at which each begins: 0, and then ever later ones.
    """

    def __init__(self, schedules, starts):
        starts = [int(start) for start in starts]
        rising = all(a < b for a, b in itertools.pairwise(starts))
        if len(schedules) != len(starts) or not starts or starts[0] != 0 or not rising:
            raise ValueError(
                "Each schedule needs the step at which it begins: 0, and then ever later ones; got "
                f"{len(schedules)} schedules, and the steps {starts}."
            )
        self.schedules, self.starts = list(schedules), starts

    def __call__(self, step):
        t = tf.cast(step, "float32")
        rate = self.schedules[0](t)
        for schedule, start in zip(self.schedules[1:], self.starts[1:], strict=True):
            rate = tf.where(t >= start, schedule(t - start), rate)
        return rate

    def get_config(self):
        schedules = [keras.saving.serialize_keras_object(x) for x in self.schedules]
        return {"schedules": schedules, "starts": list(self.starts)}

    @classmethod
    def from_config(cls, config):
        schedules = [keras.saving.deserialize_keras_object(x) for x in config["schedules"]]
        return cls(schedules, config["starts"])


@contextlib.contextmanager
def averaged(flow):
    """The flow as it is evaluated: averaged weights in place, spectral norms converged.

    The averages are those of an optimizer with `use_ema`; with another, the weights are the
    present ones. Afterwards all weights are what they were, to the last bit, so that looking at a
    flow in the middle of its training does not change the training.

    The norms have to be brought to convergence here: those that belong to the present weights do
    not bound the averaged ones.

    Args:
        flow: A compiled `keras_flows.Flow`.

    Yields:
        The flow.
    """
    before = [tf.identity(weight.value) for weight in flow.weights]
    flow.optimizer.finalize_variable_values(flow.trainable_variables)
    flow.converge()
    try:
        yield flow
    finally:
        for weight, value in zip(flow.weights, before, strict=True):
            weight.assign(value)


class StopOnNonFinite(keras.callbacks.Callback):
    """Raises at the first training step whose loss or gradients are not finite.

    `Flow.fit` adds it by itself.
    """

    def on_train_batch_end(self, batch, logs=None):
        step, part = self.model.training_failure
        if part >= 0:
            raise NonFiniteError(
                f"Training met NaN or infinity at step {step}, first in "
                f"{self.model.part_names()[part]}. The weights are finite: no such step was "
                "applied. Look at the data of that step; a lower learning rate, or clipping "
                "(`global_clipnorm=1`), helps where it is the gradients."
            )


class SaveState(keras.callbacks.Callback):
    """Saves the flow with its optimizer at the end of an epoch, for an exact resume.

    The file is replaced in one step, so a kill at any time leaves a complete one. To resume,
    `keras.models.load_model(path)`, and feed the data from step `flow.optimizer.iterations` on:
    the random draws of a step depend on the flow's seed and the number of the step only, so the
    final weights are those of an uninterrupted run. Saving changes nothing in the flow: it is a
    state of training, without the certificate that `Flow.save` asks for.

    Args:
        path: The `.keras` file to write.
        minutes: No epoch but the last is saved until so many minutes after the last save.
    """

    def __init__(self, path, minutes=0.0):
        super().__init__()
        self.path = pathlib.Path(path)
        self.minutes = minutes

    def on_train_begin(self, logs=None):
        self._saved = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        last = epoch + 1 == self.params["epochs"]
        if not last and time.monotonic() - self._saved < 60 * self.minutes:
            return
        partial = self.path.with_name(f"partial-{self.path.name}")
        keras.saving.save_model(self.model, partial)
        os.replace(partial, self.path)
        self._saved = time.monotonic()


class TensorBoardScalars(keras.callbacks.Callback):
    """Writes the metrics of every epoch, by training step, for TensorBoard.

    Unlike `keras.callbacks.TensorBoard`, it needs TensorBoard only where the files are looked at.

    Args:
        folder: The folder of the event files.
    """

    def __init__(self, folder):
        super().__init__()
        self.folder = str(folder)

    def on_train_begin(self, logs=None):
        self._writer = tf.summary.create_file_writer(self.folder)

    def on_epoch_end(self, epoch, logs=None):
        kind = tf.compat.v1.SummaryMetadata()
        kind.plugin_data.plugin_name = "scalars"
        step = int(self.model.optimizer.iterations)
        with self._writer.as_default():
            for name, value in (logs or {}).items():
                tf.summary.write(name, tf.constant(value, "float32"), step, kind)
        self._writer.flush()

    def on_train_end(self, logs=None):
        self._writer.close()
