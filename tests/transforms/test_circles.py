"""Features on circles: maps, turns, networks, base, columns, and flows of them."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

import keras_flows as kf
from keras_flows.bases import NormalWithCircles
from keras_flows.layers import ResidualMADE, ResidualNetwork
from keras_flows.measure import column_order, conditional_log_probs
from keras_flows.models import SplineFlow
from keras_flows.noise import ReplayedNoise, SeededNoise
from keras_flows.transforms import Standardize, Turn
from keras_flows.transforms.columns import CircleColumn
from keras_flows.transforms.maps import AffineMap, FeatureMaps, PeriodicSplineMap, SplineMap
from tests.registry import move_weights

SMALL = {"layers": 2, "width": 6, "blocks": 1, "bins": 4, "dtype": "float64"}
KINDS = {
    "autoregressive": {},
    "one_order": {"one_order": True},
    "couplings": {"autoregressive": False},
}


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def flow_of(kind, features=3, circles=(0, 2)):
    """A flow away from its start, the features 0 and 2 on circles."""
    flow = SplineFlow((features,), circles=circles, **SMALL, **KINDS[kind])
    move_weights(flow, spread=0.2)
    return flow


def log_probs(flow, x):
    """Eagerly: no graph is compiled for a few rows."""
    return flow.density(tf.constant(x)).log_prob.numpy()


# The parts ----------------------------------------------------------------------------------------


def test_a_turn():
    step = Turn([0, 2], 2.0, dtype="float64")
    x = tf.constant([[3.0, 3.0, -3.0], [-1.0, 50.0, 100.0]], tf.float64)
    z, log_det = step.encode(x)
    expected = np.array([[5.0 - 2 * np.pi, 3.0, -1.0], [1.0, 50.0, 102.0 - 32 * np.pi]])
    np.testing.assert_allclose(z, expected, rtol=1e-12)
    np.testing.assert_array_equal(log_det, np.zeros(2))
    back = step.decode(z).numpy()
    np.testing.assert_allclose(back[0], x[0], rtol=1e-12)
    np.testing.assert_allclose(back[1], [-1.0, 50.0, 100.0 - 32 * np.pi], rtol=1e-12)


def test_maps_of_features_are_theirs():
    circle, line = PeriodicSplineMap(4), SplineMap(3, 2.0)
    map = FeatureMaps([line, circle, AffineMap(), circle])
    assert map.parameters == 12
    x, parameters = tf.constant(3.0 * numbers(5, 4)), tf.constant(numbers(5, 4, 12, seed=1))
    z, log_derivative = map.encode(x, parameters)
    for j, (one, used) in enumerate([(line, 8), (circle, 12), (AffineMap(), 2), (circle, 12)]):
        expected, terms = one.encode(x[:, j], parameters[:, j, :used])
        np.testing.assert_array_equal(z[:, j], expected)
        np.testing.assert_array_equal(log_derivative[:, j], terms)
    np.testing.assert_allclose(map.decode(z, parameters), x, rtol=1e-9)
    copy = FeatureMaps.from_config(map.get_config())
    np.testing.assert_array_equal(copy.encode(x, parameters)[0], z)


def test_networks_see_a_circle():
    made = ResidualMADE(3, 2, 8, 1, circles=[1], dtype="float64")
    plain = ResidualNetwork(4, 8, 1, circles=[1], dtype="float64")
    x = tf.constant(numbers(4, 3))
    turned = x + tf.constant([0.0, 2.0 * math.pi, 0.0], tf.float64)
    for net in (made, plain):
        net.build((None, 3))
        net.last.kernel.assign(numbers(*net.last.kernel.shape))
        np.testing.assert_allclose(net(turned), net(x), rtol=1e-12)
        # Both cosine and sine: no two angles look the same.
        assert np.abs(net(x) - net(x * [1.0, -1.0, 1.0])).max() > 1e-3
        mirrored = tf.stack([x[:, 0], math.pi - x[:, 1], x[:, 2]], axis=1)
        assert np.abs(net(x) - net(mirrored)).max() > 1e-3
    # What stands before the angle does not see it.
    moved = made(x + tf.constant([0.0, 1.0, 0.0], tf.float64)) - made(x)
    np.testing.assert_array_equal(moved[:, :4], np.zeros((4, 4)))
    assert (np.abs(moved[:, 4:]) > 1e-6).all()


def test_the_base_is_uniform_over_circles():
    base = NormalWithCircles([1], dtype="float64")
    base.build((None, 2))
    z = np.array([[0.5, 3.0], [-2.0, 40.0]])
    expected = -0.5 * z[:, 0] ** 2 - 0.5 * math.log(2.0 * math.pi) - math.log(2.0 * math.pi)
    np.testing.assert_allclose(base.log_prob(tf.constant(z)), expected, rtol=1e-12)
    draws = base.sample(20_000, (2,), SeededNoise(0), 1.0, "float64").numpy()
    assert np.abs(draws[:, 1]).max() <= math.pi
    counts = np.histogram(draws[:, 1], 10, (-math.pi, math.pi))[0]
    assert ((counts - 2000.0) ** 2 / 2000.0).sum() < 30.0  # chi squared of 9: p = 4e-4
    assert abs(draws[:, 0].std() - 1.0) < 0.02
    e = numbers(9, 2)
    made = base.sample(9, (2,), ReplayedNoise([e]), 0.5, "float64")
    np.testing.assert_allclose(base.standardized(made), 0.5 * e, rtol=1e-9)


def test_a_column_on_a_circle():
    column = CircleColumn(24.0, -12.0)
    x = tf.constant([[-12.0], [-6.0], [0.0], [11.0], [13.0], [250.0]], tf.float64)
    z, log_derivative = column.encode(x)
    expected = np.array([-np.pi, -np.pi / 2, 0.0, 11 * np.pi / 12, -11 * np.pi / 12, 5 * np.pi / 6])
    np.testing.assert_allclose(z[:, 0], expected, atol=1e-12)
    np.testing.assert_allclose(log_derivative, np.full((6, 1), np.log(2 * np.pi / 24)))
    np.testing.assert_allclose(column.decode(z)[:, 0], [-12.0, -6.0, 0.0, 11.0, -11.0, 10.0])
    np.testing.assert_allclose(column.decode(z + 4 * np.pi), column.decode(z), atol=1e-9)


def test_standardize_keeps_some_features():
    step = Standardize(keep=[1], dtype="float64")
    step.build((None, 3))
    x = numbers(50, 3) * 3.0 + 7.0
    step.adapt(x)
    np.testing.assert_allclose(step.location, [x[:, 0].mean(), 0.0, x[:, 2].mean()])
    np.testing.assert_allclose(step.scale, [x[:, 0].std(), 1.0, x[:, 2].std()])


# Flows --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_the_density_has_no_cut(kind):
    flow = flow_of(kind)
    # Over the place where a turn ends, and over where a spline is cut: half a turn from there.
    ends = np.concatenate([end + 1e-9 * np.array([-1.0, 1.0]) for end in (-np.pi, 0.0, np.pi)])
    for j in (0, 2):
        row = np.repeat(numbers(1, 3, seed=3), 6, axis=0)
        row[:, j] = ends
        log_prob = log_probs(flow, row).reshape(3, 2)
        np.testing.assert_allclose(log_prob[:, 0], log_prob[:, 1], atol=1e-6)
        np.testing.assert_allclose(log_prob[0], log_prob[2], atol=1e-9)
        assert abs(log_prob[0, 0] - log_prob[1, 0]) > 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_that_differ_by_turns_are_the_same(kind):
    flow, x = flow_of(kind), numbers(5, 3)
    turns = 2.0 * np.pi * np.array([-1.0, 0.0, 7.0])
    np.testing.assert_allclose(log_probs(flow, x + turns), log_probs(flow, x), rtol=1e-9)
    z, _ = flow.transform.encode(tf.constant(x))
    np.testing.assert_allclose(flow.transform.encode(tf.constant(x + turns))[0], z, rtol=1e-9)
    back = flow.transform.decode(z).numpy()
    assert np.abs(back[:, [0, 2]]).max() <= np.pi + 1e-12
    np.testing.assert_allclose(back, x + 2.0 * np.pi * np.round((back - x) / (2.0 * np.pi)))


def test_a_fresh_flow_is_uniform_over_circles():
    flow = SplineFlow((2,), circles=[1], **SMALL)
    x = np.stack([numbers(50) * 3.0 - 4.0, np.linspace(-3.0, 3.0, 50)], axis=1)
    kf.training.adapt(flow, x)
    z = (x[:, 0] - x[:, 0].mean()) / x[:, 0].std()
    expected = -0.5 * z**2 - 0.5 * np.log(2 * np.pi) - np.log(x[:, 0].std()) - np.log(2 * np.pi)
    np.testing.assert_allclose(log_probs(flow, x), expected, rtol=1e-9)


def test_terms_of_columns_on_circles():
    flow, x = flow_of("one_order"), numbers(4, 3)
    assert column_order(flow) == [0, 1, 2]
    terms = conditional_log_probs(flow, x).numpy()
    np.testing.assert_allclose(terms.sum(axis=1), log_probs(flow, x), rtol=1e-12)
    # The term of an angle is a density of it: it integrates to one over a turn.
    fine = 2.0 * np.pi * (np.arange(2000) + 0.5) / 2000
    grid = np.repeat(x[:1], 2000, axis=0)
    grid[:, 2] = fine
    mass = np.exp(conditional_log_probs(flow, grid)[:, 2]).mean() * 2.0 * np.pi
    assert mass == pytest.approx(1.0, abs=1e-4)


def test_circles_go_through_a_preset(tmp_path):
    flow = SplineFlow((3,), circles=[2, 0], layers=1, width=4, blocks=1, bins=3, name="flow")
    move_weights(flow)
    assert flow.arguments.circles == [0, 2]
    flow.save_to_preset(tmp_path / "flow")
    loaded = kf.Flow.from_preset(tmp_path / "flow")
    assert type(loaded.base) is NormalWithCircles and loaded.get_config() == flow.get_config()
    x = numbers(4, 3).astype("float32")
    np.testing.assert_array_equal(log_probs(loaded, x), log_probs(flow, x))


def test_wrong_circles_are_errors():
    for make in (
        lambda circles: SplineFlow((3,), circles=circles),
        lambda circles: ResidualMADE(3, 2, circles=circles),
        lambda circles: ResidualNetwork(3, circles=circles).build((None, 3)),
        lambda circles: kf.Flow(Turn(circles), (3,)),
        lambda circles: NormalWithCircles(circles).build((None, 3)),
    ):
        for bad, message in (
            ([3], r"circles must be indices of 3 features, 0 to 2; got \[3\]"),
            ([1, 1], "circles must have every feature once"),
            (["hour"], "circles must be indices of features, 0 or more"),
            (0.5, r"circles must be indices of features, 0 or more; got \[0.5\]"),
        ):
            with pytest.raises(ValueError, match=message):
                make(bad)
    with pytest.raises(ValueError, match=r"keep must be indices of 2 features, 0 to 1; got \[2\]"):
        Standardize(keep=[2]).build((None, 2))
    with pytest.raises(ValueError, match="Turn is for vectors"):
        kf.Flow(Turn([0]), (2, 2, 1))
    with pytest.raises(ValueError, match="NormalWithCircles is for vectors"):
        NormalWithCircles([0]).build((None, 2, 2, 1))
    with pytest.raises(ValueError, match="angle must be a finite number"):
        Turn([0], math.inf)
    with pytest.raises(ValueError, match="period must be a positive number; got 0"):
        CircleColumn(0)
    with pytest.raises(ValueError, match="start must be a finite number"):
        CircleColumn(1.0, math.nan)
    with pytest.raises(ValueError, match="Each of the maps of FeatureMaps must be"):
        FeatureMaps(["spline"])
    with pytest.raises(ValueError, match="FeatureMaps needs a map for each feature; got none"):
        FeatureMaps([])
    with pytest.raises(ValueError, match=r"FeatureMaps has 1 maps, .* the data have 2 features"):
        FeatureMaps([AffineMap()]).encode(tf.zeros((1, 2)), tf.zeros((1, 2, 2)))


@pytest.mark.slow
def test_a_torus_is_learned():
    """Two angles, one around where its turn ends, the other around the first."""
    rng = np.random.default_rng(0)
    first, other = stats.vonmises(2.0, np.pi), stats.vonmises(3.0)

    def draw(n):
        angle = first.rvs(n, random_state=rng)
        return np.stack([angle, angle + other.rvs(n, random_state=rng)], axis=1)

    x, held_out = draw(2000), draw(2000)
    keras.utils.set_random_seed(0)
    flow = SplineFlow((2,), layers=2, width=16, circles=[0, 1])
    kf.training.adapt(flow, x)
    flow.compile(keras.optimizers.Adam(5e-3), jit_compile=False)
    flow.fit(x, epochs=8, batch_size=100, verbose=0)
    truth = first.logpdf(held_out[:, 0]) + other.logpdf(held_out[:, 1] - held_out[:, 0])
    assert 0.0 < np.mean(truth - flow.log_prob(held_out)) < 0.08
