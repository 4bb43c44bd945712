"""Noise sources: seeds, replays, one explicit input."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from keras_flows.models import IDenseNet
from keras_flows.noise import InputNoise, ReplayedNoise, SeededNoise, as_seed
from tests.registry import CASES, RecordingNoise

KINDS = ("normal", "uniform", "rademacher")


def test_seeds():
    np.testing.assert_array_equal(as_seed(5), [0, 5])
    np.testing.assert_array_equal(as_seed(np.int64(5)), [0, 5])
    np.testing.assert_array_equal(as_seed((1, 2)), [1, 2])
    np.testing.assert_array_equal(as_seed(tf.constant([1, 2], tf.int64)), [1, 2])
    wide = {tuple(as_seed(seed).numpy()) for seed in (0, 1, -1, 2**31, 2**32, 2**32 + 1, 2**63)}
    assert len(wide) == 7
    assert as_seed(2**40).dtype == tf.int32


@pytest.mark.parametrize("seed", [1.5, "a", (1, 2, 3), True, [[1, 2]], (1.0, 2.0)])
def test_what_is_no_seed(seed):
    with pytest.raises(ValueError, match="A seed is an integer, a pair of integers"):
        as_seed(seed)


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
@pytest.mark.parametrize("kind", KINDS)
def test_seeded_draws(kind, dtype):
    draws = [getattr(SeededNoise(3), kind)(4000, (2, 3), dtype) for _ in range(2)]
    assert draws[0].shape == (4000, 2, 3)
    assert draws[0].dtype == dtype
    np.testing.assert_array_equal(*draws)
    sample = np.ravel(draws[0])
    if kind == "rademacher":
        assert set(sample) == {-1.0, 1.0}
        assert stats.binomtest(int((sample > 0).sum()), len(sample)).pvalue > 1e-3
    else:
        assert stats.kstest(sample, "norm" if kind == "normal" else "uniform").pvalue > 1e-3


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", [*KINDS, "scalar"])
def test_draws_are_the_same_in_graphs_and_under_xla(kind, dtype):
    # From a seed that is an argument: with a constant, TensorFlow draws before XLA compiles.
    def draw(seed):
        noise = SeededNoise(seed)
        return noise.scalar(dtype) if kind == "scalar" else getattr(noise, kind)(500, (3,), dtype)

    seed = tf.constant([3, -7])
    for jit_compile in (False, True):
        got = tf.function(draw, jit_compile=jit_compile, autograph=False)(seed)
        np.testing.assert_allclose(got, draw(seed), rtol=20 * np.finfo(dtype).eps, atol=1e-7)


def test_normal_draws_are_right_far_out():
    x = np.ravel(SeededNoise(8).normal(1_000_000, (), tf.float32).numpy().astype("float64"))
    for moment, expected in ((1, 0.0), (2, 1.0), (3, 0.0), (4, 3.0), (6, 15.0), (8, 105.0)):
        powers = x**moment
        assert abs(powers.mean() - expected) < 4 * powers.std() / np.sqrt(len(x))
    for edge in (3.0, 4.0):
        found, share = int((np.abs(x) > edge).sum()), 2 * stats.norm.sf(edge)
        assert stats.binomtest(found, len(x), share).pvalue > 1e-3


def test_draws_depend_on_seed_and_position_only():
    one, two = SeededNoise(3), SeededNoise(3)
    first = one.normal(5, (2,), tf.float32)
    two.uniform(7, (1,), tf.float32)
    # The second draw is the same whatever was drawn first, and not the first again.
    second = one.normal(5, (2,), tf.float32)
    np.testing.assert_array_equal(second, two.normal(5, (2,), tf.float32))
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, SeededNoise(4).normal(5, (2,), tf.float32))
    assert not np.array_equal(first, SeededNoise((3, 0)).normal(5, (2,), tf.float32))


def test_scalar_is_one_uniform_number():
    draws = [float(SeededNoise(i).scalar(tf.float64)) for i in range(500)]
    assert SeededNoise(0).scalar(tf.float64).shape == ()
    assert stats.kstest(draws, "uniform").pvalue > 1e-3


def test_replays_in_order():
    arrays = [np.ones((4, 2)), np.float64(0.5), 2.0 * np.ones((4, 3))]
    noise = ReplayedNoise(arrays)
    np.testing.assert_array_equal(noise.normal(4, (2,), tf.float32), arrays[0])
    np.testing.assert_array_equal(noise.scalar(tf.float64), 0.5)
    with pytest.raises(ValueError, match="holds 3 arrays, but only 2 were consumed"):
        noise.finish()
    assert noise.uniform(4, (3,), tf.float32).dtype == tf.float32
    noise.finish()
    with pytest.raises(ValueError, match="holds 3 arrays, and a step asks for one more"):
        noise.rademacher(4, (2,), tf.float32)
    with pytest.raises(ValueError, match=r"Array 0 .* has shape \(4, 2\); .* needs \(5, 2\)"):
        ReplayedNoise(arrays).normal(5, (2,), tf.float32)


def test_input_is_sliced():
    values = tf.constant(np.random.default_rng(0).standard_normal((6, 7)))
    noise = InputNoise(values)
    np.testing.assert_array_equal(
        noise.normal(6, (2, 2), tf.float64), np.reshape(values[:, :4], (6, 2, 2))
    )
    uniform = noise.uniform(6, (1,), tf.float64)
    np.testing.assert_allclose(uniform, stats.norm.cdf(values[:, 4:5]), rtol=1e-9)
    signs = noise.rademacher(6, (2,), tf.float64)
    np.testing.assert_array_equal(signs, np.sign(values[:, 5:]))
    with pytest.raises(ValueError, match="holds 7 numbers per example"):
        noise.normal(6, (1,), tf.float64)
    with pytest.raises(ValueError, match="Use the 'power_series' estimator"):
        InputNoise(values).scalar(tf.float32)


def test_uniform_of_an_input_stays_below_one():
    values = tf.constant([[-40.0, 0.0, 40.0]])
    uniform = InputNoise(values).uniform(1, (3,), tf.float32)
    assert (uniform.numpy() >= 0.0).all()
    assert (uniform.numpy() < 1.0).all()


def test_flows_take_noise_in_three_forms():
    case = CASES["residual_power_series"]
    flow, x = case.flow(), case.data()
    recording = RecordingNoise(5)
    drawn = flow.log_prob(x, noise=recording)
    np.testing.assert_array_equal(flow.log_prob(x, noise=recording.arrays), drawn)
    values = tf.constant(np.reshape(recording.arrays[0], (len(x), -1)))
    np.testing.assert_array_equal(flow.log_prob(x, noise=InputNoise(values)), drawn)
    np.testing.assert_allclose(flow.log_prob(x, seed=5), drawn, rtol=1e-12)
    with pytest.raises(ValueError, match="Give either noise or a seed, not both"):
        flow.log_prob(x, noise=recording.arrays, seed=5)
    with pytest.raises(ValueError, match="holds 2 arrays, but only 1 were consumed"):
        flow.log_prob(x, noise=recording.arrays * 2)


def test_needless_noise_is_an_error():
    flow = IDenseNet((2,), blocks=1, depth=1, growth=2)
    x = np.zeros((3, 2))
    with pytest.raises(ValueError, match="holds 1 arrays, but only 0 were consumed"):
        flow.log_prob(x, noise=[x])
    assert flow.noise_shape("encode") == flow.noise_shape("decode") == (0,)
    with pytest.raises(ValueError, match="direction must be 'encode' or 'decode'; got 'forward'"):
        flow.noise_shape("forward")


@pytest.mark.parametrize("draw", ["normal", "uniform", "rademacher"])
def test_a_part_of_a_batch_draws_what_it_would_in_the_whole(draw):
    whole, part = SeededNoise(4), SeededNoise(4, rows=(2, 5))
    for _ in range(2):
        expected = getattr(whole, draw)(5, (3,), "float32")
        np.testing.assert_array_equal(getattr(part, draw)(2, (3,), "float32"), expected[2:4])
    np.testing.assert_array_equal(part.scalar("float64"), whole.scalar("float64"))
