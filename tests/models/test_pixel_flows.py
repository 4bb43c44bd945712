"""PixelCNN and PixelCNN++: exact probabilities, triangular Jacobians, samples."""

import itertools
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.special import logsumexp

from keras_flows.layers import MaskedConvNetwork, StreamNetwork
from keras_flows.models import PixelCNN, PixelCNNPlusPlus
from keras_flows.transforms import Autoregressive, UniformDequantization
from keras_flows.transforms.maps import CategoricalMap, DiscretizedMixtureMap
from tests.derivatives import jacobians, random
from tests.registry import move_weights

SMALL = {"width": 3, "blocks": 1, "head": 4, "first": 3}


def moved(flow, spread=0.3):
    move_weights(flow, spread=spread)
    return flow


FLOWS = {
    "categorical": lambda shape: PixelCNN(shape, **SMALL, bits=2, dtype="float64"),
    "mixture": lambda shape: PixelCNN(
        shape, **SMALL, output="mixture", components=2, bits=2, dtype="float64"
    ),
    "two_streams": lambda shape: PixelCNNPlusPlus(
        shape, 2, 1, 1, components=2, bits=2, dtype="float64"
    ),
    "features": lambda shape: PixelCNN(
        shape, **SMALL, bits=2, fourier_features=True, dtype="float64"
    ),
}


@pytest.mark.parametrize(
    "name",
    [
        "categorical",
        "mixture",
        pytest.param("two_streams", marks=pytest.mark.slow),
        pytest.param("features", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("shape", [(2, 2, 1), (1, 1, 3)])
def test_probabilities_of_all_images_sum_to_one(name, shape):
    keras.utils.set_random_seed(0)
    flow = moved(FLOWS[name](shape))
    assert (flow.likelihood, flow.bits, flow.noise_shape("encode")) == ("exact", 2, (0,))
    images = np.array(list(itertools.product(range(4), repeat=math.prod(shape))), float)
    images = images.reshape(-1, *shape)
    log_probs = flow.log_prob(images)
    assert np.ptp(log_probs) > 0.5
    assert logsumexp(log_probs) == pytest.approx(0.0, abs=1e-9)
    np.testing.assert_array_equal(flow.decode(flow.encode(images)), images)


NETWORKS = {
    "masked": lambda shape: MaskedConvNetwork(shape, 6, 6, 2, 6, 3, dtype="float64"),
    "streams": lambda shape: StreamNetwork(shape, 6, 4, 1, 2, bits=3, dtype="float64"),
    "masked, features": lambda shape: MaskedConvNetwork(
        shape, 6, 6, 2, 6, 3, fourier_bits=3, dtype="float64"
    ),
    "streams, features": lambda shape: StreamNetwork(
        shape, 6, 4, 1, 2, bits=3, fourier_features=True, dtype="float64"
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("colours", [1, 3])
def test_the_jacobian_is_triangular(name, colours):
    keras.utils.set_random_seed(0)
    shape = (4, 4, colours)
    net, x = NETWORKS[name](shape), tf.tanh(random(1, *shape))
    net.build(x.shape)
    (jacobian,) = jacobians(net, x)
    # Rows by number, of its parameters the largest.
    n = math.prod(shape)
    sees = np.abs(jacobian).reshape(n, 6, n).max(axis=1) > 0.0
    assert not np.triu(sees).any()
    # All of what is before it within reach, the colours of its own pixel too.
    reach = np.tril(np.ones((n, n), bool), -1)
    if name.startswith("masked"):
        reach &= np.abs(np.subtract.outer(*[np.arange(n) // (4 * colours)] * 2)) <= 3
    assert (sees | ~reach).mean() > 0.85
    assert sees[-1].reshape(shape)[-1, -1].sum() == colours - 1


def test_what_a_context_reaches():
    keras.utils.set_random_seed(0)
    flow = moved(PixelCNN((2, 2, 1), **SMALL, bits=2, context_shape=(2,), dtype="float64"))
    x = np.zeros((1, 2, 2, 1))
    one, other = (flow.log_prob(x, np.array([c, 0.0])) for c in (0.0, 1.0))
    assert abs(float(one[0] - other[0])) > 1e-3


@pytest.mark.parametrize(
    "map", [CategoricalMap(8), DiscretizedMixtureMap(3), DiscretizedMixtureMap(3, 1)]
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_all_levels_come_back(map, dtype):
    levels = 2**map.bits
    parameters = tf.cast(tf.tile(random(1, map.parameters, seed=3), (levels, 1)), dtype)
    v = tf.range(levels, dtype=dtype)
    z, log_slope = map.encode(v, parameters)
    np.testing.assert_array_equal(map.decode(z, parameters), v)
    assert (np.diff(z) > 0).all()
    log_mass = log_slope - tf.nn.softplus(z) - tf.nn.softplus(-z)
    np.testing.assert_allclose(log_mass, map.log_parts(v, parameters)[0], rtol=1e-5)
    assert logsumexp(log_mass) == pytest.approx(0.0, abs=1e-4 if dtype == "float32" else 1e-12)
    for bad in (-1.0, 0.5, float(levels)):
        assert np.isnan(map.encode(tf.constant([bad], dtype), parameters[:1])[1])


def test_samples_have_the_probabilities():
    keras.utils.set_random_seed(0)
    flow = moved(FLOWS["categorical"]((1, 2, 1)), spread=0.5)
    pairs = np.array(list(itertools.product(range(4), repeat=2)), float)
    expected = np.exp(flow.log_prob(pairs.reshape(-1, 1, 2, 1)))
    drawn = flow.sample(4000, seed=0).numpy().reshape(-1, 2)
    counts = (drawn[:, None] == pairs).all(axis=-1).mean(axis=0)
    np.testing.assert_allclose(counts, expected, atol=4 * np.sqrt(0.25 / 4000))
    assert counts.sum() == 1.0


def test_integers_settle_in_fewer_passes():
    keras.utils.set_random_seed(0)
    flow = moved(FLOWS["mixture"]((4, 4, 1)))
    (step,) = flow.transform.steps
    x = flow.sample(3, seed=1)
    z = flow.encode(x)
    passes = 0
    inner = step._parameters

    def counted(*arguments):
        nonlocal passes
        passes += 1
        return inner(*arguments)

    step._parameters = counted
    np.testing.assert_array_equal(step.decode(z), x)
    assert 2 <= passes < 16


def test_what_the_steps_are():
    (step,) = PixelCNN((4, 4, 1), **SMALL).transform.steps
    assert isinstance(step, Autoregressive) and step.dequantizes and not step.bijective
    flow = PixelCNN((4, 4, 1), **SMALL, output="dequantized", components=2)
    assert flow.likelihood == "lower_bound"
    assert isinstance(flow.transform.steps[0], UniformDequantization)


def test_wrong_arguments_are_errors():
    with pytest.raises(ValueError, match="A categorical output has no components"):
        PixelCNN((4, 4, 1), components=3)
    with pytest.raises(ValueError, match=r"'mixtures'.*'mixture'"):
        PixelCNN((4, 4, 1), output="mixtures")
    with pytest.raises(ValueError, match=r"of images with one channel, 'categorical'"):
        PixelCNNPlusPlus((4, 4, 3), output="categorical")
    with pytest.raises(ValueError, match="sides must be divisible by 4"):
        PixelCNNPlusPlus((6, 4, 1))
    with pytest.raises(ValueError, match="width has 2 numbers for 3 resolutions"):
        PixelCNNPlusPlus((4, 4, 1), (2, 3))
    with pytest.raises(ValueError, match=r"takes images \(height, width, channels\); got \(4,\)"):
        PixelCNN((4,))
    with pytest.raises(ValueError, match="first, the side of a square, must be odd; got 4"):
        PixelCNN((4, 4, 1), first=4)
    with pytest.raises(ValueError, match="at most 8 bits; got 9"):
        CategoricalMap(9)
    net = MaskedConvNetwork((4, 4, 1), 4, 2, 1, 2, 3)
    with pytest.raises(ValueError, match="makes 4 parameters of each number; this map takes 8"):
        Autoregressive(net, CategoricalMap(3))
    with pytest.raises(ValueError, match=r"events of shape \(4, 4, 1\).*got \(4, 2, 1\)"):
        Autoregressive(net, CategoricalMap(2)).build((None, 4, 2, 1))
