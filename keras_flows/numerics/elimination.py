"""Linear algebra of small matrices `I + J` with a norm of J below one.

Gaussian elimination without pivoting, written out: the symmetric part of such a matrix is positive
definite, so every pivot is positive and the elimination is stable. It is made of forward operations
only, which compile under XLA and convert to ONNX, where the library routines do not. Where the norm
of J is one or more, a pivot may be negative: the logarithm is then NaN.
"""

import tensorflow as tf


def _identity_plus(jacobian):
    return jacobian + tf.eye(jacobian.shape[-1], dtype=jacobian.dtype)


def log_det_identity_plus(jacobian: tf.Tensor) -> tf.Tensor:
    """`ln det(I + J)`: `(batch, d, d)` to `(batch,)`."""
    matrix = _identity_plus(jacobian)
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
