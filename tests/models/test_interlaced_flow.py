"""Interlaced flows: exact probabilities, and which pixels see which."""

import itertools

import keras
import numpy as np
import pytest
from scipy.special import logsumexp

from keras_flows.models import InterlacedFlow
from tests.registry import move_weights


def flow_of(event_shape, widths, bits=3, **arguments):
    keras.utils.set_random_seed(0)
    sizes = {"blocks": 1, "top_width": 2, "top_blocks": 1, **arguments}
    flow = InterlacedFlow(event_shape, widths, bits=bits, dtype="float64", **sizes)
    move_weights(flow, spread=0.3)
    return flow


@pytest.mark.parametrize(
    "arguments", [{}, pytest.param({"output": "mixture", "components": 2}, marks=pytest.mark.slow)]
)
def test_probabilities_of_all_images_sum_to_one(arguments):
    flow = flow_of((2, 2, 1), (3,), bits=2, **arguments)
    assert (flow.likelihood, flow.bits, flow.noise_shape("encode")) == ("exact", 2, (0,))
    images = np.array(list(itertools.product(range(4), repeat=4)), float).reshape(-1, 2, 2, 1)
    log_probs = flow.log_prob(images)
    assert np.ptp(log_probs) > 0.5
    assert logsumexp(log_probs) == pytest.approx(0.0, abs=1e-9)
    np.testing.assert_array_equal(flow.decode(flow.encode(images)), images)


def test_pixels_are_seen_by_those_that_are_finer():
    flow = flow_of((4, 4, 1), (4, 4))
    x = np.full((1, 4, 4, 1), 3.0)

    def changed(row, column):
        other = x.copy()
        other[0, row, column] = 6.0
        z, before = flow.encode(other).numpy()[0], flow.encode(x).numpy()[0]
        return np.flatnonzero(~np.isclose(z, before, atol=1e-12)).tolist()

    # The latent has four pixels (1, 0), then (0, 1), then (1, 1), then those of the next level.
    assert changed(1, 0) == [0]
    assert {*changed(0, 1)} <= {0, 1, 2, 3, 4} and changed(0, 1)[-1] == 4
    assert {*changed(1, 1)} <= {*range(9)} and changed(1, 1)[-1] == 8
    assert changed(1, 1)[0] < 4 and changed(0, 1)[0] < 4
    # At the next level the last pixel to be coded is that at (2, 0).
    assert changed(2, 0)[-1] == 12 and changed(0, 0)[-1] == 15 and len(changed(0, 0)) > 8


def test_colours_are_seen_one_by_one():
    flow = flow_of((2, 2, 3), (4,), output="mixture", components=2)
    x = np.full((1, 2, 2, 3), 3.0)
    before = flow.encode(x).numpy()[0]
    other = x.copy()
    other[0, 1, 0, 1] = 6.0  # green of the last pixel: seen by its blue, and by nothing else
    z = flow.encode(other).numpy()[0]
    assert np.flatnonzero(~np.isclose(z, before, atol=1e-12)).tolist() == [0, 1]


@pytest.mark.slow
def test_samples_are_integers_that_come_back():
    flow = flow_of((4, 4, 3), (2,), output="mixture", components=2)
    x = flow.sample(5, seed=0).numpy()
    assert x.shape == (5, 4, 4, 3) and np.all(x == np.floor(x))
    assert x.min() >= 0 and x.max() <= 7 and len(np.unique(x)) > 3
    np.testing.assert_array_equal(flow.decode(flow.encode(x)), x)


def test_what_does_not_fit_is_an_error():
    with pytest.raises(ValueError, match="no components"):
        InterlacedFlow((4, 4, 1), (2,), components=3)
    with pytest.raises(ValueError, match="Unknown output 'median'"):
        InterlacedFlow((4, 4, 1), (2,), output="median")
