"""Functions that a graph holds once, however often it calls them."""

import contextlib
import contextvars
from collections.abc import Callable, Hashable, Iterator
from typing import Any

import tensorflow as tf

# Where a graph keeps its functions by their kinds. They lead back to the graph, so that a
# dictionary of graphs, even a weak one, would keep all of them, with what they are of.
_FUNCTIONS = "_keras_flows_functions"
_functions_wanted = contextvars.ContextVar("functions_wanted", default=False)


@contextlib.contextmanager
def with_functions(wanted: bool = True) -> Iterator[None]:
    """Within it `traced_once` makes functions; elsewhere it is the plain call.

    For graphs that TensorFlow itself runs. Exported graphs must be free of functions that are not
    inlined. XLA copies every function to where it is called, and the derivative of a function gives
    all that it computes to the outside: the training step of ten blocks took it more than eight
    minutes to compile, instead of one.
    """
    token = _functions_wanted.set(wanted)
    try:
        yield
    finally:
        _functions_wanted.reset(token)


def traced_once(function: Callable[..., Any], kind: Hashable, *arguments: Any) -> Any:
    """`function(*arguments)`; `with_functions`, by one that a graph traces once for each kind.

    To trace, differentiate and optimise the same computation again and again, with other weights,
    takes a flow of many equal steps far longer than to run it. The numbers are the same.

    Args:
        function: A function of nests of tensors. All calls of one kind must do the same: it is the
            first that is traced.
        kind: What tells functions apart that do different things.
        *arguments: Its arguments; where their shapes differ it is traced again.

    Returns:
        What the function returns.
    """
    if tf.executing_eagerly() or not _functions_wanted.get():
        return function(*arguments)
    graph = tf.compat.v1.get_default_graph()
    functions = getattr(graph, _FUNCTIONS, {})
    setattr(graph, _FUNCTIONS, functions)
    if kind not in functions:
        # Not to be inlined, or every call would be a copy again.
        once = {"_noinline": True}
        functions[kind] = tf.function(function, autograph=False, experimental_attributes=once)
    return functions[kind](*arguments)
