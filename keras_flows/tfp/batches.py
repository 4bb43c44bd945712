"""Sample, batch and event axes of TensorFlow Probability, and the one batch axis of a flow."""

from typing import TYPE_CHECKING

import tensorflow as tf

from keras_flows import checks

if TYPE_CHECKING:
    from keras_flows.flow import Flow


def flatten(
    flow: "Flow", x: tf.Tensor, event_shape: tuple[int, ...], context: tf.Tensor | None
) -> tuple[tf.Tensor, tf.Tensor | None, tf.Tensor]:
    """Brings x and the context to the one batch axis of a flow.

    Args:
        flow: The flow.
        x: `(*leading, *event_shape)`.
        event_shape: The event shape of x.
        context: `(*batch, *context_shape)`, or None; `batch` and `leading` broadcast.

    Returns:
        x as `(n, *event_shape)`, the context as `(n, *context_shape)` or None, and the
        broadcast leading shape, an int32 tensor.

    Raises:
        ValueError: If x does not end in the event shape.
    """
    x = tf.convert_to_tensor(x)
    rank = len(event_shape)
    if x.shape.rank is None or not x.shape[-rank:].is_compatible_with(event_shape):
        raise ValueError(
            f"The last axes must be the event shape {event_shape}; got a tensor of shape {x.shape}."
        )
    leading = tf.shape(x)[: x.shape.rank - rank]
    if context is not None and flow.context_shape is not None:
        context = tf.cast(context, flow.context_dtype)
        batch = tf.shape(context)[: len(context.shape) - len(flow.context_shape)]
        leading = tf.broadcast_dynamic_shape(leading, batch)
        x = tf.broadcast_to(x, tf.concat([leading, event_shape], axis=0))
        context = tf.broadcast_to(context, tf.concat([leading, flow.context_shape], axis=0))
        context = tf.reshape(context, (-1, *flow.context_shape))
    return tf.reshape(x, (-1, *event_shape)), context, leading


def checked_context(flow: "Flow", context: tf.Tensor | None) -> tf.Tensor | None:
    """The context as a tensor or variable, or None for a flow without one."""
    if flow.context_shape is None:
        if context is not None:
            raise ValueError("This flow has no context; got one. Leave `context` out.")
        return None
    shape = tuple(flow.context_shape)
    needed = f"(*batch, {', '.join(map(str, shape))})" if shape else "(*batch)"
    if context is None:
        raise ValueError(
            f"This flow is conditional: give a `context` of shape {needed}, where batch becomes "
            "the batch shape."
        )
    if flow.labels is not None and not isinstance(context, tf.Variable):
        context = checks.labels(context, flow.labels)
    if not isinstance(context, tf.Variable):
        context = tf.cast(context, flow.context_dtype)
    rank = context.shape.rank
    if rank is None or rank < len(shape) or not context.shape[rank - len(shape) :] == shape:
        raise ValueError(f"context must have shape {needed}; got {context.shape}.")
    return context
