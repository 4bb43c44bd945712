"""Milliseconds that scoring one example takes: the exported ONNX file against the Keras flow.

    python scripts/bench_export_latency.py ENTRY_OR_FOLDER

Exports the flow to a temporary folder, and times both in turns, in one process, with as many
threads; run it on a machine that does nothing else. The noise that the graph takes as an input is
drawn within its time.
"""

import statistics
import tempfile
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import onnxruntime
import rich.console
import rich.table
import tensorflow as tf
import typer

import keras_flows as kf
from keras_flows.export import endpoints

EXAMPLES = 16  # scored one by one
WARM_UP = 20  # calls of each before the first that counts


def runtime(path, flow, threads):
    """Scoring by onnxruntime: from an example to its log_prob."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    draw = noise(flow)

    def score(x):
        return session.run(["log_prob"], {"x": x, **draw()})[0]

    return score


def graph(flow):
    """Scoring by the compiled graph of the flow alone, without the checks of `flow.log_prob`."""
    run, draw = endpoints.Endpoints(flow)[endpoints.ENCODE].only(["log_prob"]), noise(flow)

    def score(x):
        return run(tf.constant(x), *map(tf.constant, draw().values()))["log_prob"].numpy()

    return score


def noise(flow):
    """Draws the noise of one example, as a dictionary that is empty where there is none."""
    rng, shape = np.random.default_rng(0), flow.noise_shape("encode")
    if shape == (0,):
        return dict
    return lambda: {"noise": rng.standard_normal((1, *shape), dtype="float32")}


def times(scorers, examples, rounds):
    """Median milliseconds of a call, `{name: number}`, measured in turns."""
    for score in scorers.values():
        for i in range(WARM_UP):
            score(examples[i % len(examples)])
    seconds = {name: [] for name in scorers}
    for i in range(rounds):
        for name, score in scorers.items():
            for x in examples[i % 2 :: 2]:
                began = time.perf_counter()
                score(x)
                seconds[name].append(time.perf_counter() - began)
    return {name: 1000.0 * statistics.median(values) for name, values in seconds.items()}


def main(
    flow: Annotated[str, typer.Argument(help="An entry of the zoo, or the folder of a preset.")],
    threads: Annotated[int, typer.Option(help="Threads of either.")] = 2,
    rounds: Annotated[int, typer.Option(help="Turns, of eight examples each.")] = 20,
):
    """Prints the table."""
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    name, flow = flow, kf.zoo.load(flow)
    if flow.context_shape is not None:
        raise typer.BadParameter(f"{name} is conditional; this is for flows without context.")
    examples = [x[None] for x in flow.sample(EXAMPLES, seed=0).numpy()]
    with tempfile.TemporaryDirectory() as folder:
        kf.export.to_onnx(flow, folder)
        scorers = {
            "onnxruntime": runtime(Path(folder) / "log_prob.onnx", flow, threads),
            "Keras flow, log_prob": lambda x: flow.log_prob(x).numpy(),
            "Keras flow, its graph alone": graph(flow),
        }
        medians = times(scorers, examples, rounds)
    table = rich.table.Table(
        f"{Path(name).name}, batch 1, {threads} threads", "ms", "× onnxruntime"
    )
    for scorer, median in medians.items():
        table.add_row(scorer, f"{median:.2f}", f"{median / medians['onnxruntime']:.1f}")
    rich.console.Console().print(table)


if __name__ == "__main__":
    typer.run(main)
