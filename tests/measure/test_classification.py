"""Conditional flows as classifiers."""

import keras
import numpy as np
import pytest
from scipy.special import log_softmax

import keras_flows as kf
from keras_flows.transforms import Chain


class Shift(kf.transforms.Transform):
    """`z = x - context`."""

    def encode(self, x, context=None, noise=None, training=False):
        return x - context, 0.0 * x[:, 0]

    def decode(self, z, context=None, noise=None):
        return z + context


def flow_of(means):
    """`N(mean of the label, 1)` in one dimension."""
    embedding = keras.layers.Embedding(len(means), 1)
    flow = kf.Flow(Chain([Shift()]), (1,), context_shape=(), context_embedding=embedding)
    flow.log_prob(np.zeros((1, 1)), [0])  # builds
    embedding.set_weights([np.array(means, "float32")[:, None]])
    return flow


def test_the_log_probs_of_all_labels_are_those_of_each():
    flow, x = flow_of([0.0, 3.0, -2.0]), np.array([[0.5], [2.0]])
    got = kf.measure.label_log_probs(flow, x)
    for label in range(3):
        np.testing.assert_allclose(got[:, label], flow.log_prob(x, [label, label]), rtol=1e-6)
    posterior = np.exp(log_softmax(got, axis=1))
    # Of the first: p(y) exp(-(x - mean)^2 / 2) by hand.
    by_hand = np.exp(-0.5 * (0.5 - np.array([0.0, 3.0, -2.0])) ** 2)
    np.testing.assert_allclose(posterior[0], by_hand / by_hand.sum(), rtol=1e-5)


def test_the_accuracy_is_that_of_the_nearest_mean():
    flow = flow_of([0.0, 4.0])
    x, labels = np.array([[0.1], [1.9], [2.1], [4.0]]), [0, 1, 1, 1]
    result = kf.measure.classify(flow, x, labels)
    assert result == pytest.approx((0.75, np.sqrt(0.75 * 0.25 / 4), 4))


def test_labels_and_flows_that_do_not_fit_are_errors():
    with pytest.raises(ValueError, match=r"one for every example.*got the shape"):
        kf.measure.classify(flow_of([0.0, 1.0]), np.zeros((2, 1)), [0])
    with pytest.raises(ValueError, match="only where its context is one label"):
        kf.measure.label_log_probs(kf.models.RealNVP((2,)), np.zeros((1, 2)))
