"""Inversion of `F(x) = x + g(x)` for a contraction g, with gradients."""

from typing import NamedTuple

import tensorflow as tf


class Inversion(NamedTuple):
    """The result of a fixed-point inversion.

    Attributes:
        x: `(batch, *event)`, the last iterate.
        iterations: `(batch,)` int32, the number of steps each example took.
        converged: `(batch,)` bool.
        residual: `(batch,)`, the size of each example's last step, its largest element.
    """

    x: tf.Tensor
    iterations: tf.Tensor
    converged: tf.Tensor
    residual: tf.Tensor


def _largest(x):
    """The largest absolute element of every example, `(batch,)`."""
    return tf.reduce_max(tf.abs(x), axis=list(range(1, len(x.shape))))


def solve(g, y, atol, rtol, max_iterations):
    """Solves `x + g(x) = y` by the Banach fixed point `x <- y - g(x)`, from `x = y`.

    An example has converged when its last step is at most `atol + rtol * max|y|` in every
    element; it then stays as it is, so its result does not depend on the rest of the batch. The
    tolerance is relative to the example's largest element because g mixes the elements, and
    with them their rounding errors.

    Args:
        g: Function of `(batch, *event)`, a contraction.
        y: Tensor `(batch, *event)`.
        atol: Absolute tolerance.
        rtol: Relative tolerance.
        max_iterations: Cap on the number of steps.

    Returns:
        An `Inversion`. Gradients do not flow through it; see `attach_gradient`.
    """
    y = tf.stop_gradient(y)
    tolerance = atol + rtol * _largest(y)
    batch = tf.shape(y)[:1]
    extra = [1] * (len(y.shape) - 1)

    def step(i, x, iterations, converged, residual):
        x_new = y - g(x)
        change = _largest(x_new - x)
        x = tf.where(tf.reshape(converged, tf.concat([batch, extra], axis=0)), x, x_new)
        iterations = tf.where(converged, iterations, i + 1)
        residual = tf.where(converged, residual, change)
        return i + 1, x, iterations, tf.logical_or(converged, change <= tolerance), residual

    def unfinished(i, x, iterations, converged, residual):
        return tf.logical_and(i < max_iterations, tf.logical_not(tf.reduce_all(converged)))

    start = (
        tf.constant(0),
        y,
        tf.zeros(batch, tf.int32),
        tf.zeros(batch, tf.bool),
        tf.zeros(batch, y.dtype),
    )
    result = tf.while_loop(unfinished, step, start)
    return Inversion(*(tf.stop_gradient(part) for part in result[1:]))


def attach_gradient(y_minus_f, vjp, atol, rtol, max_iterations):
    """Passes `y - F(x)` through, with the gradient of the inverse map at x.

    By the implicit function theorem, `x = F^-1(y)` has `dx = (I + J)^-1 (dy - dF)`. Added to a
    converged, constant x, the result of this function gives just that gradient (and one more
    fixed-point step as its value); the transposed system is solved by the same iteration.

    Args:
        y_minus_f: `y - x - g(x)` at the constant solution x, `(batch, *event)`.
        vjp: Function without arguments that returns `w -> J^T w` on `(1, batch, *event)`.
        atol: Absolute tolerance of the backward solve.
        rtol: Relative tolerance of the backward solve.
        max_iterations: Cap on its number of steps.

    Returns:
        `y_minus_f`.
    """

    @tf.custom_gradient
    def with_gradient(residual):
        def backward(upstream):
            pullback = vjp()
            solution = solve(lambda w: pullback(w[None])[0], upstream, atol, rtol, max_iterations)
            return mark_unconverged(solution)

        return residual, backward

    return with_gradient(y_minus_f)


def mark_unconverged(inversion):
    """The solution, with NaN for every example that did not converge: never a wrong number."""
    x = inversion.x
    shape = tf.concat([tf.shape(x)[:1], [1] * (len(x.shape) - 1)], axis=0)
    nan = tf.constant(float("nan"), x.dtype)
    return tf.where(tf.reshape(inversion.converged, shape), x, nan)
