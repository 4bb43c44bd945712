"""Callbacks: an error at the first NaN, exact resume."""

import os
import pathlib

import keras

from keras_flows.errors import NonFiniteError


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
    """Saves the flow with its optimizer after every epoch, for an exact resume.

    The file is replaced in one step, so a kill at any time leaves a complete one. To resume,
    `keras.models.load_model(path)`, and feed the data from step `flow.optimizer.iterations` on:
    the random draws of a step depend on the flow's seed and the number of the step only, so the
    final weights are those of an uninterrupted run.

    Args:
        path: The `.keras` file to write.
    """

    def __init__(self, path):
        super().__init__()
        self.path = pathlib.Path(path)

    def on_epoch_end(self, epoch, logs=None):
        partial = self.path.with_name(f"partial-{self.path.name}")
        self.model.save(partial)
        os.replace(partial, self.path)
