"""Several draws of a random log_prob: their mean, their standard error, their errors."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_flows.models import IDenseNet
from tests.registry import move_weights

X = np.random.default_rng(0).normal(size=(3, 2))


@pytest.fixture(scope="module")
def flow():
    keras.utils.set_random_seed(0)
    made = IDenseNet((2,), blocks=2, depth=1, growth=4, log_det="unbiased", dtype="float64")
    move_weights(made)
    return made


def test_the_mean_of_the_draws(flow):
    draws = flow.log_prob_draws(X, 5, seed=3)
    assert draws.shape == (5, 3)
    assert len(np.unique(draws)) == 15
    mean = flow.log_prob(X, seed=3, num_probes=5)
    np.testing.assert_allclose(mean, np.mean(draws, axis=0), rtol=1e-12)
    # The first of more draws are the same.
    np.testing.assert_array_equal(flow.log_prob_draws(X, 2, seed=3), draws[:2])
    assert not np.array_equal(flow.log_prob(X, num_probes=2), flow.log_prob(X, num_probes=2))
    np.testing.assert_array_equal(*(flow.log_prob(X, seed=4, num_probes=1) for _ in range(2)))


@pytest.mark.slow
def test_the_standard_error_covers_the_exact_value(flow):
    exact = IDenseNet((2,), blocks=2, depth=1, growth=4, dtype="float64")
    exact.set_weights(flow.get_weights())
    draws = flow.log_prob_draws(X, 400, seed=1).numpy()
    error = draws.std(axis=0, ddof=1) / np.sqrt(len(draws))
    assert (error > 0.0).all()
    assert (np.abs(draws.mean(axis=0) - exact.log_prob(X)) < 4.0 * error).all()


@pytest.mark.slow
def test_training_mode_and_gradients(flow):
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(flow.log_prob(X, seed=2, training=True, num_probes=3))
    gradients = tape.gradient(total, flow.trainable_variables)
    assert all(gradient is not None for gradient in gradients)
    one = flow.log_prob_draws(X, 1, seed=2, training=True)
    assert not np.array_equal(one, flow.log_prob_draws(X, 1, seed=2))  # fewer exact terms


def test_errors(flow):
    exact = IDenseNet((2,), blocks=1, depth=1, growth=4)
    assert exact.log_prob(X, num_probes=1).shape == (3,)
    with pytest.raises(ValueError, match="draws no random numbers: there is nothing to average"):
        exact.log_prob(X, num_probes=2)
    with pytest.raises(ValueError, match="num_probes must be an integer, at least 1; got 0"):
        flow.log_prob(X, num_probes=0)
    with pytest.raises(ValueError, match="Recorded noise is for one draw"):
        flow.log_prob(X, num_probes=2, noise=[X, X])
