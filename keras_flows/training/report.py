"""The reports of a run: held-out scores, pictures of samples, a line on the console."""

import time

import keras

from keras_flows.errors import ConvergenceError
from keras_flows.files import complete_file
from keras_flows.measure import evaluation
from keras_flows.numerics.events import bits_per_dim
from keras_flows.training.averages import averaged


class Report(keras.callbacks.Callback):
    """Validates, draws samples, prints a line; the callbacks after it log what it adds."""

    def __init__(self, recipe, source, work, progress):
        super().__init__()
        self.recipe, self.source, self.work, self.progress = recipe, source, work, progress

    def on_train_begin(self, logs=None):
        done = int(self.model.optimizer.iterations.numpy())
        self.task = self.progress.add_task("training", total=self.recipe.steps, completed=done)

    def on_epoch_begin(self, epoch, logs=None):
        self.began = time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        self.progress.advance(self.task)

    def on_epoch_end(self, epoch, logs=None):
        flow, step = self.model, int(self.model.optimizer.iterations.numpy())
        logs["step"] = step
        logs["seconds"] = time.monotonic() - self.began
        logs["learning_rate"] = float(flow.optimizer.learning_rate)
        last = epoch + 1 == self.params["epochs"]
        with averaged(flow):
            held_out = evaluation.evaluate(
                flow,
                self.source.validation,
                self.source.validation_context,
                batch_size=self.source.batch_size,
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
            with complete_file(path) as partial:
                self.source.draw(flow, partial)
        except ConvergenceError as error:
            # Not for a picture's sake should hours of training end.
            message = f"no samples at step {step:,}: {error}"
            self.progress.console.print(message, highlight=False, markup=False, soft_wrap=True)


def _score(flow, logs, prefix):
    """Mean and, where there is one, standard error, with the unit."""
    numbers, unit = [logs[f"{prefix}nll_nats"], logs.get(f"{prefix}nll_standard_error")], "nats"
    if flow.transform.dequantizes:
        numbers = [n and bits_per_dim(n, flow.event_shape) for n in numbers]
        unit = "bits/dim"
    spread = "" if numbers[1] is None else f" ± {numbers[1]:.4f}"
    return f"{numbers[0]:.4f}{spread} {unit}"
