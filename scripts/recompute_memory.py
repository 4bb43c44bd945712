"""Peak memory and time of a DenseFlow's training step, with and without `recompute=True`.

    python scripts/recompute_memory.py

DenseFlow-74-10 with fewer modules, on random images. Every measurement is a process of its own;
what it held after a first step, on two images, is taken off. For Linux; the times need a machine
that does nothing else.
"""

import json
import subprocess
import sys
import time
from typing import Annotated

import numpy as np
import rich.console
import rich.table
import tensorflow as tf
import typer
from benchmarks.serving import peak

from keras_flows import models

MODEL = {"units": (2, 1), "modules": (2, 2)}
SHAPE = (32, 32, 3)
STEPS = 4


def measure(recompute, batch_size):
    """Peak memory in GB beyond what there was before, and the least seconds of a step."""
    flow = models.from_name("denseflow_cifar10", **MODEL, recompute=recompute)
    flow.compile("adamax", jit_compile=False)
    x = np.random.default_rng(0).integers(256, size=(batch_size, *SHAPE)).astype("float32")

    def step(images):
        # Batches of an unknown size, so that all steps run the graph of the first.
        began = time.perf_counter()
        flow.fit(tf.data.Dataset.from_tensor_slices(images).batch(batch_size), verbose=0)
        return time.perf_counter() - began

    step(x[:2])
    before = peak()
    seconds = [step(x) for _ in range(STEPS)]
    return {"memory": peak() - before, "seconds": min(seconds)}


def main(
    batch_size: Annotated[int, typer.Option(help="Images in a batch.")] = 64,
    only: Annotated[str, typer.Option(hidden=True)] = "",
):
    """Prints the table."""
    if only:
        print(json.dumps(measure(only == "recompute", batch_size)))
        return
    table = rich.table.Table("", "peak memory of a step, GB", "seconds a step")
    for kind in ("keep", "recompute"):
        command = [sys.executable, __file__, "--batch-size", str(batch_size), "--only", kind]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        result = json.loads(output.splitlines()[-1])
        name = "recompute=True" if kind == "recompute" else "recompute=False"
        table.add_row(name, f"{result['memory']:.2f}", f"{result['seconds']:.2f}")
    rich.console.Console().print(table)


if __name__ == "__main__":
    typer.run(main)
