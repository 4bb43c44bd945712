"""Milliseconds of a training step of the toy flows, against the machine's matrix products.

    python scripts/bench_toy_step.py

An exact 2-D step costs at least nine times the multiply-adds of the forward pass: value and two
tangents forwards, and twice that backwards. Steps and matrix products are timed in turns, in one
process; run it on a machine that does nothing else.
"""

import statistics
import time

import keras
import numpy as np
import rich.console
import rich.table
import tensorflow as tf
import typer

from keras_flows import data
from keras_flows.models import registry
from keras_flows.training import run as runner

SIZE = 2000  # of the square matrices of the plain product
FORWARD_PASSES = 9


class StepTimes(keras.callbacks.Callback):
    """Seconds of every training step."""

    def __init__(self):
        super().__init__()
        self.seconds = []

    def on_train_batch_begin(self, batch, logs=None):
        self._began = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        self.seconds.append(time.perf_counter() - self._began)


def product_rate(repeats=5):
    """Floating-point operations a second of a plain matrix product; the best of a few."""
    rng = np.random.default_rng(0)
    a, b = (tf.constant(rng.standard_normal((SIZE, SIZE)), tf.float32) for _ in range(2))
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        tf.matmul(a, b).numpy()
        times.append(time.perf_counter() - began)
    return 2 * SIZE**3 / min(times)


def main(rounds: int = 5, steps: int = 20):
    """Prints the table for the three models of the toy table."""
    table = rich.table.Table("model", "ms a step", "GFLOP/s", "plain product", "fraction")
    for name in ("residual_flow", "idensenet", "idensenet_lc"):
        recipe = registry.recipe(f"{name}_two_circles")
        density = data.toy(recipe.data.name)
        flow = runner.build(recipe, density)
        batches = density.dataset(recipe.batch_size, (rounds + 1) * steps, 0)
        kernels = [w for w in flow.trainable_weights if len(w.shape) == 2]
        work = 2 * FORWARD_PASSES * recipe.batch_size * sum(int(np.prod(w.shape)) for w in kernels)
        seconds, rates = [], []
        for epoch in range(rounds + 1):
            times = StepTimes()
            part = batches.skip(epoch * steps).take(steps)
            flow.fit(part, callbacks=[times], shuffle=False, verbose=0)
            if epoch:  # the first compiles
                seconds += times.seconds
                rates.append(product_rate())
        median, rate = statistics.median(seconds), statistics.median(rates)
        table.add_row(
            name,
            f"{1000 * median:.1f}",
            f"{work / median / 1e9:.0f}",
            f"{rate / 1e9:.0f}",
            f"{work / median / rate:.0%}",
        )
    rich.console.Console().print(table)


if __name__ == "__main__":
    typer.run(main)
