"""The invertible 1×1 convolution: matrices in and out."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.stats import ortho_group

from keras_flows.transforms import Conv1x1
from tests.derivatives import random


def made(channels=5, matrix=None, dtype="float64"):
    step = Conv1x1(dtype=dtype)
    step.build((None, 2, 3, channels))
    if matrix is not None:
        for name, value in step.parts(matrix).items():
            getattr(step, name).assign(value)
    return step


@pytest.mark.parametrize("channels", [1, 2, 5, 12])
def test_the_start_is_orthogonal(channels):
    matrix = made(channels).matrix().numpy()
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(channels), atol=1e-6)
    assert not np.allclose(matrix, made(channels).matrix()) or channels == 1


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("kind", ["any", "rotation", "permutation", "reflection", "triangle"])
def test_a_matrix_is_read_back(kind, seed):
    rng = np.random.default_rng(seed)
    matrix = {
        "any": rng.standard_normal((6, 6)),
        "rotation": ortho_group.rvs(6, random_state=seed),
        "permutation": np.eye(6)[rng.permutation(6)],
        "reflection": -np.eye(6),
        "triangle": np.triu(rng.standard_normal((6, 6))),
    }[kind]
    step, x = made(6, matrix), random(4, 2, 3, 6)
    np.testing.assert_allclose(step.matrix(), matrix, rtol=0, atol=1e-14)
    np.testing.assert_allclose(
        step.inverse_matrix() @ matrix, np.eye(6), atol=1e-12 * np.linalg.cond(matrix)
    )
    z, log_det = step.encode(x)
    np.testing.assert_allclose(z, np.einsum("oi,bhwi->bhwo", matrix, x), rtol=1e-12, atol=1e-12)
    expected = 6 * np.linalg.slogdet(matrix)[1]
    np.testing.assert_allclose(log_det, np.full(4, expected), rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(step.decode(z), x, atol=1e-12 * np.linalg.cond(matrix))


def test_single_precision_reads_back_to_rounding():
    matrix = ortho_group.rvs(50, random_state=0)
    np.testing.assert_allclose(made(50, matrix, "float32").matrix(), matrix, atol=1e-6)


def test_as_many_trained_numbers_as_the_matrix_has():
    step = made(7)
    assert [tuple(w.shape) for w in step.trainable_weights] == [(7, 7)]


def test_a_singular_matrix_is_an_error():
    with pytest.raises(ValueError, match=r"shape \(3, 3\) has no inverse"):
        Conv1x1.parts(np.ones((3, 3)))


def test_vectors_are_an_error():
    with pytest.raises(ValueError, match=r"takes images .*; got \(4,\)"):
        Conv1x1().build((None, 4))


def test_gradients_keep_the_diagonal_away_from_zero():
    # d is the logarithm of the diagonal: no step can make the matrix singular.
    step = made(3, np.diag([1e-6, -1.0, 2.0]))
    with tf.GradientTape() as tape:
        log_det = step.encode(random(1, 2, 3, 3))[1]
    np.testing.assert_allclose(tape.gradient(log_det, step.triangles.value), 6 * np.eye(3))
