"""What leaves a flow on the way: pooled pixels, dropped channels, appended noise."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from keras_flows import Flow
from keras_flows.transforms import AppendNoise, Chain, Drop, FactorOut, MaxPool, Patches, Squeeze


@pytest.mark.parametrize("make", [MaxPool, lambda dtype: Chain([Squeeze(), Drop(1)], dtype=dtype)])
def test_the_density_integrates_to_one(make):
    # By draws of a wide normal density, which is positive everywhere.
    flow, scale = Flow(make(dtype="float32"), (2, 2, 1)), 2.0
    x = scale * np.random.default_rng(0).standard_normal((40_000, 2, 2, 1), dtype="float32")
    log_q = stats.norm(0.0, scale).logpdf(x).sum(axis=(1, 2, 3))
    weights = np.exp(flow.log_prob(x) - log_q)
    assert weights.mean() == pytest.approx(1.0, abs=float(4 * weights.std() / 200))
    assert weights.std() / 200 < 0.03


def test_samples_of_a_pooled_flow_are_of_its_density():
    flow = Flow(MaxPool(), (2, 2, 1))
    x = flow.sample(4000, seed=0).numpy().reshape(-1, 4)
    # Of any pixel: the largest, or one below it.
    largest = x.max(axis=1)
    assert stats.kstest(largest, "norm").pvalue > 0.01
    below = np.sort(x, axis=1)[:, ::-1]
    differences = (below[:, :1] - below[:, 1:]).ravel()
    assert stats.kstest(differences, "halfnorm").pvalue > 0.01
    places = np.bincount(x.argmax(axis=1), minlength=4)
    assert stats.chisquare(places).pvalue > 0.01


def test_of_equal_pixels_the_first_is_the_largest():
    pool = MaxPool()
    pool.build((None, 2, 2, 1))
    z, place, d = pool.parts(tf.constant([[[[1.0], [3.0]], [[3.0], [2.0]]]]))
    assert (z.numpy().item(), place.numpy().item()) == (3.0, 1)
    np.testing.assert_array_equal(d.numpy().ravel(), [2.0, 0.0, 1.0])


def test_patches_are_read_row_by_row():
    x = np.arange(32.0).reshape(1, 4, 4, 2)
    patches = Patches(2)
    patches.build(x.shape)
    z, _ = patches.encode(tf.constant(x))
    # The second patch of the first row; its first channel before its second.
    np.testing.assert_array_equal(z[0, 1], [*x[0, :2, 2:, 0].ravel(), *x[0, :2, 2:, 1].ravel()])


def test_wrong_arguments_are_errors():
    with pytest.raises(ValueError, match="keeps 2 channels and drops others; got 2 channels"):
        Flow(Drop(2), (4, 2))
    with pytest.raises(ValueError, match="keep must be an integer, at least 1; got 0"):
        Drop(0)
    with pytest.raises(ValueError, match="extra must be an integer, at least 1; got 0"):
        AppendNoise(0)
    with pytest.raises(ValueError, match="needs a height and width divisible by 2"):
        Flow(MaxPool(), (3, 2, 1))
    with pytest.raises(ValueError, match="Patches are of images"):
        Flow(Patches(), (4,))
    with pytest.raises(ValueError, match="2 channels cannot leave an event"):
        Flow(FactorOut(Chain([]), 2), (4, 2))
