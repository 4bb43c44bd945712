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
    return *flow.calls.checked(x, y, finite=False), weights


def check(flow, x, y=None, sample_weight=None):
    """Checks arrays as a whole, before Keras slices them into batches.

    Args:
        flow: The `keras_flows.Flow` they are for.
        x: The data, `(x, context)`, or a data set, which is checked batch by batch.
        y: The context, or None.
        sample_weight: Weights of the examples, or None.

    Raises:
        ValueError: If there are no data, or an array does not fit.
    """
    if x is None:
        raise ValueError("There are no data: x is None.")
    if isinstance(x, tuple) and len(x) == 2 and y is None:
        x, y = x
    if not hasattr(x, "shape"):
        return
    checks.batch_shape(x.shape, flow.event_shape, "x")
    if y is not None and flow.context_shape is None:
        raise ValueError("This flow has no context: fit and evaluate take the data alone.")
    if y is not None and flow.labels is not None:
        checks.labels(y, flow.labels)
    if sample_weight is not None and len(sample_weight) != len(x):
        raise ValueError(
            f"sample_weight must have one number for each of the {len(x)} examples; it has "
            f"{len(sample_weight)}."
        )


def callback_list(callbacks):
    """Callbacks as a list."""
    if callbacks is None:
        return []
    if not isinstance(callbacks, (list, tuple)):
        raise ValueError(f"callbacks must be a list of Keras callbacks; got {callbacks!r}.")
    for callback in callbacks:
        checks.instance(callback, keras.callbacks.Callback, "Every callback")
    return list(callbacks)


def keep_weights(x, y, sample_weight):
    """Puts sample weights beside the data where there are no targets: Keras would drop them."""
    if sample_weight is None or y is not None:
        return x, y, sample_weight
    return {"x": x, "sample_weight": sample_weight}, None, None
