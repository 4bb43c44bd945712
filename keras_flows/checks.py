"""Checks of what people pass in, with errors that say what was given and what is needed.

TensorFlow is imported by the checks of tensors alone: tables are read and exports run without it.
"""

import difflib
import math
import sys
from collections.abc import Iterable, Mapping, Sized
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

DTYPES = ("float32", "float64")
TINY, LARGE = sys.float_info.min, sys.float_info.max
EPSILON = sys.float_info.epsilon


Entry = TypeVar("Entry")


def suggestion(name: object, names: Iterable[str]) -> str:
    """`" Did you mean …?"` with the nearest of some names, or nothing."""
    near = difflib.get_close_matches(str(name), list(names), n=1, cutoff=0.5)
    return f" Did you mean {near[0]!r}?" if near else ""


def known(name: object, table: Mapping[str, Entry], what: str) -> Entry:
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


def known_names(given: Iterable[str], names: Iterable[str], what: str) -> None:
    """Checks that all keys of a dictionary are names of arguments."""
    for name in given:
        if name not in names:
            raise ValueError(
                f"{what} has no argument {name!r}.{suggestion(name, names)} It has: "
                f"{', '.join(names)}."
            )


def instance(value: Any, kind: type | tuple[type, ...], name: str) -> None:
    """A value of a class, or of one of several."""
    if not isinstance(value, kind):
        kinds = kind if isinstance(kind, tuple) else (kind,)
        needed = " or ".join(f"{one.__module__}.{one.__qualname__}" for one in kinds)
        raise ValueError(f"{name} must be a {needed}; got {value!r}.")


def count(n: Any, name: str, least: int = 1) -> None:
    """An integer, at least 1 or another number."""
    if not _is_integer(n) or n < least:
        raise ValueError(f"{name} must be an integer, at least {least}; got {n!r}.")


def number(value: Any, name: str, low: float, high: float, needed: str) -> None:
    """A real number, at least `low` and at most `high`.

    Args:
        value: What was given.
        name: Of the argument.
        low: The least number.
        high: The largest.
        needed: What it must be, for the message: `"in (0, 1]"`.
    """
    if not is_real(value) or not low <= value <= high:
        raise ValueError(f"{name} must be {needed}; got {value!r}.")


def is_real(value: Any) -> bool:
    """Whether a value is a real number; True and False are none."""
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def positive(value: Any, name: str, most: float = math.inf) -> None:
    """A number above 0; below infinity, or at most another number."""
    upto = "a positive number" if most == math.inf else f"in (0, {most:g}]"
    number(value, name, TINY, min(most, LARGE), upto)


def tolerance(value: Any, blocks: Sized) -> None:
    """A tolerance for the inverses of the residual blocks of a flow, which has some."""
    positive(value, "tolerance")
    if not blocks:
        raise ValueError(
            "A tolerance is for the inverses of residual blocks, and this flow has none: leave "
            "tolerance out."
        )


def indices(values: Iterable[Any], name: str, size: int | None = None) -> list[int]:
    """Different indices of features, rising.

    Args:
        values: What was given.
        name: Of the argument.
        size: How many features there are; None where that is not known yet.
    """
    given = list(values) if isinstance(values, Iterable) else [values]
    if not all(_is_integer(i) and i >= 0 for i in given):
        raise ValueError(f"{name} must be indices of features, 0 or more; got {given}.")
    if len(set(given)) < len(given):
        raise ValueError(f"{name} must have every feature once; got {given}.")
    if size is not None and given and max(given) >= size:
        raise ValueError(
            f"{name} must be indices of {size} features, 0 to {size - 1}; got {given}."
        )
    return sorted(int(i) for i in given)


def flag(value: Any, name: str) -> None:
    """True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"{name} must be True or False; got {value!r}.")


def bits(value: Any) -> None:
    """The number of bits of an integer."""
    if not _is_integer(value) or not 1 <= value <= 16:
        raise ValueError(f"bits must be an integer from 1 to 16; got {value!r}.")


def counts(values: Any, name: str) -> None:
    """A sequence of positive integers, at least one."""
    if not isinstance(values, (list, tuple)) or not values:
        raise ValueError(f"{name} must be a sequence of integers, such as (4, 4); got {values!r}.")
    for value in values:
        count(value, f"Every number in {name}")


def precision(layer: "keras.layers.Layer") -> None:
    """Checks that a flow or a transform computes in float32 or float64."""
    policy = layer.dtype_policy
    if policy.compute_dtype != policy.variable_dtype or policy.name not in DTYPES:
        raise ValueError(
            f"{type(layer).__name__} computes in {' or '.join(DTYPES)}; the dtype policy is "
            f"{policy.name!r}: give dtype='float32', or set that by keras.config.set_dtype_policy. "
            "Half precision is for the networks inside couplings (`network_dtype` of a DenseFlow)."
        )


def shape(given: Any, name: str, least_axes: int = 0) -> tuple[int, ...]:
    """A tuple of positive integers, from a sequence of them."""
    if not isinstance(given, (tuple, list)) or not all(_is_integer(n) and n > 0 for n in given):
        raise ValueError(
            f"{name} must be a tuple of positive sizes, such as (2,) for vectors of two numbers; "
            f"got {given!r}."
        )
    if len(given) < least_axes:
        raise ValueError(f"{name} must have at least one axis; got {given!r}.")
    return tuple(int(n) for n in given)


def event_shape(given: Any) -> tuple[int, ...]:
    """The shape of an event, a tuple."""
    return shape(given, "event_shape", least_axes=1)


def _is_integer(n):
    return isinstance(n, (int, np.integer)) and not isinstance(n, bool)


def build_once(layer: "keras.layers.Layer", input_shape: tuple) -> None:
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


def _tensor(value, dtype, name):
    """A tensor of real numbers, cast to the dtype of the flow."""
    import tensorflow as tf

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
    import tensorflow as tf

    if not tf.executing_eagerly() or value.dtype.is_integer:
        return
    finite = tf.math.is_finite(tf.reshape(value, (len(value), -1)))
    bad = tf.where(~tf.reduce_all(finite, axis=1))[:, 0].numpy()
    if len(bad):
        raise ValueError(
            f"{name} holds NaN or infinity in {len(bad)} of {len(value)} examples, the first at "
            f"index {bad[0]}."
        )


def batch_shape(given: "tuple | tf.TensorShape", shape: tuple[int, ...], name: str) -> None:
    """Checks that `given` can be the shape of a nonempty batch of examples of `shape`."""
    import tensorflow as tf

    given = tf.TensorShape(given)
    needed = f"(batch, {', '.join(map(str, shape))})"
    if given.rank != len(shape) + 1:
        hint = f" One example alone is {name}[None]." if given.is_compatible_with(shape) else ""
        raise ValueError(f"{name} must have shape {needed}; got {tuple(given)}.{hint}")
    if not given[1:].is_compatible_with(shape):
        raise ValueError(f"{name} must have shape {needed}; got {tuple(given)}.")
    if given[0] == 0:
        raise ValueError(f"{name} is an empty batch; at least one example is needed.")


def batch(
    value: Any,
    shape: tuple[int, ...],
    dtype: "str | tf.DType",
    name: str,
    finite: bool = True,
) -> "tf.Tensor":
    """A nonempty batch of examples of the given shape, all numbers finite unless told otherwise.

    Returns:
        A tensor `(batch, *shape)` of the given dtype.
    """
    import tensorflow as tf

    value = _tensor(value, dtype, name)
    if value.shape.rank is not None:
        batch_shape(value.shape, shape, name)
    value = tf.ensure_shape(value, (None, *shape))
    if finite:
        _finite(value, name)
    return value


def labels(value: Any, number: int) -> Any:
    """Labels: integers from 0 to `number - 1`.

    Eagerly anything else is an error; in a graph it becomes -1, which `Flow.embed` makes NaN.
    """
    import tensorflow as tf

    # A label of eager TensorFlow is a number also where a graph is made.
    symbolic = tf.is_symbolic_tensor(value)
    if not symbolic:
        value = np.asarray(value)
    kind = np.dtype(value.dtype.as_numpy_dtype if symbolic else value.dtype).kind
    if kind not in "fiu":
        raise ValueError(f"A label must be an integer; the dtype of these is {value.dtype}.")
    valid = (value >= 0) & (value < number)
    if value.dtype not in (tf.int32, tf.int64):
        valid &= value == value // 1
    if symbolic:
        return tf.where(valid, value, tf.cast(-1, value.dtype))
    if not valid.all():
        bad = value[~valid].ravel()
        raise ValueError(
            f"Labels must be integers from 0 to {number - 1}; got {bad[0]}"
            f"{f', and {len(bad) - 1} more that are not' if len(bad) > 1 else ''}."
        )
    return value


def context(
    value: Any,
    shape: tuple[int, ...] | None,
    x: "tf.Tensor",
    dtype: "str | tf.DType",
    finite: bool = True,
    number: int | None = None,
) -> "tf.Tensor | None":
    """The context of every example of x, or None for a flow without context.

    Args:
        value: What was given.
        shape: The context shape of the flow.
        x: The examples, a tensor.
        dtype: Of the context.
        finite: Whether NaN and infinity are errors.
        number: Of labels, where the context is one.

    Returns:
        A tensor `(batch, *shape)`, or None.
    """
    import tensorflow as tf

    if shape is None:
        if value is not None:
            raise ValueError("This flow has no context; got one. Leave `context` out.")
        return None
    needed = f"(batch, {', '.join(map(str, shape))})" if shape else "(batch,)"
    if value is None:
        raise ValueError(f"This flow is conditional: give a `context` of shape {needed}.")
    if number is not None:
        value = labels(value, number)
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


def context_size(
    context_shape: tuple[int, ...] | None, embedding: "keras.layers.Layer | None"
) -> int | None:
    """The size of the context vector that the networks see, None without a context."""
    if context_shape is None:
        return None
    given: tuple = (None, *shape(context_shape, "context_shape"))
    if embedding is not None:
        given = embedding.compute_output_shape(given)
    if len(given) != 2:
        raise ValueError(
            f"The networks take a context vector per example; this context has the shape "
            f"{tuple(given[1:])}. Flatten it, or give a context_embedding that makes a vector."
        )
    return int(given[1])
