"""Which step made a NaN: the errors of eager calls of a flow."""

import tensorflow as tf

from keras_flows.errors import ConvergenceError, NonFiniteError


def explain_encode(transform, x, context, noise):
    """Encodes step by step, and raises a NonFiniteError that names the first step with a NaN."""
    for path, z, log_det in transform.encode_steps(x, context, noise):
        bad = _count(_any_nan(z) | tf.math.is_nan(log_det))
        if bad:
            raise NonFiniteError(
                f"Encoding makes NaN for {bad} of {len(x)} examples in step {path!r}. Is the data "
                "in the range that step needs?"
            )
    raise NonFiniteError("The base density is NaN at the latent of an example.")


def explain_decode(transform, z, context, noise):
    """Decodes step by step, and raises the error of the first step with a NaN.

    A ConvergenceError with the residual where that step is an inverse that did not converge,
    otherwise a NonFiniteError.
    """
    examples = len(z)
    for path, x in transform.decode_steps(z, context, noise):
        bad = _count(_any_nan(x))
        if bad and hasattr(step := step_at(transform, path), "invert"):
            raise ConvergenceError(_describe_inversion(path, step, z, context))
        if bad:
            raise NonFiniteError(
                f"Decoding makes NaN for {bad} of {examples} examples in step {path!r}."
            )
        z = x
    raise NonFiniteError("Decoding makes NaN, but not when repeated step by step.")


def _any_nan(x):
    """Which examples hold a NaN, `(batch,)`."""
    return tf.reduce_any(tf.math.is_nan(x), axis=list(range(1, len(x.shape))))


def _count(which):
    return int(tf.reduce_sum(tf.cast(which, tf.int32)))


def step_at(transform, path):
    """The step that a path of `encode_steps` or `decode_steps` names."""
    for part in path.split("/"):
        if part.isdigit():
            transform = transform.steps[int(part)]
    return transform


def _describe_inversion(path, block, z, context):
    result = block.invert(z, context)
    failed = tf.boolean_mask(result.residual, ~result.converged).numpy()
    index = int(tf.argmax(~result.converged))
    return (
        f"The inverse of {path!r} did not converge within {block.max_iterations} iterations for "
        f"{len(failed)} of {len(z)} examples (the first at index {index}): the largest residual is "
        f"{failed.max():.3g}, the tolerance {block.tolerance:.3g} absolute and relative. Allow "
        "more `max_iterations`, or a larger `tolerance`; `flow.certify()` says how fast a block "
        "must converge."
    )
