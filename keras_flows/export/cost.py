"""What exported functions take: size, time to load, time to run."""

import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from keras_flows.export.compare import select
from keras_flows.export.graphs import named
from keras_flows.export.manifest import Cost

_RUNS, _SECONDS = (5, 50), 1.0


class Loaded(NamedTuple):
    """An exported function in its runtime.

    Attributes:
        run: From a dictionary of arrays to another.
        load_ms: Milliseconds that loading took; for a SavedModel, of all its functions.
    """

    run: Callable
    load_ms: float


def timed(function, *arguments):
    """The result of a call, and the milliseconds it took."""
    start = time.perf_counter()
    result = function(*arguments)
    return result, 1000.0 * (time.perf_counter() - start)


def latency(run, inputs):
    """Milliseconds of a run: the median of 5 to 50 runs after the first.

    Args:
        run: See `Loaded`.
        inputs: What to run it on.

    Returns:
        A float.
    """
    run(inputs)  # the first run may compile
    times, (least, most) = [], _RUNS
    while len(times) < least or (len(times) < most and sum(times) < 1000.0 * _SECONDS):
        times.append(timed(run, inputs)[1])
    return statistics.median(times)


def measure(path, name, graph, loaded, nodes, recorded):
    """What a graph takes, to put into the manifest.

    Args:
        path: Its file, or the folder of the SavedModel.
        name: Its name.
        graph: The `manifest.Graph`.
        loaded: The graph in its runtime, `Loaded`.
        nodes: The number of its nodes.
        recorded: See `record.record`.

    Returns:
        A `manifest.Cost`.
    """
    files = path.rglob("*") if path.is_dir() else [path]
    return Cost(
        bytes=sum(file.stat().st_size for file in files if file.is_file()),
        nodes=nodes,
        load_ms=round(loaded.load_ms, 3),
        latency_ms=round(latency(loaded.run, _one(name, graph, recorded)), 3),
    )


def _one(name, graph, recorded):
    """The recorded inputs of a graph, cut to one example."""
    data = select(recorded, named(name).recorded, "samples")
    one = {
        tensor.name: data[tensor.name][:1] if tensor.shape[:1] == ["batch"] else data[tensor.name]
        for tensor in graph.inputs
    }
    return {**one, "count": np.int32(1)} if named(name).draws else one
