"""Inversion of `F(x) = x + g(x)` for a contraction g, with gradients."""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf
from tensorflow.python.eager import record  # XLA cannot compile what nested tapes keep of loops

from keras_flows.numerics.elimination import solve_identity_plus
from keras_flows.numerics.gradients import custom_gradient

# Steps of the fixed point after it has converged. The last step bounds the error only up to a
# factor, which is large for a slow contraction, and the blocks that follow multiply the error:
# eight more steps of a contraction by 0.8 leave a sixth of it. A smaller tolerance could not be
# met where rounding is as large.
_POLISH = 8


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


def solve(
    g: Callable[[tf.Tensor], tf.Tensor], y: tf.Tensor, atol: float, rtol: float, max_iterations: int
) -> Inversion:
    """Solves `x + g(x) = y` by the Banach fixed point `x <- y - g(x)`, from `x = y`.

    An example has converged when its last step is at most `atol + rtol * max|y|` in every
    element; it then takes eight more steps, as far as the cap allows, and stays as it is, so its
    result does not depend on the rest of the batch. The tolerance is relative to the example's
    largest element because g mixes the elements, and with them their rounding errors.

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

    def step(i, x, iterations, converged, residual, left):
        x_new = y - g(x)
        change = _largest(x_new - x)
        done = left == 0
        x = tf.where(tf.reshape(done, tf.concat([batch, extra], axis=0)), x, x_new)
        iterations = tf.where(done, iterations, i + 1)
        residual = tf.where(done, residual, change)
        left = tf.where(tf.logical_and(converged, left > 0), left - 1, left)
        converged = tf.logical_or(converged, change <= tolerance)
        return i + 1, x, iterations, converged, residual, left

    def unfinished(i, x, iterations, converged, residual, left):
        return tf.logical_and(i < max_iterations, tf.reduce_any(left > 0))

    start = (
        tf.constant(0),
        y,
        tf.zeros(batch, tf.int32),
        tf.zeros(batch, tf.bool),
        tf.zeros(batch, y.dtype),
        tf.fill(batch, _POLISH),
    )
    with record.stop_recording():
        _, *result, _ = tf.while_loop(unfinished, step, start)
    return Inversion(*(tf.stop_gradient(part) for part in result))


def newton(
    value_and_jacobian: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]],
    y: tf.Tensor,
    atol: float,
    rtol: float,
    max_iterations: int,
) -> Inversion:
    """Solves `x + g(x) = y` for vectors by Newton's method, safeguarded by the fixed point.

    The residual is `r = y - x - g(x)`, which is also the step the fixed point would take. A
    Newton step `x + (I + J)^-1 r` is kept where it makes the residual at least a tenth smaller;
    elsewhere the fixed-point step, which shrinks the residual by the Lipschitz constant of g,
    is taken instead. So it converges wherever the fixed point does, most often in a few steps.
    The stopping rule is that of `solve`: the size of the fixed-point step, element by element.

    Args:
        value_and_jacobian: Function from `(batch, d)` to g and J, `(batch, d)` and
            `(batch, d, d)`.
        y: Tensor `(batch, d)`.
        atol: Absolute tolerance.
        rtol: Relative tolerance.
        max_iterations: Cap on the number of evaluations.

    Returns:
        An `Inversion`. Gradients do not flow through it; see `attach_gradient`.
    """
    y = tf.stop_gradient(y)
    tolerance = atol + rtol * _largest(y)
    batch = tf.shape(y)[:1]

    def evaluate(x):
        g, jacobian = value_and_jacobian(x)
        residual = y - x - g
        return residual, solve_identity_plus(jacobian, residual)

    def step(i, x, residual, move, must_take, iterations, converged):
        tried = x + move
        new_residual, newton_move = evaluate(tried)
        better = tf.norm(new_residual, axis=1) <= 0.9 * tf.norm(residual, axis=1)
        take = tf.logical_and(tf.logical_or(better, must_take), tf.logical_not(converged))
        x = tf.where(take[:, None], tried, x)
        # After a refused Newton step, the next one is the fixed point's.
        move = tf.where(take[:, None], newton_move, residual)
        residual = tf.where(take[:, None], new_residual, residual)
        iterations = tf.where(converged, iterations, i + 1)
        converged = tf.logical_or(converged, _largest(residual) <= tolerance)
        return i + 1, x, residual, move, tf.logical_not(take), iterations, converged

    def unfinished(i, *state):
        return tf.logical_and(i < max_iterations, tf.logical_not(tf.reduce_all(state[-1])))

    residual, move = evaluate(y)
    converged = _largest(residual) <= tolerance
    start = (
        tf.constant(0),
        y,
        residual,
        move,
        tf.zeros(batch, tf.bool),
        tf.zeros(batch, tf.int32),
        converged,
    )
    with record.stop_recording():
        _, x, residual, move, _, iterations, converged = tf.while_loop(unfinished, step, start)
    # The next step is known already, and takes the error down to that of rounding.
    result = Inversion(x + move, iterations, converged, _largest(residual))
    return Inversion(*(tf.stop_gradient(part) for part in result))


def attach_gradient(
    residual: tf.Tensor, solve_transposed: Callable[[tf.Tensor], tf.Tensor]
) -> tf.Tensor:
    """Passes `y - F(x)` through, with the gradient of the inverse map at x.

    By the implicit function theorem, `x = F^-1(y)` has `dx = (I + J)^-1 (dy - dF)`. Added to a
    converged, constant x, the result of this function gives just that gradient (and one more
    fixed-point step as its value).

    Args:
        residual: `y - x - g(x)` at the constant solution x, `(batch, *event)`.
        solve_transposed: Function `w -> (I + J^T)^-1 w` on `(batch, *event)`.

    Returns:
        `residual`.
    """

    @custom_gradient
    def with_gradient(residual):
        return residual, solve_transposed

    return with_gradient(residual)


def mark_unconverged(inversion: Inversion) -> tf.Tensor:
    """The solution, with NaN for every example that did not converge: never a wrong number."""
    x = inversion.x
    shape = tf.concat([tf.shape(x)[:1], [1] * (len(x.shape) - 1)], axis=0)
    nan = tf.constant(float("nan"), x.dtype)
    return tf.where(tf.reshape(inversion.converged, shape), x, nan)
