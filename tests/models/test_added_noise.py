"""The norms of the noise that a DenseFlow appends, and their picture."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_flows import NonFiniteError
from keras_flows.models.denseflow.added_noise import noise_norms
from keras_flows.plot import added_noise
from tests.registry import CASES, RecordingNoise, dense_flow, move_weights


@pytest.fixture(scope="module")
def flow():
    keras.utils.set_random_seed(0)
    arguments = {"units": (3, 2), "modules": (1, 1), "growth": 2, "attention": None}
    made = dense_flow(**arguments)("float64")
    move_weights(made, spread=0.2)
    return made


@pytest.fixture(scope="module")
def x():
    return CASES["denseflow"].data(6)


def norm(values):
    return np.sqrt(np.mean(np.square(values), axis=(0, 1, 2)))


def test_the_norms_are_those_of_the_steps(flow, x):
    norms = noise_norms(flow, x, seed=3)
    noise, z = RecordingNoise(3), x
    for step in flow.transform.steps[:3]:
        z, _ = step.encode(z, noise=noise)
    block = flow.transform.steps[3]
    first, _ = block.units[0].encode(z)
    by_hand = []
    y, context = first, z
    for i, coupling in enumerate(block.couplings):
        mean, log_scale = coupling.parameters(context)
        e = noise.normal(6, (2, 2, 2), "float64")
        appended = mean + tf.exp(log_scale) * e
        by_hand.append((norm(e), norm(appended)))
        y, _ = block.units[i + 1].encode(tf.concat([y, appended], axis=-1))
        context = tf.concat([z, first], axis=-1)  # of the second coupling
    assert [one.path.split("/")[:2] for one in norms] == [["3", "1"], ["3", "3"], ["5", "1"]]
    for one, (drawn, appended) in zip(norms, by_hand, strict=False):
        np.testing.assert_allclose(one.drawn, drawn, rtol=1e-12)
        np.testing.assert_allclose(one.added, appended, rtol=1e-10)


def test_the_norms_of_known_locations_and_scales(flow):
    """With constant μ and s, the mean square of a channel is μ² + exp(2 s)."""
    copy = type(flow).from_config(flow.get_config())
    for step in copy.transform.innermost():
        if step.noise_size("encode") and not step.dequantizes:
            step.last.bias.assign([3.0, 0.0, 0.0, -2.0])
    for one in noise_norms(copy, CASES["denseflow"].data(3000)):
        np.testing.assert_allclose(one.drawn, 1.0, rtol=0.06)
        expected = np.sqrt(np.array([3.0, 0.0]) ** 2 + np.exp([0.0, 4.0 * np.tanh(-1.0)]))
        np.testing.assert_allclose(one.added, expected, rtol=0.06)


@pytest.mark.slow
def test_labels_and_seeds():
    case = CASES["denseflow_labels"]
    flow, x = case.flow(), case.data(4)
    one, same, label, seed = (
        noise_norms(flow, x, np.full(4, label), seed=seed)[0]
        for label, seed in ((0, 0), (0, 0), (2, 0), (0, (1, 2)))
    )
    np.testing.assert_array_equal(one.added, same.added)
    np.testing.assert_array_equal(one.drawn, label.drawn)
    assert not np.array_equal(one.drawn, seed.drawn)


def test_errors(flow, x):
    with pytest.raises(ValueError, match="appends no noise"):
        noise_norms(CASES["denseflow_uniform"].flow(), x)
    with pytest.raises(ValueError, match=r"shape \(batch, 4, 4, 1\); got \(6, 2, 8, 1\)"):
        noise_norms(flow, x.reshape(6, 2, 8, 1))
    with pytest.raises(NonFiniteError, match="VariationalDequantization"):
        noise_norms(flow, np.full((1, 4, 4, 1), 8.0))


def test_the_picture_shows_the_norms(flow, x, tmp_path):
    norms = noise_norms(flow, x, seed=1)
    figure = added_noise(flow, x, seed=1)
    (axis,) = figure.axes
    assert [text.get_text() for text in axis.get_xticklabels()] == ["1.2", "1.3", "2.2"]
    heights = [[bar.get_height() for bar in bars] for bars in axis.containers]
    for shown, kind in zip(heights, ("drawn", "added"), strict=True):
        expected = [np.sqrt(np.mean(getattr(one, kind) ** 2)) for one in norms]
        np.testing.assert_allclose(shown, expected)
    dots = [line.get_ydata() for line in axis.lines]
    np.testing.assert_array_equal(dots[3:], [one.added for one in norms])
    figure.savefig(tmp_path / "noise.png")
    assert (tmp_path / "noise.png").stat().st_size > 5_000
