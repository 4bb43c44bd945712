"""What users of TensorFlow Probability reach for works with the versions that are installed."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

tfb, tfd = tfp.bijectors, tfp.distributions


@pytest.mark.parametrize(
    "bijector",
    [
        tfb.Pad([[0, 1]]),
        tfb.SoftmaxCentered(),
        tfd.Dirichlet([1.0, 2.0, 3.0]).experimental_default_event_space_bijector(),
    ],
    ids=["pad", "softmax_centered", "dirichlet"],
)
def test_bijectors_that_reshape(bijector):
    x = tf.constant([0.3, -0.2])
    y = bijector.forward(x)
    assert y.shape == (3,)
    np.testing.assert_allclose(bijector.inverse(tf.identity(y)), x, atol=1e-6)
