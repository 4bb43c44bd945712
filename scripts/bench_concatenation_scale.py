"""What it is worth that the coefficients of a concatenation multiply the matrix that follows.

A Dense Layer is `concat(eta1 x, eta2 branch)`. The networks of this library hand the coefficients
on, as a scale of the channels, and the next matrix multiplies its rows by them; the plain way
multiplies all numbers of all examples at once. Both train the toy i-DenseNet and the small image
i-DenseNet, step by step in turns; the times are of this process's processor time.

    python scripts/bench_concatenation_scale.py [--steps 30] [--output FILE]
"""

import contextlib
import json
import statistics
import time
from pathlib import Path
from unittest import mock

import keras
import numpy as np
import typer

import keras_flows as kf
from keras_flows.layers import LipschitzDenseLayer

CASES = {
    "toy": (lambda: kf.models.IDenseNet((2,), block_bound=0.99), (500, 2)),
    "image": (
        lambda: kf.models.IDenseNet(
            (16, 16, 1),
            blocks=(2, 2),
            depth=3,
            growth=16,
            squeeze_first=True,
            activation="lipswish",
        ),
        (64, 16, 16, 1),
    ),
}


@contextlib.contextmanager
def multiplied_at_once():
    """Dense Layers that leave no scale to the layer that follows."""
    handed_on = LipschitzDenseLayer.scaled_jvp, LipschitzDenseLayer.scaled_vjp

    def scaled_jvp(self, *arguments):
        stacked, scale = handed_on[0](self, *arguments)
        return scale * stacked, None

    def scaled_vjp(self, *arguments):
        y, pullback, scale = handed_on[1](self, *arguments)
        return scale * y, lambda cotangents: pullback(scale * cotangents), None

    with (
        mock.patch.object(LipschitzDenseLayer, "scaled_jvp", scaled_jvp),
        mock.patch.object(LipschitzDenseLayer, "scaled_vjp", scaled_vjp),
    ):
        yield


def trainer(make, x):
    """A function that makes one training step; traced now."""
    keras.utils.set_random_seed(0)
    flow = make()
    flow.compile(keras.optimizers.Adam(1e-3), jit_compile=False)
    flow.train_on_batch(x)
    return lambda: flow.train_on_batch(x)


def main(steps: int = 30, output: Path | None = None):
    rows = {}
    for name, (make, shape) in CASES.items():
        rng = np.random.default_rng(0)
        x = rng.standard_normal(shape) if len(shape) == 2 else rng.integers(256, size=shape)
        x = x.astype("float32")
        variants = {"handed on": trainer(make, x)}
        with multiplied_at_once():
            variants["at once"] = trainer(make, x)
        times = {variant: [] for variant in variants}
        for _ in range(steps):
            for variant, step in variants.items():
                start = time.process_time()
                step()
                times[variant].append(1000.0 * (time.process_time() - start))
        rows[name] = {
            variant: {"median_ms": round(statistics.median(t), 1), "minimum_ms": round(min(t), 1)}
            for variant, t in times.items()
        }
        medians = [row["median_ms"] for row in rows[name].values()]
        rows[name]["ratio_of_medians"] = round(medians[0] / medians[1], 3)
        print(name, json.dumps(rows[name]))
    if output is not None:
        output.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
