"""Inversion of `F(x) = x + g(x)` for a contraction g, with gradients.

Examples converge after different numbers of steps. Those that are done leave the computation, so
that a batch costs what its examples cost, not what its slowest would cost for all. (XLA, whose
shapes are fixed, computes something in their place.)
"""

import contextlib
import contextvars
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias

import tensorflow as tf
from tensorflow.python.eager import record  # XLA cannot compile what nested tapes keep of loops

from keras_flows.numerics.elimination import solve_identity_plus
from keras_flows.numerics.gradients import custom_gradient

# Steps of the fixed point after it has converged. The last step bounds the error only up to a
# factor, which is large for a slow contraction, and the blocks that follow multiply the error:
# eight more steps of a contraction by 0.8 leave a sixth of it. A smaller tolerance could not be
# met where rounding is as large.
_POLISH = 8

# Takes the rows of some examples out of a tensor of the whole batch.
Pick: TypeAlias = Callable[[tf.Tensor], tf.Tensor]

_wanted: contextvars.ContextVar[float | tf.Tensor | None] = contextvars.ContextVar(
    "tolerance", default=None
)


@contextlib.contextmanager
def tolerance(value: float | tf.Tensor | None) -> Iterator[None]:
    """Within it every inverse has this tolerance instead of its own; None for its own."""
    token = _wanted.set(value)
    try:
        yield
    finally:
        _wanted.reset(token)


def wanted(own: float) -> float | tf.Tensor:
    """The tolerance of an inverse: its own, or that of the `tolerance` it is in."""
    value = _wanted.get()
    return own if value is None else value


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


def _all(tensor):
    """Picks all examples."""
    return tensor


def _loop(most, step, rows, everywhere):
    """Repeats a step on the examples that are not done, and gives what their rows are at the end.

    Args:
        most: Cap on the number of steps.
        step: Function of the number of the step, a `Pick`, and the rows of the examples that it
            picks, to their new rows; the first of them is whether an example is done.
        rows: Tensors `(batch, ...)`.
        everywhere: Whether all examples are in every step; what is done then stays as it is.
    """

    def body(i, *rows):
        if everywhere:
            made = step(i, _all, *rows)
            done = [tf.reshape(rows[0], [-1] + [1] * (len(row.shape) - 1)) for row in rows]
            return i + 1, *map(tf.where, done, rows, made)
        indices = tf.where(tf.logical_not(rows[0]))

        def pick(tensor):
            return tf.gather_nd(tensor, indices)

        made = step(i, pick, *map(pick, rows))
        return i + 1, *map(tf.tensor_scatter_nd_update, rows, [indices] * len(rows), made)

    def unfinished(i, done, *_):
        return tf.logical_and(i < most, tf.logical_not(tf.reduce_all(done)))

    with record.stop_recording():
        _, *rows = tf.while_loop(unfinished, body, (tf.constant(0), *rows))
    return [tf.stop_gradient(row) for row in rows]


def solve(
    g: Callable[[tf.Tensor, Pick], tf.Tensor],
    y: tf.Tensor,
    atol: float | tf.Tensor,
    rtol: float | tf.Tensor,
    max_iterations: int,
    everywhere: bool = False,
) -> Inversion:
    """Solves `x + g(x) = y` by the Banach fixed point `x <- y - g(x)`, from `x = y`.

    An example has converged when its last step is at most `atol + rtol * max|y|` in every
    element; it then takes eight more steps, as far as the cap allows, and stays as it is, so its
    result does not depend on the rest of the batch. The tolerance is relative to the example's
    largest element because g mixes the elements, and with them their rounding errors.

    Args:
        g: Function of examples `(n, *event)` and of the `Pick` that takes what belongs to them
            out of tensors of the whole batch, a contraction.
        y: Tensor `(batch, *event)`.
        atol: Absolute tolerance.
        rtol: Relative tolerance.
        max_iterations: Cap on the number of steps.
        everywhere: Whether g is always given the whole batch.

    Returns:
        An `Inversion`. Gradients do not flow through it; see `attach_gradient`.
    """
    y = tf.stop_gradient(y)
    tolerance = atol + rtol * _largest(y)
    batch = tf.shape(y)[:1]

    def step(i, pick, done, x, iterations, converged, residual, left):
        x_new = pick(y) - g(x, pick)
        residual = _largest(x_new - x)
        left = tf.where(converged, left - 1, left)
        converged = tf.logical_or(converged, residual <= pick(tolerance))
        iterations = tf.zeros_like(iterations) + i + 1
        return left == 0, x_new, iterations, converged, residual, left

    never, none = tf.zeros(batch, tf.bool), tf.zeros(batch, tf.int32)
    start = (never, y, none, never, tf.zeros(batch, y.dtype), none + _POLISH)
    _, x, iterations, converged, residual, _ = _loop(max_iterations, step, start, everywhere)
    return Inversion(x, iterations, converged, residual)


def newton(
    value_and_jacobian: Callable[[tf.Tensor, Pick], tuple[tf.Tensor, tf.Tensor]],
    y: tf.Tensor,
    atol: float | tf.Tensor,
    rtol: float | tf.Tensor,
    max_iterations: int,
) -> Inversion:
    """Solves `x + g(x) = y` for vectors by Newton's method, safeguarded by the fixed point.

    The residual is `r = y - x - g(x)`, which is also the step the fixed point would take. A
    Newton step `x + (I + J)^-1 r` is kept where it makes the residual at least a tenth smaller;
    elsewhere the fixed-point step, which shrinks the residual by the Lipschitz constant of g,
    is taken instead. So it converges wherever the fixed point does, most often in a few steps.
    The stopping rule is that of `solve`: the size of the fixed-point step, element by element.

    Args:
        value_and_jacobian: Function from examples `(n, d)` and their `Pick`, see `solve`, to g and
            J, `(n, d)` and `(n, d, d)`.
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

    def step(i, pick, done, x, residual, move, must_take, iterations):
        tried = x + move
        g, jacobian = value_and_jacobian(tried, pick)
        new_residual = pick(y) - tried - g
        newton_move = solve_identity_plus(jacobian, new_residual)
        better = tf.norm(new_residual, axis=1) <= 0.9 * tf.norm(residual, axis=1)
        take = tf.logical_or(better, must_take)
        x = tf.where(take[:, None], tried, x)
        # After a refused Newton step, the next one is the fixed point's.
        move = tf.where(take[:, None], newton_move, residual)
        residual = tf.where(take[:, None], new_residual, residual)
        converged = _largest(residual) <= pick(tolerance)
        return converged, x, residual, move, tf.logical_not(take), tf.zeros_like(iterations) + i

    # The first step stays at y: with an evaluation of its own before the loop, what a graph has to
    # hold would be twice as large.
    never, none, zero = tf.zeros(batch, tf.bool), tf.zeros(batch, tf.int32), tf.zeros_like(y)
    start = (never, y, zero, zero, tf.logical_not(never), none)
    converged, x, residual, move, _, iterations = _loop(max_iterations + 1, step, start, False)
    # The next step is known already, and takes the error down to that of rounding.
    return Inversion(x + move, iterations, converged, _largest(residual))


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
