"""What a fit shows while it works: a bar on a terminal, elsewhere a line now and then."""

import time

import keras
import rich.console
import rich.progress

# Seconds between lines where there is no terminal.
EVERY = 5.0


class Progress(keras.callbacks.Callback):
    """Shows steps, and the NLL of training and held-out rows.

    Args:
        steps: Of the whole training.
        console: Where to show it.
    """

    def __init__(self, steps: int, console: rich.console.Console):
        super().__init__()
        self._steps, self._console, self._bar = steps, console, None

    def on_train_begin(self, logs=None):
        self._shown = time.monotonic()
        if not self._console.is_terminal:
            say(self._console, f"training for at most {self._steps:,} steps; the first is compiled")
            return
        columns = (
            *rich.progress.Progress.get_default_columns(),
            rich.progress.MofNCompleteColumn(),
        )
        self._bar = rich.progress.Progress(*columns, console=self._console, transient=True)
        done = int(self.model.optimizer.iterations)
        self._task = self._bar.add_task("compiling", total=self._steps, completed=done)
        self._bar.start()

    def on_train_batch_end(self, batch, logs=None):
        if self._bar is not None:
            self._bar.advance(self._task)

    def on_epoch_end(self, epoch, logs=None):
        step = int(self.model.optimizer.iterations)
        score = (
            f"training {logs['nll_nats']:.4f}, held out {logs['held_out_nll']:.4f} ± "
            f"{logs['held_out_standard_error']:.4f} nats, best at step {logs['best_step']:,}"
        )
        if self._bar is not None:
            self._bar.update(self._task, description=score)
        elif time.monotonic() - self._shown >= EVERY or step == self._steps:
            self._shown = time.monotonic()
            say(self._console, f"step {step:,} of {self._steps:,}: {score}")

    def on_train_end(self, logs=None):
        self.close()

    def close(self):
        """Takes the bar away, also after an error."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def say(console: rich.console.Console, text: str) -> None:
    """A line."""
    console.print(text, highlight=False, markup=False, soft_wrap=True)
