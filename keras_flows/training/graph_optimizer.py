"""TensorFlow's optimizer of graphs, which a graph that runs a few times does not pay back.

It is a setting of the process, so that other functions that run meanwhile are not optimised either.
"""

import contextlib
from collections.abc import Iterator

import tensorflow as tf

_OFF = "disable_meta_optimizer"


@contextlib.contextmanager
def restored() -> Iterator[None]:
    """Puts the setting back at its end."""
    before = tf.config.optimizer.get_experimental_options().get(_OFF, False)
    try:
        yield
    finally:
        _set(before)


def switch_off() -> None:
    """From now on graphs run as they were built."""
    _set(True)


def _set(off):
    # Setting it anew would have every function prepared again.
    if tf.config.optimizer.get_experimental_options().get(_OFF, False) != off:
        tf.config.optimizer.set_experimental_options({_OFF: off})
