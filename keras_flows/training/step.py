"""One update of weights, which a NaN does not reach."""

import tensorflow as tf

from keras_flows.training.guard import Parts


def update(log_prob, loss, optimizer, variables, guard):
    """One step of maximum likelihood.

    A step with NaN or infinity in any part leaves the variables finite: its gradients count as
    zero, and the guard knows of it.

    Args:
        log_prob: Function of an observer (see `keras_flows.calls.density`) that gives the log_prob
            of the batch, `(batch,)`.
        loss: From that log_prob to the scalar that is minimised.
        optimizer: A Keras optimizer.
        variables: The trainable variables.
        guard: A `Guard`.

    Returns:
        `(log_prob, loss)`.
    """
    parts = Parts()
    step = optimizer.iterations
    with tf.GradientTape() as tape:
        scores = log_prob(parts.add)
        parts.add("log_prob", scores)
        value = loss(scores)
        scaled = optimizer.scale_loss(value)
    gradients = tape.gradient(scaled, variables)
    # One check for all: a check for each gradient takes XLA a quarter of its time to compile.
    flat = [tf.reshape(g, [-1]) for g in gradients if g is not None]
    parts.add("the gradients", tf.concat(flat, axis=0))
    guard.note(step, parts)
    ok = parts.all_finite()
    gradients = [None if g is None else tf.where(ok, g, tf.zeros_like(g)) for g in gradients]
    optimizer.apply_gradients(zip(gradients, variables, strict=True))
    return scores, value
