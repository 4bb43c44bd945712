"""Heavy tails made light: values, extremes, what is refused."""

import numpy as np
import pytest
import tensorflow as tf

from keras_flows import Flow
from keras_flows.transforms import Asinh, Chain


def test_the_map_and_its_log_derivative_are_those_of_numpy():
    step = Asinh([1.0, 0.0, -5.0], [2.0, 1.0, 0.1], keep=[1], dtype="float64")
    x = np.array([[1.0, 7.0, -5.0], [-3.0, -7.0, 12.0], [1e6, 1e6, -1e6]])
    z, terms = step.encode_terms(tf.constant(x))
    y = (x - [1.0, 0.0, -5.0]) / [2.0, 1.0, 0.1]
    expected, slopes = np.arcsinh(y), -np.log([2.0, 1.0, 0.1]) - 0.5 * np.log1p(y**2)
    expected[:, 1], slopes[:, 1] = x[:, 1], 0.0
    np.testing.assert_allclose(z, expected, rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(terms, slopes, rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(step.decode(z), x, rtol=1e-9)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_no_square_overflows(dtype):
    x = tf.constant([[0.0], [1e-30], [1e9], [-1e30]], dtype)
    step = Asinh([0.0], [1.0], dtype=dtype)
    with tf.GradientTape() as tape:
        tape.watch(x)
        z, log_det = step.encode(x)
    exact = np.array([0.0, 1e-30, np.log(2e9), -np.log(2e30)])
    np.testing.assert_allclose(z[:, 0], exact, rtol=1e-6)
    expected = [0.0, 0.0, -np.log(1e9), -np.log(1e30)]
    np.testing.assert_allclose(log_det, expected, rtol=1e-6, atol=1e-12)
    slopes = tape.gradient(z, x)[:, 0]
    np.testing.assert_allclose(slopes, [1.0, 1.0, 1e-9, 1e-30], rtol=1e-5)


def test_a_row_far_out_costs_tens_of_nats():
    plain, light = Flow(Chain([]), (1,)), Flow(Asinh([0.0], [1.0]), (1,))
    far = np.array([[1000.0]], "float32")
    assert plain.log_prob(far)[0] < -499_000 and -40 < light.log_prob(far)[0] < -30


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0.0], [0.0]), "Each scale must be a positive number; got 0.0"),
        (([np.nan], [1.0]), "Each location must be a finite number; got nan"),
        ((["a"], [1.0]), "Each location must be a finite number; got 'a'"),
        (([0.0, 1.0], [1.0]), "2 locations and 1 scales"),
        (([0.0], [1.0], [1]), r"keep must be indices of 1 features"),
    ],
)
def test_what_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Asinh(*arguments)


def test_another_number_of_features():
    with pytest.raises(ValueError, match=r"numbers for 1 features.*\(2,\)"):
        Flow(Asinh([0.0], [1.0]), (2,))
