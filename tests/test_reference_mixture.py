"""Mixtures of logistics against published numbers, in float64, to 1e-9."""

import numpy as np
import pytest
import tensorflow as tf

from keras_flows.transforms.maps import LogisticMixtureMap

pytestmark = pytest.mark.reference

CLOSE = {"rtol": 1e-9, "atol": 1e-9}


def raw(logits, means, log_scales):
    """Published parameters as those of the maps here, whose means begin on a grid."""
    grid = np.linspace(-1.0, 1.0, means.shape[-1])
    return tf.constant(np.concatenate([logits, means - grid, log_scales], axis=-1))


def test_plain_mixture(reference):
    arrays, _ = reference("families/mol_elementwise")
    parameters = raw(*(arrays[f"in/{name}"] for name in ("logits", "means", "log_scales")))
    x, map = tf.constant(2.0 * arrays["in/x"] - 1.0), LogisticMixtureMap(3)
    z, log_slope = map.encode(x, parameters)
    np.testing.assert_allclose(tf.sigmoid(z), arrays["out/plain/z_of_2x_minus_1"], **CLOSE)
    # There z is F(x), here its logit.
    log_density = log_slope + tf.math.log_sigmoid(z) + tf.math.log_sigmoid(-z)
    np.testing.assert_allclose(log_density, arrays["out/plain/log_det_of_2x_minus_1"], **CLOSE)
    np.testing.assert_allclose(map.decode(z, parameters), x, **CLOSE)


def test_mixture_of_flowpp_at_its_extremes(reference):
    arrays, _ = reference("families/flowpp_mixture_elementwise")
    parameters = raw(
        *(np.moveaxis(arrays[f"in/{name}"], 1, -1) for name in ("logits", "means", "log_scales"))
    )
    a, b = arrays["in/log_scale_a"], arrays["in/shift_b"]
    x, map = tf.constant(arrays["in/x"]), LogisticMixtureMap(4)
    logit, log_slope = map.encode(x, parameters)
    np.testing.assert_allclose((logit + b) * np.exp(a), arrays["out/stable_z"], **CLOSE)
    np.testing.assert_allclose(log_slope + a, arrays["out/stable_log_det_elementwise"], **CLOSE)
    np.testing.assert_allclose(map.decode(logit, parameters), x, **CLOSE)
    published = arrays["out/log_cdf"], arrays["out/log_pdf"]
    np.testing.assert_allclose(tf.math.log_sigmoid(logit), published[0], **CLOSE)
