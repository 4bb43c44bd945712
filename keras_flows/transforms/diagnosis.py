"""Which step made a NaN: the errors of eager calls of a flow."""

import tensorflow as tf

from keras_flows.errors import ConvergenceError, NonFiniteError
from keras_flows.noise import Noise
from keras_flows.transforms.base import Transform
from keras_flows.transforms.composite import step_at


def explain(
    transform: Transform,
    direction: str,
    x: tf.Tensor,
    context: tf.Tensor | None,
    noise: Noise | None,
) -> None:
    """Runs a transform step by step, and raises the error of the first step with a NaN.

    Args:
        transform: The transform of a flow.
        direction: `"encode"` or `"decode"`.
        x: What was encoded or decoded.
        context: The vector that the transform sees of its context, or None.
        noise: The source of randomness as it was at the beginning, or None.

    Raises:
        ConvergenceError: With the residual, if that step is an inverse that did not converge.
        NonFiniteError: Otherwise.
    """
    run = _explain_encode if direction == "encode" else _explain_decode
    run(transform, x, context, noise)


def _explain_encode(transform, x, context, noise):
    for path, z, log_det in transform.encode_steps(x, context, noise):
        bad = _count(_any_nan(z) | tf.math.is_nan(log_det))
        if bad:
            step, needed = step_at(transform, path), "Is the data in the range that step needs?"
            if step.dequantizes:
                needed = f"It needs integers 0 … {2**step.bits - 1}, of {step.bits} bits."
            raise NonFiniteError(
                f"Encoding makes NaN for {bad} of {len(x)} examples in step {path!r}. {needed}"
            )
    raise NonFiniteError("The base density is NaN at the latent of an example.")


def _explain_decode(transform, z, context, noise):
    examples = len(z)
    for path, x in transform.decode_steps(z, context, noise):
        bad = _count(_any_nan(x))
        if bad:
            step = step_at(transform, path)
            inversion = step.invert(z, context)
            if inversion is not None:
                raise ConvergenceError(_describe_inversion(path, step, inversion))
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


def _describe_inversion(path, block, result):
    failed = tf.boolean_mask(result.residual, ~result.converged).numpy()
    index = int(tf.argmax(~result.converged))
    return (
        f"The inverse of {path!r} did not converge within {block.max_iterations} iterations for "
        f"{len(failed)} of {len(result.residual)} examples (the first at index {index}): the "
        f"largest residual is {failed.max():.3g}, the tolerance {block.wanted_tolerance:.3g} "
        "absolute and relative. Allow more `max_iterations`, or a larger `tolerance`; "
        "`flow.certify()` says how fast a block must converge."
    )
