"""What exported functions take: size, time to load, time to run."""

import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

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
