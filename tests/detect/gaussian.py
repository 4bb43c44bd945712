"""Gaussian flows that are fitted in closed form, so that tests of detection train nothing."""

import keras
import numpy as np
import tensorflow as tf

from keras_flows import Flow
from keras_flows.detect import Conditionals
from keras_flows.transforms import ActNorm


@keras.saving.register_keras_serializable("tests")
class GaussianFlow(Flow):
    """A normal density with independent columns; `fit` is maximum likelihood."""

    def fit(self, x, **kwargs):
        self.rows_of_fit = x
        deviation = np.maximum(x.std(axis=0), 1e-3)
        self.transform.bias.assign(-x.mean(axis=0))
        self.transform.log_scale.assign(-np.log(deviation))


@keras.saving.register_keras_serializable("tests")
class ConditionalGaussianFlow(GaussianFlow, Conditionals):
    """The same, which knows its terms."""

    def conditional_log_probs(self, x):
        z, _ = self.transform.encode(tf.cast(x, self.compute_dtype))
        return -0.5 * (z**2 + np.log(2.0 * np.pi)) + self.transform.log_scale


def gaussian(columns, kind=GaussianFlow):
    flow = kind(ActNorm(), (columns,))
    flow.compile("adam")
    return flow


def conditional(columns):
    return gaussian(columns, ConditionalGaussianFlow)
