"""Batch normalisation between steps: the statistics of a batch, and the averages of them."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_flows as kf
from keras_flows.models import MaskedAutoregressiveFlow
from keras_flows.training import frozen_normalization
from keras_flows.training.normalization import norms
from keras_flows.transforms import BatchNormalize


def step():
    made = BatchNormalize(dtype="float64")
    made.build((None, 3))
    made.log_scale.assign([0.2, -1.0, 0.0])
    made.shift.assign([1.0, 0.0, -2.0])
    return made


def batch(seed=0, n=50):
    return np.random.default_rng(seed).normal([5.0, -3.0, 0.0], [0.1, 2.0, 30.0], (n, 3))


def expected(x, mean, variance):
    scale = np.exp([0.2, -1.0, 0.0]) / np.sqrt(variance + 1e-5)
    return (x - mean) * scale + [1.0, 0.0, -2.0], np.log(scale).sum()


def test_training_goes_by_the_batch_and_evaluation_by_moving_averages():
    norm, mean, variance = step(), np.zeros(3), np.ones(3)
    for seed in range(3):
        x = batch(seed)
        z, log_det = norm.encode(tf.constant(x), training=True)
        made, total = expected(x, x.mean(axis=0), x.var(axis=0))
        np.testing.assert_allclose(z, made, rtol=1e-9)
        np.testing.assert_allclose(log_det, np.full(50, total), rtol=1e-9)
        mean = 0.9 * mean + 0.1 * x.mean(axis=0)
        variance = 0.9 * variance + 0.1 * x.var(axis=0, ddof=1)
    x = batch(7, 4)
    z, log_det = norm.encode(tf.constant(x))
    made, total = expected(x, mean, variance)
    np.testing.assert_allclose(z, made, rtol=1e-9)
    np.testing.assert_allclose(log_det, np.full(4, total), rtol=1e-9)
    np.testing.assert_allclose(norm.decode(z), x, rtol=1e-9)


def test_gradients_go_through_the_statistics_of_the_batch():
    # The mean of what is normalised is the shift, whatever x is.
    norm, x = step(), tf.constant(batch())
    with tf.GradientTape() as tape:
        tape.watch(x)
        z, _ = norm.encode(x, training=True)
        total = tf.reduce_sum(z)
    np.testing.assert_allclose(tape.gradient(total, x), np.zeros((50, 3)), atol=1e-12)


def test_evaluation_and_frozen_steps_move_no_average():
    norm = step()
    flow = kf.Flow(norm, (3,), dtype="float64")
    assert norms(flow) == [norm.norm]
    before = [weight.numpy() for weight in flow.weights]
    flow.log_prob(batch())
    with frozen_normalization(flow):
        z, _ = norm.encode(tf.constant(batch()), training=True)
    np.testing.assert_array_equal(z, norm.encode(tf.constant(batch()))[0])
    for weight, old in zip(flow.weights, before, strict=True):
        np.testing.assert_array_equal(weight, old)


def test_recalibrated_averages_are_those_of_the_data():
    flow = kf.Flow(step(), (3,), dtype="float64")
    x = batch(n=200)
    kf.training.recalibrate(flow, x, batch_size=200)
    np.testing.assert_allclose(flow.transform.norm.moving_mean, x.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(flow.transform.norm.moving_variance, x.var(axis=0, ddof=1))


@pytest.mark.slow
def test_a_masked_autoregressive_flow_with_it():
    flow = MaskedAutoregressiveFlow((3,), 2, 4, 1, batch_normalization=True, dtype="float64")
    names = [type(one).__name__ for one in flow.transform.steps]
    assert names == ["Standardize", *["Autoregressive", "BatchNormalize"] * 2]
    x = batch()
    kf.training.adapt(flow, x)
    flow.compile(keras.optimizers.Adam(1e-2), run_eagerly=True)
    flow.fit(x, epochs=2, batch_size=25, verbose=0)
    norm = flow.transform.steps[2]
    assert (np.abs(norm.norm.moving_mean) > 0).all() and (norm.log_scale.numpy() != 0.0).all()
    np.testing.assert_allclose(flow.decode(flow.encode(x)), x, rtol=1e-9)
    # Evaluation steps within fit leave the averages as they are.
    before = norm.norm.moving_variance.numpy()
    flow.evaluate(x, verbose=0)
    np.testing.assert_array_equal(norm.norm.moving_variance, before)


def test_images_are_an_error():
    with pytest.raises(ValueError, match=r"BatchNormalize is for vectors; got .*\(2, 2, 3\)"):
        kf.Flow(BatchNormalize(), (2, 2, 3))
    with pytest.raises(ValueError, match="batch_normalization must be True or False"):
        MaskedAutoregressiveFlow((3,), batch_normalization="yes")
