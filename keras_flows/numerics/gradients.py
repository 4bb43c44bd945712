"""Gradients that are written by hand, and graphs that have none."""

import contextlib
import contextvars
import functools
from collections.abc import Callable, Iterator

import tensorflow as tf

_WITH_GRADIENTS = contextvars.ContextVar("with_gradients", default=True)


@contextlib.contextmanager
def without_gradients() -> Iterator[None]:
    """Nothing built inside has gradients written by hand, which exported graphs cannot keep."""
    token = _WITH_GRADIENTS.set(False)
    try:
        yield
    finally:
        _WITH_GRADIENTS.reset(token)


def custom_gradient(
    function: Callable[..., tuple[tf.Tensor, Callable[..., tf.Tensor]]],
) -> Callable[..., tf.Tensor]:
    """`tf.custom_gradient`, but the plain function inside `without_gradients`."""
    with_gradient = tf.custom_gradient(function)

    @functools.wraps(function)
    def either(*arguments):
        return with_gradient(*arguments) if _WITH_GRADIENTS.get() else function(*arguments)[0]

    return either
