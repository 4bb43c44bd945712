"""One update of weights, which a NaN does not reach."""

import tensorflow as tf

from keras_flows.numerics import replicas
from keras_flows.training.guard import Parts


def update(log_prob, loss, optimizer, variables, guard, jit_compile=False):
    """One step of maximum likelihood.

    A step with NaN or infinity in any part leaves the variables finite: its gradients count as
    zero, and the guard knows of it. Under a `tf.distribute.Strategy` a part is that of all
    replicas, and so are the gradients, before the optimizer clips them.

    Args:
        log_prob: Function of an observer (see `keras_flows.calls.density`) that gives the log_prob
            of the batch, `(batch,)`.
        loss: From that log_prob to the scalar that is minimised; of a replica, its part of it.
        optimizer: A Keras optimizer.
        variables: The trainable variables.
        guard: A `Guard`.
        jit_compile: Whether XLA compiles the loss and its gradients by themselves.

    Returns:
        `(log_prob, loss)`.
    """
    names = []

    def differentiate():
        parts = Parts()
        with tf.GradientTape() as tape:
            scores = log_prob(parts.add)
            parts.add("log_prob", scores)
            value = loss(scores)
            scaled = optimizer.scale_loss(value)
        gradients = tape.gradient(scaled, variables)
        # One check for all: a check for each gradient takes XLA a quarter of its time to compile.
        flat = [tf.reshape(g, [-1]) for g in gradients if g is not None]
        parts.add("the gradients", tf.concat(flat, axis=0))
        names[:] = parts.names
        return scores, value, parts.all(), gradients

    step = optimizer.iterations
    if jit_compile:
        differentiate = tf.function(differentiate, jit_compile=True, autograph=False)
    scores, value, finite, gradients = differentiate()
    if replicas.count() > 1:
        value, finite, gradients = _of_all(value, finite, gradients)
    guard.note(step, names, finite)
    ok = tf.reduce_all(finite)
    gradients = [None if g is None else tf.where(ok, g, tf.zeros_like(g)) for g in gradients]
    optimizer.apply_gradients(zip(gradients, variables, strict=True))
    return scores, value


def _of_all(value, finite, gradients):
    """The sums over all replicas, in one exchange; a part is finite where it is in all."""
    there = [tf.convert_to_tensor(g) for g in gradients if g is not None]
    bad = tf.cast(~finite, value.dtype)
    value, bad, *there = replicas.total(value, bad, *there)
    there = iter(there)
    return value, bad == 0, [None if g is None else next(there) for g in gradients]
