"""Linear algebra of small matrices `I + J` with a norm of J below one.

Gaussian elimination without pivoting, written out for a few rows and a loop for more: the
symmetric part of such a matrix is positive definite, so every pivot is positive and the elimination
is stable. It is made of forward operations only, which compile under XLA and convert to ONNX, where
the library routines do not. Where the norm of J is one or more, a pivot may be negative: the
logarithm is then NaN.
"""

import tensorflow as tf

from keras_flows.numerics.gradients import custom_gradient

# Up to so many rows the elimination is written out: it runs faster, but every row adds operations
# to the graph of every block, and compiling them takes longer than all that it saves.
_WRITTEN_OUT = 8


def _identity_plus(jacobian):
    return jacobian + tf.eye(jacobian.shape[-1], dtype=jacobian.dtype)


def log_det_identity_plus(jacobian: tf.Tensor) -> tf.Tensor:
    """`ln det(I + J)`: `(batch, d, d)` to `(batch,)`."""
    matrix = _identity_plus(jacobian)
    if matrix.shape[-1] > _WRITTEN_OUT:
        return _log_det(matrix)
    log_det = tf.math.log(matrix[:, 0, 0])
    for _ in range(jacobian.shape[-1] - 1):
        column, row = matrix[:, 1:, :1], matrix[:, :1, 1:]
        matrix = matrix[:, 1:, 1:] - column * row / matrix[:, :1, :1]
        log_det += tf.math.log(matrix[:, 0, 0])
    return log_det


def solve_identity_plus(jacobian: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
    """`(I + J)^-1 r`: `(batch, d, d)` and `(batch, d)` to `(batch, d)`."""
    # Gauss-Jordan: every step turns the first column into a unit vector and drops it.
    rows = tf.concat([_identity_plus(jacobian), right[:, :, None]], axis=2)
    for k in range(jacobian.shape[-1]):
        pivot = rows[:, k : k + 1, 1:] / rows[:, k : k + 1, :1]
        others = rows[:, :, 1:] - rows[:, :, :1] * pivot
        rows = tf.concat([others[:, :k], pivot, others[:, k + 1 :]], axis=1)
    return rows[:, :, 0]


# A loop is not differentiated: its gradient would keep every iteration.


@custom_gradient
def _log_det(matrix):
    """`ln det A`; its gradient is `A^-T`."""
    size = matrix.shape[-1]

    def eliminate(k, matrix, log_det):
        pivot = matrix[:, k, k]
        below = tf.cast(tf.range(size) > k, matrix.dtype)
        column = matrix[:, :, k] * below / pivot[:, None]
        matrix -= column[:, :, None] * matrix[:, k, None, :]
        return k + 1, matrix, log_det + tf.math.log(pivot)

    start = tf.constant(0), matrix, tf.zeros_like(matrix[:, 0, 0])
    log_det = tf.while_loop(lambda k, *_: k < size, eliminate, start, maximum_iterations=size)[-1]

    def gradient(upstream):
        return upstream[:, None, None] * tf.linalg.matrix_transpose(_inverse(matrix))

    return log_det, gradient


@custom_gradient
def _inverse(matrix):
    """`A^-1`; its gradient is `G -> -A^-T G A^-T`."""
    size = matrix.shape[-1]

    def eliminate(k, matrix):
        # Gauss-Jordan in place: column k of the identity replaces the column that is done.
        unit = tf.one_hot(k, size, dtype=matrix.dtype)
        pivot = matrix[:, k, k, None]
        row = (matrix[:, k] + unit - matrix[:, k] * unit) / pivot
        column = matrix[:, :, k] * (1 - unit)
        others = matrix * (1 - unit) * (1 - unit)[:, None] - column[:, :, None] * row[:, None]
        return k + 1, others + unit[:, None] * row[:, None]

    start = tf.constant(0), matrix
    inverse = tf.while_loop(lambda k, _: k < size, eliminate, start, maximum_iterations=size)[-1]

    def gradient(upstream):
        # Made again, for the derivatives of this one.
        transposed = tf.linalg.matrix_transpose(_inverse(matrix))
        return -transposed @ upstream @ transposed

    return inverse, gradient
