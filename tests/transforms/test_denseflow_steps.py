"""The steps of DenseFlow: what the property suite does not see, and their errors."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from keras_flows import transforms
from keras_flows.bases import ChannelNormal
from keras_flows.models import denseflow
from keras_flows.noise import ReplayedNoise, SeededNoise
from tests.derivatives import random
from tests.registry import CASES, coupling


def test_squeeze_and_drop():
    step, x = transforms.SqueezeAndDrop(dtype="float64"), random(3, 4, 6, 2)
    step.build(x.shape)
    z, log_det = step.encode(x)
    squeezed = transforms.Squeeze(2, dtype="float64").encode(x)[0].numpy()
    np.testing.assert_array_equal(z, squeezed[..., :4])
    dropped = squeezed[..., 4:]
    expected = stats.norm.logpdf(dropped).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(log_det, expected, rtol=1e-12)
    np.testing.assert_array_equal(step.decode(z, noise=ReplayedNoise([dropped])), x)
    drawn = step.decode(z, noise=SeededNoise(0))
    np.testing.assert_array_equal(step.encode(drawn)[0], z)
    assert step.noise_size("decode") == 24 and step.noise_size("encode") == 0
    assert (step.bijective, step.likelihood) == (False, "exact")
    with pytest.raises(ValueError, match="draws random numbers: give decode a `seed`"):
        step.decode(z)
    with pytest.raises(ValueError, match="divisible by 2"):
        transforms.SqueezeAndDrop().build((None, 3, 4, 2))


@pytest.mark.parametrize("channels", [2, 3, 6, 7])
def test_swap_halves(channels):
    x = random(2, 2, 2, channels).numpy()
    step = transforms.SwapHalves(dtype="float64")
    first = math.ceil(channels / 2)
    expected = np.concatenate([x[..., first:], x[..., :first]], axis=-1)
    np.testing.assert_array_equal(step.encode(tf.constant(x))[0], expected)
    np.testing.assert_array_equal(step.decode(tf.constant(expected)), x)


class Numbers(keras.layers.Layer):
    """A network that gives the numbers it is told, whatever it sees."""

    def __init__(self, numbers, **kwargs):
        super().__init__(dtype="float64", **kwargs)
        self.numbers = numbers

    def call(self, x, context=None, training=False):
        self.seen = x
        return tf.broadcast_to(
            tf.constant(self.numbers, x.dtype), (*x.shape[:3], len(self.numbers))
        )

    def compute_output_shape(self, input_shape):
        return (*input_shape[:3], len(self.numbers))


def test_affine_coupling_in_numbers():
    net = Numbers([1.0, 10.0, -2.0, 20.0, 100.0, 30.0])
    step = transforms.AffineCoupling(net, dtype="float64")
    x = random(2, 1, 2, 7)
    step.build(x.shape)
    z, log_det = step.encode(x)
    np.testing.assert_array_equal(net.seen, x[..., :4])
    s = 2.0 * np.tanh([0.5, -1.0, 50.0])
    expected = np.array([10.0, 20.0, 30.0]) + np.exp(s) * x[..., 4:]
    np.testing.assert_allclose(z, np.concatenate([x[..., :4], expected], axis=-1), rtol=1e-14)
    np.testing.assert_allclose(log_det, 2.0 * s.sum())


def test_errors_of_the_affine_coupling():
    with pytest.raises(ValueError, match="at least two channels; got 1"):
        coupling("float32").build((None, 2, 2, 1))
    with pytest.raises(
        ValueError,
        match=r"must make the shape \(2, 2, 6\): .* of the 3 .* makes \(2, 2, 4\)",
    ):
        coupling("float32", 4).build((None, 2, 2, 6))


def test_cross_unit_coupling_in_numbers():
    step = denseflow.CrossUnitCoupling(2, context_size=3, dtype="float64")
    step.build((None, 2, 2, 4))
    x, context, e = random(3, 2, 2, 4), random(3, 2, 2, 3, seed=1), random(3, 2, 2, 2, seed=2)
    # At the start, standard normal noise that nothing conditions.
    z, log_det = step.encode(x, context, ReplayedNoise([e]))
    np.testing.assert_array_equal(z, np.concatenate([x, e], axis=-1))
    minus_log_q = -stats.norm.logpdf(e).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(log_det, minus_log_q, rtol=1e-12)
    step.last.bias.assign([0.5, -0.5, 1.0, -3.0])
    z, log_det = step.encode(x, context, ReplayedNoise([e]))
    s = 2.0 * np.tanh([0.5, -1.5])
    mean = np.array([0.5, -0.5])
    np.testing.assert_allclose(z[..., 4:], mean + np.exp(s) * e, rtol=1e-12)
    np.testing.assert_allclose(log_det, minus_log_q + 4.0 * s.sum(), rtol=1e-12)
    # That is minus the log-density of what is appended.
    log_q = stats.norm.logpdf(z[..., 4:], mean, np.exp(s)).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(log_det, -log_q, rtol=1e-12)
    np.testing.assert_array_equal(step.decode(z), x)


@pytest.mark.slow
def test_what_a_cross_unit_coupling_sees():
    flow = CASES["cross_unit_block"].flow()
    block, x = flow.transform, tf.constant(CASES["cross_unit_block"].data())
    assert [c.context_size for c in block.couplings] == [3, 6]
    e = [random(7, 2, 2, 2, seed=i) for i in (5, 6)]
    first, _ = block.units[0].encode(x)
    z, _ = block.couplings[0].encode(first, x, ReplayedNoise(e[:1]))
    second, _ = block.units[1].encode(z)
    # Not the second output, which is just before it.
    z, _ = block.couplings[1].encode(second, tf.concat([x, first], -1), ReplayedNoise(e[1:]))
    expected, _ = block.units[2].encode(z)
    np.testing.assert_allclose(block.encode(x, noise=ReplayedNoise(e))[0], expected, rtol=1e-12)
    with pytest.raises(ValueError, match="takes 3 channels; the input has 4"):
        denseflow.CrossUnitBlock([transforms.SwapHalves()], 2, 3).build((None, 2, 2, 4))


def test_context_sizes_of_many_units():
    units = [transforms.SwapHalves() for _ in range(5)]
    block = denseflow.CrossUnitBlock(units, growth=2, channels=10)
    block.build((None, 2, 2, 10))
    # The input and the outputs of units 0 … i - 2, of 10, 12, 14 channels.
    assert [c.context_size for c in block.couplings] == [10, 20, 32, 46]
    assert block.encoded_shape((2, 2, 10)) == (2, 2, 18)
    assert block.encode(tf.zeros((1, 2, 2, 10)), noise=SeededNoise(0))[0].shape == (1, 2, 2, 18)


def test_variational_dequantization_decodes_to_the_integers():
    case = CASES["variational_dequantization"]
    step, x = case.flow().transform, tf.constant(case.data(50))
    z, _ = step.encode(x, noise=SeededNoise(0))
    u = 8.0 * z - x
    assert 0.0 < np.min(u) < 0.2 and 0.8 < np.max(u) < 1.0
    np.testing.assert_array_equal(step.decode(z), x)
    # The noise depends on the image.
    other = step.encode(7.0 - x, noise=SeededNoise(0))[0] * 8.0 - (7.0 - x)
    assert np.abs(other - u).max() > 1e-3
    for bad in (8.0, -1.0, 0.5):
        assert np.isnan(step.encode(x + 0.0 * x + bad, noise=SeededNoise(0))[0]).any()


def test_the_density_of_the_variational_noise_integrates_to_one():
    # E[1 / q(u)] over u ~ q is the volume of the cube.
    case = CASES["variational_dequantization"]
    keras.utils.set_random_seed(1)
    step = transforms.VariationalDequantization(3, 2, 4, 1, 3, 3, dtype="float64")
    step.build((None, 2, 2, 1))
    rng = np.random.default_rng(0)
    for weight in step.trainable_weights:
        weight.assign_add(0.1 * rng.standard_normal(weight.shape))
    step.base.log_scale.assign(step.base.log_scale + 0.5)
    x = np.repeat(case.draw(rng, (1, 2, 2, 1)), 20_000, axis=0)
    _, log_det = step.encode(tf.constant(x), noise=SeededNoise(0))
    inverse = np.exp(log_det + 4 * 3 * math.log(2.0))
    assert inverse.mean() == pytest.approx(1.0, abs=4.0 * stats.sem(inverse))
    assert stats.sem(inverse) < 0.05


def test_errors_of_the_variational_dequantization():
    with pytest.raises(ValueError, match="divisible by 2"):
        transforms.VariationalDequantization().build((None, 3, 4, 1))
    with pytest.raises(ValueError, match="bits must be an integer from 1 to 16; got 0"):
        transforms.VariationalDequantization(0)
    with pytest.raises(ValueError, match="steps must be an integer, at least 1; got 0"):
        transforms.VariationalDequantization(steps=0)


def test_actnorm_with_epsilon():
    x = random(50, 2, 2, 3)
    step = transforms.ActNorm(minimum_variance=0.0, epsilon=0.5, dtype="float64")
    step.build(x.shape)
    z, _ = step.encode(x, training=True)
    deviation = np.std(x, axis=(0, 1, 2), ddof=1)
    np.testing.assert_allclose(np.mean(z, axis=(0, 1, 2)), 0.0, atol=1e-12)
    np.testing.assert_allclose(
        np.std(z, axis=(0, 1, 2), ddof=1), deviation / (deviation + 0.5), rtol=1e-12
    )
    with pytest.raises(ValueError, match=r"one of them above 0; got 0\.0 and 0\.0"):
        transforms.ActNorm(minimum_variance=0.0)


def test_channel_normal():
    base = ChannelNormal(dtype="float64")
    base.build((None, 2, 2, 3))
    z = random(4, 2, 2, 3)
    np.testing.assert_allclose(base.log_prob(z), stats.norm.logpdf(z).sum(axis=(1, 2, 3)))
    loc, scale = [1.0, -2.0, 0.5], [0.5, 1.0, 3.0]
    base.loc.assign(loc)
    base.log_scale.assign(np.log(scale))
    expected = stats.norm.logpdf(z, loc, scale).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(base.log_prob(z), expected, rtol=1e-12)
    e = random(5, 2, 2, 3, seed=1)
    drawn = base.sample(5, (2, 2, 3), ReplayedNoise([e]), 0.7, "float64")
    np.testing.assert_allclose(drawn, np.array(loc) + 0.7 * np.array(scale) * e)
