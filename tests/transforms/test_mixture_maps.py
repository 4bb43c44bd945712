"""Maps by mixtures of logistics, and the base density that goes with them."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from keras_flows import Flow
from keras_flows.bases import StandardLogistic
from keras_flows.layers import MADE
from keras_flows.noise import SeededNoise
from keras_flows.transforms import Autoregressive
from keras_flows.transforms.maps import AffineLogisticMixtureMap, LogisticMixtureMap
from tests.derivatives import random


def test_log_prob_with_a_logistic_base_is_that_of_the_mixture():
    map = LogisticMixtureMap(3)
    flow = Flow(
        Autoregressive(MADE(1, 9, (4,), dtype="float64"), map, dtype="float64"),
        (1,),
        base=StandardLogistic(dtype="float64"),
        dtype="float64",
    )
    logits, log_scales = np.array([0.5, -1.0, 0.2]), np.array([0.3, -1.0, 0.0])
    # No feature is before the only one: the parameters are the biases.
    flow.transform.network.last.bias.assign([*logits, *[0.0] * 3, *log_scales])
    x = np.linspace(-6.0, 6.0, 30)[:, None]
    weights = np.exp(logits) / np.exp(logits).sum()
    expected = np.log(stats.logistic.pdf(x, [-1.0, 0.0, 1.0], np.exp(log_scales)) @ weights)
    np.testing.assert_allclose(flow.log_prob(x), expected, rtol=1e-10)
    np.testing.assert_allclose(flow.decode(flow.encode(x)), x, rtol=1e-10)


def test_the_affine_map_is_the_other_one_scaled_and_shifted():
    x, parameters = random(6, seed=1), random(6, 11, seed=2)
    z, log_slope = AffineLogisticMixtureMap(3).encode(x, parameters)
    inner, inner_slope = LogisticMixtureMap(3).encode(x, parameters[:, 2:])
    a = np.tanh(parameters[:, 0])
    np.testing.assert_allclose(z, np.exp(a) * inner + parameters[:, 1])
    np.testing.assert_allclose(log_slope, inner_slope + a)
    np.testing.assert_allclose(AffineLogisticMixtureMap(3).decode(z, parameters), x, rtol=1e-9)


def test_zero_parameters_tell_the_components_apart():
    parameters = tf.Variable(tf.zeros((4, 9), tf.float64))
    with tf.GradientTape() as tape:
        log_slope = LogisticMixtureMap(3).encode(random(4), parameters)[1]
        total = tf.reduce_sum(log_slope)
    gradient = tape.gradient(total, parameters)
    assert np.ptp(gradient.numpy().reshape(4, 3, 3), axis=-1).min() > 1e-3


def test_the_number_of_components_is_checked():
    for kind in (LogisticMixtureMap, AffineLogisticMixtureMap):
        with pytest.raises(ValueError, match="components must be an integer, at least 1; got 0"):
            kind(0)


def test_the_logistic_base():
    keras.utils.set_random_seed(0)
    base = StandardLogistic(dtype="float64")
    z = np.array([[-40.0, 0.0, 1.0], [3.0, 800.0, -800.0]])
    np.testing.assert_allclose(base.log_prob(z), stats.logistic.logpdf(z).sum(axis=1))
    e = base.standardized(tf.constant([-30.0, -1.0, 0.0, 2.0, 30.0], tf.float64))
    np.testing.assert_allclose(
        stats.norm.logcdf(e), stats.logistic.logcdf([-30, -1, 0, 2, 30]), atol=1e-12
    )
    draws = base.sample(4000, (2,), SeededNoise(0), 1.0, "float64").numpy().ravel()
    assert stats.kstest(draws, "logistic").pvalue > 0.01
    cool = base.sample(4000, (2,), SeededNoise(0), 0.5, "float64").numpy().ravel()
    np.testing.assert_allclose(cool, 0.5 * draws)
