"""What people hand to `fit` and `evaluate`, and what a training step makes of a batch of it."""

import keras

from keras_flows import checks


def unpack(data, flow):
    """The data, context and weights of a batch, as Keras hands it to a step.

    NaN is left to the training step, which says where it met it first.

    Args:
        data: What Keras's data adapter made.
        flow: The `keras_flows.Flow` it is for.

    Returns:
        `(x, context, weights)`, the latter two None where there are none.

    Raises:
        ValueError: If there is a context too many or none where one is needed, or a shape or dtype
            does not fit.
    """
    x, y, weights = keras.utils.unpack_x_y_sample_weight(data)
    if isinstance(x, dict):
        x, weights = x["x"], x.get("sample_weight")
    if isinstance(x, (tuple, list)) and len(x) == 2 and y is None:
        x, y = x
    if (y is None) != (flow.context_shape is None):
        raise ValueError(
            "This flow has no context: fit and evaluate take the data alone."
            if flow.context_shape is None
            else "This flow is conditional: fit and evaluate take (x, context)."
        )
    x = checks.batch(x, flow.event_shape, flow.compute_dtype, "x", finite=False)
    y = checks.context(y, flow.context_shape, x, flow.context_dtype, finite=False)
    return x, y, weights


def check_shape(x, event_shape):
    """Checks the shape of arrays, before Keras slices them into batches."""
    x = x[0] if isinstance(x, tuple) and x else x
    if hasattr(x, "shape"):
        checks.batch_shape(x.shape, event_shape, "x")


def keep_weights(x, y, sample_weight):
    """Puts sample weights beside the data where there are no targets: Keras would drop them."""
    if sample_weight is None or y is not None:
        return x, y, sample_weight
    return {"x": x, "sample_weight": sample_weight}, None, None
