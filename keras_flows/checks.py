"""Checks of what people pass in, with errors that say what was given and what is needed."""

import difflib

import numpy as np
import tensorflow as tf


def suggestion(name, names):
    """`" Did you mean …?"` with the nearest of some names, or nothing."""
    near = difflib.get_close_matches(str(name), list(names), n=1, cutoff=0.5)
    return f" Did you mean {near[0]!r}?" if near else ""


def known(name, table, what):
    """The entry of a table by name, or an error with the nearest name and all that there are.

    Args:
        name: A name.
        table: Dictionary by name.
        what: What the names are of, for the message.
    """
    if isinstance(name, str) and name in table:
        return table[name]
    raise ValueError(
        f"Unknown {what} {name!r}.{suggestion(name, table)} Known: {', '.join(table)}."
    )


def known_names(given, names, what):
    """Checks that all keys of a dictionary are names of arguments."""
    for name in given:
        if name not in names:
            raise ValueError(
                f"{what} has no argument {name!r}.{suggestion(name, names)} It has: "
                f"{', '.join(names)}."
            )


def instance(value, kind, name):
    """A value of a class, or of one of several."""
    if not isinstance(value, kind):
        kinds = kind if isinstance(kind, tuple) else (kind,)
        needed = " or ".join(f"{one.__module__}.{one.__qualname__}" for one in kinds)
        raise ValueError(f"{name} must be a {needed}; got {value!r}.")


def event_shape(shape):
    """A tuple of positive integers."""
    try:
        checked = tuple(int(n) for n in shape)
    except TypeError:
        raise ValueError(
            f"event_shape is a tuple of sizes, such as (2,) for vectors of two numbers; got "
            f"{shape!r}."
        ) from None
    if not checked or min(checked) < 1:
        raise ValueError(f"event_shape must have at least one axis, all positive; got {shape!r}.")
    return checked


def build_once(layer, input_shape):
    """Builds a layer for an input shape, unless it was built before, as deserialised ones are."""
    if not layer.built:
        layer.build(input_shape)
        return
    config = layer.get_build_config() or {}
    before = config.get("input_shape")
    if before is not None and tuple(before[1:]) != tuple(input_shape[1:]):
        raise ValueError(
            f"{layer.name!r} was built for inputs of shape {tuple(before[1:])}; here it is given "
            f"{tuple(input_shape[1:])}."
        )


def count(n, name):
    """A positive integer."""
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 1:
        raise ValueError(f"{name} must be an integer, at least 1; got {n!r}.")


def _tensor(value, dtype, name):
    """A tensor of real numbers, cast to the dtype of the flow."""
    if not tf.is_tensor(value):
        try:
            value = np.asarray(value)
        except ValueError as error:
            raise ValueError(f"{name} must be an array of numbers: {error}.") from None
        if value.dtype.kind not in "fiu" and value.dtype.name != "bfloat16":
            raise ValueError(f"{name} must hold real numbers; its dtype is {value.dtype}.")
    elif not (value.dtype.is_floating or value.dtype.is_integer):
        raise ValueError(f"{name} must hold real numbers; its dtype is {value.dtype.name}.")
    return tf.cast(value, dtype)


def _finite(value, name):
    if not tf.executing_eagerly() or value.dtype.is_integer:
        return
    finite = tf.math.is_finite(tf.reshape(value, (len(value), -1)))
    bad = tf.where(~tf.reduce_all(finite, axis=1))[:, 0].numpy()
    if len(bad):
        raise ValueError(
            f"{name} holds NaN or infinity in {len(bad)} of {len(value)} examples, the first at "
            f"index {bad[0]}."
        )


def batch_shape(given, shape, name):
    """Checks that `given` can be the shape of a nonempty batch of examples of `shape`."""
    given = tf.TensorShape(given)
    needed = f"(batch, {', '.join(map(str, shape))})"
    if given.rank != len(shape) + 1:
        hint = f" One example alone is {name}[None]." if given.is_compatible_with(shape) else ""
        raise ValueError(f"{name} must have shape {needed}; got {tuple(given)}.{hint}")
    if not given[1:].is_compatible_with(shape):
        raise ValueError(f"{name} must have shape {needed}; got {tuple(given)}.")
    if given[0] == 0:
        raise ValueError(f"{name} is an empty batch; at least one example is needed.")


def batch(value, shape, dtype, name, finite=True):
    """A nonempty batch of examples of the given shape, all numbers finite unless told otherwise.

    Returns:
        A tensor `(batch, *shape)` of the given dtype.
    """
    value = _tensor(value, dtype, name)
    if value.shape.rank is not None:
        batch_shape(value.shape, shape, name)
    value = tf.ensure_shape(value, (None, *shape))
    if finite:
        _finite(value, name)
    return value


def context(value, shape, x, dtype, finite=True):
    """The context of every example of x, or None for a flow without context.

    Returns:
        A tensor `(batch, *shape)`, or None.
    """
    if shape is None:
        if value is not None:
            raise ValueError("This flow has no context; got one. Leave `context` out.")
        return None
    needed = f"(batch, {', '.join(map(str, shape))})" if shape else "(batch,)"
    if value is None:
        raise ValueError(f"This flow is conditional: give a `context` of shape {needed}.")
    value = _tensor(value, dtype, "context")
    if value.shape.rank == len(shape) and value.shape.is_compatible_with(shape):
        value = tf.broadcast_to(value, tf.concat([tf.shape(x)[:1], tf.shape(value)], axis=0))
    if value.shape.rank != len(shape) + 1 or not value.shape[1:].is_compatible_with(shape):
        raise ValueError(
            f"context must have shape {needed}, or {tuple(shape)} for all examples; got "
            f"{tuple(value.shape)}."
        )
    if not value.shape[:1].is_compatible_with(x.shape[:1]):
        raise ValueError(f"There are {x.shape[0]} examples, but {value.shape[0]} contexts.")
    value = tf.ensure_shape(value, (None, *shape))
    if finite:
        _finite(value, "context")
    return value


def context_size(context_shape, embedding):
    """The size of the context vector that the networks see, None without a context."""
    if context_shape is None:
        return None
    shape = (None, *context_shape)
    if embedding is not None:
        shape = embedding.compute_output_shape(shape)
    if len(shape) != 2:
        raise ValueError(
            f"The networks take a context vector per example; this context has the shape "
            f"{tuple(shape[1:])}. Flatten it, or give a context_embedding that makes a vector."
        )
    return int(shape[1])
