"""Several processes, on one machine or many, that train one flow together."""

import atexit
import contextlib
import math
import os
import re
import signal
import socket
import sys
import threading
import zlib

import keras
import numpy as np
import tensorflow as tf

from keras_flows import checks
from keras_flows.numerics import replicas
from keras_flows.training.distributed import number_of_workers

_ADDRESS = r"[A-Za-z0-9_.-]+:[0-9]{1,5}"
# What TensorFlow raises where another process is gone.
_LOST = (
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.InternalError,
    tf.errors.UnavailableError,
    tf.errors.UnknownError,
)
_GONE = (
    "Another worker ended or cannot be reached, and training ends with it. Start all workers "
    "again, in any number: they go on from the last saved state, where there is one (`--resume`)."
)
# Seconds between looks at the other workers, how many in a row one has to miss, and seconds that
# TensorFlow has then to notice by itself: a minute, at most.
_EVERY, _LOOKS, _GRACE = 5.0, 3, 15.0


def addresses(text):
    """The addresses of workers in a list with commas.

    Raises:
        ValueError: If it is none, or has one twice.
    """
    given = [address.strip() for address in text.split(",")]
    for address in given:
        if not re.fullmatch(_ADDRESS, address):
            raise ValueError(
                "Workers are given by host and port, with commas between them and the same on all, "
                f"such as 10.0.0.1:9000,10.0.0.2:9000; got {text!r}."
            )
    if len(set(given)) < len(given):
        raise ValueError(f"Every worker has an address of its own; got {text!r}.")
    return given


def join(workers, index):
    """Waits for all workers, and gives the strategy of their training.

    It must come before anything else that this process does with TensorFlow.

    Args:
        workers: The address of every worker, `host:port`, the same in all of them.
        index: Which of them this process is, from 0.

    Returns:
        A `tf.distribute.MultiWorkerMirroredStrategy`.

    Raises:
        ValueError: If there is no such worker.
        RuntimeError: If TensorFlow is at work already, or the port is taken.
    """
    checks.count(index, "The number of this worker", least=0)
    if index >= len(workers):
        raise ValueError(
            f"Workers are counted from 0: of {len(workers)}, there is no worker {index}."
        )
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({"worker": list(workers)}),
        task_type="worker",
        task_id=index,
        num_accelerators={"GPU": len(tf.config.list_physical_devices("GPU"))},
        rpc_layer="grpc",
    )
    return tf.distribute.MultiWorkerMirroredStrategy(resolver)


def is_first(strategy):
    """Whether this process is the one that writes files: the only one, or worker 0."""
    if number_of_workers(strategy) == 1:
        return True
    resolver = strategy.cluster_resolver
    return resolver.task_id == 0 and resolver.task_type in ("chief", "worker")


def from_first(strategy, value):
    """An array as the first worker has it, for all of them; each gives one of that shape."""
    value = tf.convert_to_tensor(value)

    def own():
        return tf.where(tf.equal(replicas.index(), 0), value, tf.zeros_like(value))

    return strategy.reduce("SUM", strategy.run(own), axis=None).numpy()


def wait(strategy):
    """Returns when all workers are here.

    Raises:
        ConnectionError: If one is gone.
    """
    if number_of_workers(strategy) > 1:
        with lost(strategy):
            from_first(strategy, 0.0)


def of_each(strategy, number):
    """The numbers of all workers, a list; that of every replica, where they have several."""

    def own():
        here = tf.one_hot(replicas.index(), strategy.num_replicas_in_sync, dtype=tf.float64)
        return number * here

    return strategy.reduce("SUM", strategy.run(own), axis=None).numpy().tolist()


def spread(strategy, variables, values):
    """Assigns the first worker's values to the variables of all.

    Args:
        strategy: A `tf.distribute.Strategy`.
        variables: Keras variables.
        values: On the first worker, an array for each of them; None on the others.
    """
    for i, variable in enumerate(variables):
        own = np.zeros(variable.shape, variable.dtype) if values is None else values[i]
        variable.assign(from_first(strategy, own))


def check_same(strategy, what, arrays):
    """Checks that all workers have the same arrays.

    Args:
        strategy: A `tf.distribute.Strategy`.
        what: What they are, for the message.
        arrays: A sequence of them.

    Raises:
        ValueError: If one has others than worker 0.
    """
    check = 0
    for array in arrays:
        check = zlib.crc32(np.ascontiguousarray(array).tobytes(), check)
    sums = of_each(strategy, float(check))
    others = [i for i, one in enumerate(sums) if one != sums[0]]
    if others:
        raise ValueError(
            f"{what} of replica {others[0]} differ from those of replica 0. All workers run the "
            "same program on the same data, with the same seed (keras.utils.set_random_seed) and "
            "on machines of one kind; each takes its part of every batch by itself."
        )


def check_weights(model):
    """Checks that a model has the same weights in all workers."""
    strategy = model.distribute_strategy
    if number_of_workers(strategy) > 1:
        values = map(keras.ops.convert_to_numpy, model.weights)
        check_same(strategy, "The weights", values)


def check_fit(model, data):
    """What has to be so before workers fit a model together: the same weights, data and order."""
    strategy = model.distribute_strategy
    if number_of_workers(strategy) == 1:
        return
    check_weights(model)
    arrays = [array for array in tf.nest.flatten(data) if isinstance(array, np.ndarray)]
    check_same(strategy, "The data", arrays)
    # Keras shuffles by it, each worker for itself.
    tf.random.set_seed(model.seed)


def absent(given):
    """Those of some addresses at which nothing listens, a list."""
    gone = []
    for address in given:
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host, int(port)), timeout=_EVERY).close()
        except OSError:
            gone.append(address)
    return gone


def watch(others, over):
    """Ends this process where another worker is gone and TensorFlow waits for it all the same.

    What waits for a message of another process cannot be called off from Python.

    Args:
        others: The addresses of the other workers.
        over: A `threading.Event`, set when there is nothing to watch over any more.
    """
    missed = 0
    while not over.wait(_EVERY):
        gone = absent(others)
        missed = missed + 1 if gone else 0
        if missed >= _LOOKS and not over.wait(_GRACE):
            print(f"error: {_GONE} No answer from {', '.join(gone)}.", file=sys.stderr, flush=True)
            os._exit(1)


def _others(strategy):
    """The addresses of the other workers, a list."""
    if number_of_workers(strategy) == 1:
        return []
    resolver = strategy.cluster_resolver
    cluster, own = resolver.cluster_spec().as_dict(), (resolver.task_type, resolver.task_id)
    return [
        address
        for job in ("chief", "worker")
        for task, address in enumerate(cluster.get(job, ()))
        if (job, task) != own
    ]


def _end_in_time():
    """At the end of Python: the kernel ends the process if TensorFlow does not let go of it."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(math.ceil(_GRACE))


@contextlib.contextmanager
def lost(strategy):
    """Says in words that another worker is gone.

    Raises:
        ConnectionError: If it is.
    """
    others, over = _others(strategy), threading.Event()
    if others:
        threading.Thread(target=watch, args=(others, over), daemon=True).start()
    try:
        yield
    except _LOST as error:
        if not others:
            raise
        atexit.register(_end_in_time)
        cause = str(error).strip().splitlines()[0]
        raise ConnectionError(f"{_GONE} TensorFlow says: {cause}") from error
    finally:
        over.set()
