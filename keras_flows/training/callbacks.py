"""Keras callbacks: an error at NaN, states to resume from, scalars for TensorBoard."""

import pathlib
import time
from typing import TYPE_CHECKING

import keras
import tensorflow as tf

from keras_flows.errors import NonFiniteError
from keras_flows.files import complete_file
from keras_flows.training import workers

if TYPE_CHECKING:
    from keras_flows.training.guard import Guard


class StopOnNonFinite(keras.callbacks.Callback):
    """Raises at the first training step whose loss or gradients are not finite.

    `Flow.fit` adds it by itself.

    Args:
        guard: The `keras_flows.training.guard.Guard` that the training steps report to.
    """

    def __init__(self, guard: "Guard"):
        super().__init__()
        self.guard = guard

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        if self.guard.failure is not None:
            step, part = self.guard.failure
            raise NonFiniteError(
                f"Training met NaN or infinity at step {step}, first in {part}. The weights are "
                "finite: no such step was applied. Look at the data of that step; a lower learning "
                "rate, or clipping (`global_clipnorm=1`), helps where it is the gradients."
            )


class WithUpdates(keras.callbacks.Callback):
    """Says, before the training step is compiled, how many updates there will be.

    `Flow.fit` adds it by itself.

    Args:
        tell: Called with the number of updates of the whole `fit`, those before its initial epoch
            included, as a resumed run must do what the first would have; None where it is unknown.
    """

    def __init__(self, tell):
        super().__init__()
        self.tell = tell

    def set_params(self, params):
        super().set_params(params)
        steps = (params or {}).get("steps")
        self.tell(None if steps is None else steps * params["epochs"])


class KeepTogether(keras.callbacks.Callback):
    """Raises at the end of an epoch after which workers have not the same weights.

    `Flow.fit` adds it by itself, and it does nothing where there is one worker.
    """

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        workers.check_weights(self.model)


class SaveState(keras.callbacks.Callback):
    """Saves the flow with its optimizer at the end of an epoch, for an exact resume.

    The file is replaced in one step, so a kill at any time leaves a complete one. To resume,
    `keras.models.load_model(path)`, and feed the data from step `flow.optimizer.iterations` on:
    the random draws of a step depend on the flow's seed and the number of the step only, so the
    final weights are those of an uninterrupted run. Saving changes nothing in the flow: it is a
    state of training, without the certificate that `Flow.save` asks for. Of several workers, the
    first writes it.

    Args:
        path: The `.keras` file to write.
        minutes: No epoch but the last is saved until so many minutes after the last save.
    """

    def __init__(self, path: str | pathlib.Path, minutes: float = 0.0):
        super().__init__()
        self.path = pathlib.Path(path)
        self.minutes = minutes

    def on_train_begin(self, logs: dict | None = None) -> None:
        self._saved = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        last = epoch + 1 == self.params["epochs"]
        if not last and time.monotonic() - self._saved < 60 * self.minutes:
            return
        self.save()
        self._saved = time.monotonic()

    def save(self) -> None:
        """Writes the file, complete or not at all."""
        if not workers.is_first(self.model.distribute_strategy):
            return
        with complete_file(self.path) as partial:
            keras.saving.save_model(self.model, partial)


class TensorBoardScalars(keras.callbacks.Callback):
    """Writes the metrics of every epoch, by training step, for TensorBoard.

    Unlike `keras.callbacks.TensorBoard`, it needs TensorBoard only where the files are looked at.

    Args:
        folder: The folder of the event files.
    """

    def __init__(self, folder: str | pathlib.Path):
        super().__init__()
        self.folder = str(folder)

    def on_train_begin(self, logs: dict | None = None) -> None:
        self._writer = tf.summary.create_file_writer(self.folder)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        kind = tf.compat.v1.SummaryMetadata()
        kind.plugin_data.plugin_name = "scalars"
        step = int(self.model.optimizer.iterations.numpy())
        with self._writer.as_default():
            for name, value in (logs or {}).items():
                tf.summary.write(name, tf.constant(value, "float32"), step, kind)
        self._writer.flush()

    def on_train_end(self, logs: dict | None = None) -> None:
        self._writer.close()
