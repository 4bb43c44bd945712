import sys

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy.special import logsumexp
from scipy.stats import chi2

from keras_flows.data import names, toy

toy_module = sys.modules[toy.__module__]  # `keras_flows.data.toy` itself is the function
quadrature = toy_module._quadrature

FINE = 200  # midpoints along each side of the grid: a spacing below half the smallest noise
COARSE = 20  # cells along each side


@pytest.fixture(scope="module", params=names())
def density(request):
    return toy(request.param)


@pytest.fixture(scope="module")
def table(density):
    """The probability of each of the FINE × FINE squares, and the log-density in its middle."""
    xmin, xmax, ymin, ymax = density.bounds
    middle = (np.arange(FINE) + 0.5) / FINE
    x, y = np.meshgrid(xmin + (xmax - xmin) * middle, ymin + (ymax - ymin) * middle, indexing="ij")
    log_prob = density.log_prob(np.stack([x.ravel(), y.ravel()], axis=1)).reshape(FINE, FINE)
    return np.exp(log_prob) * (xmax - xmin) * (ymax - ymin) / FINE**2, log_prob


@pytest.mark.parametrize(
    ("name", "entropy", "tolerance"),
    [
        ("two_circles", 3.270, 0.004),
        ("two_moons", 2.395, 0.004),
        ("checkerboard", np.log(32), 1e-12),
    ],
)
def test_entropy(name, entropy, tolerance):
    x = toy(name).sample(100_000, seed=1)
    assert -toy(name).log_prob(x).mean() == pytest.approx(entropy, abs=tolerance)


def test_integrates_to_one(density, table):
    probability, _ = table
    tolerance = 1e-12 if density.name == "checkerboard" else 1e-3
    assert probability.sum() == pytest.approx(1, abs=tolerance)


def test_samples_follow_density(density, table):
    probability, _ = table
    side = FINE // COARSE
    expected = probability.reshape(COARSE, side, COARSE, side).sum(axis=(1, 3)).ravel()
    n = 100_000
    xmin, xmax, ymin, ymax = density.bounds
    counts, _, _ = np.histogram2d(
        *density.sample(n, seed=2).T, bins=COARSE, range=[[xmin, xmax], [ymin, ymax]]
    )
    counts = counts.ravel()
    # Thin cells, and what lies outside the grid, make one cell together.
    kept = expected * n >= 10
    expected = np.append(expected[kept], 1 - expected[kept].sum()) * n
    counts = np.append(counts[kept], n - counts[kept].sum())
    if expected[-1] < 10:
        assert counts[-1] < 40
        expected, counts = expected[:-1], counts[:-1]
    statistic = ((counts - expected) ** 2 / expected).sum()
    assert chi2.sf(statistic, df=len(expected) - 1) > 1e-3


def test_mean_log_prob_is_minus_entropy(density, table):
    probability, log_prob = table
    inside = probability > 0
    integral = (probability[inside] * log_prob[inside]).sum()
    drawn = density.log_prob(density.sample(20_000, seed=3))
    assert np.isfinite(drawn).all()
    error = drawn.std() / np.sqrt(len(drawn))
    assert drawn.mean() == pytest.approx(integral, abs=4 * error + 5e-3)


@pytest.mark.parametrize("name", ["two_moons", "two_spirals", "swiss_roll"])
def test_quadrature_has_converged(name, monkeypatch):
    x = np.random.default_rng(0).uniform(-4, 4, (200, 2))
    published = toy(name).log_prob(x)
    monkeypatch.setattr(
        toy_module, "_quadrature", lambda low, high, nodes: quadrature(low, high, 3 * nodes)
    )
    np.testing.assert_allclose(toy(name).log_prob(x), published, atol=1e-8, rtol=0)


@pytest.mark.parametrize("name", ["two_circles", "rings"])
def test_circles_match_quadrature(name):
    """The closed form against the mean over a fine, equally spaced grid of angles."""
    circles = {"two_circles": ((1.5, 3), 0.24), "rings": ((0.75, 1.5, 2.25, 3), 0.08)}
    radii, sd = circles[name]
    angle = np.arange(2000) * 2 * np.pi / 2000
    x = np.random.default_rng(0).uniform(-4, 4, (50, 2))
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    centres = np.concatenate([r * circle for r in radii])
    squares = np.sum((x[:, None] - centres) ** 2, axis=-1)
    direct = logsumexp(-squares / (2 * sd**2), axis=1) - np.log(len(centres) * 2 * np.pi * sd**2)
    np.testing.assert_allclose(toy(name).log_prob(x), direct, rtol=1e-10)


def test_two_moons_are_those_of_scikit_learn():
    datasets = pytest.importorskip("sklearn.datasets")
    x, _ = datasets.make_moons(20_000, noise=0.1, random_state=0)
    x = x * 2 + (-1, -0.2)
    assert -toy("two_moons").log_prob(x).mean() == pytest.approx(2.395, abs=0.02)


def test_checkerboard_support():
    board = toy("checkerboard")
    inside = [[-4, -4], [-0.1, 2.1], [1.9, 0.1], [3.9, 3.9]]
    outside = [[4, 4], [-0.1, 1.9], [2.1, 0.1], [3.9, -4.1], [5, 5]]
    np.testing.assert_array_equal(board.log_prob(inside), -np.log(32))
    np.testing.assert_array_equal(board.log_prob(outside), -np.inf)


def test_far_points_are_not_nan(density):
    assert not np.isnan(density.log_prob([[1e4, -1e4], [1e8, 0.0], [0.0, 0.0]])).any()


def test_sample_is_float32_and_keyed_by_seed(density):
    x = density.sample(50, seed=7)
    assert x.shape == (50, *density.event_shape)
    assert x.dtype == np.float32
    np.testing.assert_array_equal(x, density.sample(50, seed=7))
    others = [8, (7, 0), (7, 0, 0), (0, 7)]
    assert all((density.sample(50, seed=other) != x).any() for other in others)


def test_log_prob_is_float64(density):
    log_prob = density.log_prob(np.zeros((3, 2), np.float32))
    assert log_prob.shape == (3,)
    assert log_prob.dtype == np.float64


def test_dataset_batches_are_keyed_by_step():
    moons = toy("two_moons")
    batches = list(moons.dataset(4, steps=5, seed=3).as_numpy_iterator())
    assert len(batches) == 5
    for step, batch in enumerate(batches):
        np.testing.assert_array_equal(batch, moons.sample(4, seed=(3, step)))


@pytest.mark.parametrize("start", [0, 3, 5])
def test_dataset_resumes(start):
    moons = toy("two_moons")
    whole = moons.dataset(4, steps=5, seed=(3, 1))
    rest = moons.dataset(4, steps=5, seed=(3, 1), start=start)
    assert rest.cardinality() == 5 - start
    assert rest.element_spec.shape == (4, 2)
    skipped = list(whole.skip(start).as_numpy_iterator())
    resumed = list(rest.as_numpy_iterator())
    np.testing.assert_array_equal(np.reshape(resumed, (-1, 2)), np.reshape(skipped, (-1, 2)))


def test_unknown_name_suggests_the_nearest():
    with pytest.raises(ValueError, match=r"Did you mean 'two_moons'.*swiss_roll"):
        toy("two_moon")


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ([0.0, 1.0], r"shape \(2,\)"),
        (np.zeros((3, 3)), r"shape \(3, 3\)"),
        (np.zeros((0, 2)), "n at least 1"),
        ([["a", "b"]], "dtype"),
        ([[0, 1], [np.nan, 1]], "1 of its 2 rows.*row 1"),
        ([[0, np.inf]], "finite"),
    ],
)
def test_log_prob_rejects(x, message):
    with pytest.raises(ValueError, match=message):
        toy("rings").log_prob(x)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"n": 0, "seed": 1}, ValueError, "n must be at least 1"),
        ({"n": 2.5, "seed": 1}, TypeError, "n must be an integer"),
        ({"n": 2, "seed": -1}, ValueError, "seed must be at least 0"),
        ({"n": 2, "seed": 2**32}, ValueError, "below"),
        ({"n": 2, "seed": ()}, ValueError, "empty"),
        ({"n": 2, "seed": None}, TypeError, "integer"),
    ],
)
def test_sample_rejects(arguments, error, message):
    with pytest.raises(error, match=message):
        toy("rings").sample(**arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0, "steps": 5}, "batch_size"),
        ({"batch_size": 2, "steps": 0}, "steps"),
        ({"batch_size": 2, "steps": 5, "start": 6}, "start=6 and steps=5"),
        ({"batch_size": 2, "steps": 5, "start": -1}, "start"),
    ],
)
def test_dataset_rejects(arguments, message):
    with pytest.raises(ValueError, match=message):
        toy("rings").dataset(seed=0, **arguments)


def test_distribution_has_the_same_density(density):
    distribution = density.as_distribution("float64")
    x = np.concatenate([density.sample(200, seed=4), [[0.1, -0.1], [3.9, -3.9]]])
    expected = density.log_prob(x)
    np.testing.assert_allclose(distribution.log_prob(x), expected, rtol=1e-7, atol=1e-7)
    assert distribution.event_shape == (2,)


def test_distribution_draws_from_the_density(density):
    x = density.as_distribution().sample(5_000, seed=(1, 2)).numpy()
    assert x.dtype == np.float32
    # The mean of the log-density is that of independent points: minus the entropy.
    log_prob = density.log_prob(x)
    expected = density.log_prob(density.sample(5_000, seed=5))
    error = np.hypot(log_prob.std(), expected.std()) / 5_000**0.5
    assert abs(log_prob.mean() - expected.mean()) <= 4 * error


def test_distribution_has_gradients(density):
    if density.name == "checkerboard":
        return  # flat
    distribution = density.as_distribution("float64")
    x = density.sample(5, seed=6).astype("float64")
    _, gradient = tfp.math.value_and_gradient(distribution.log_prob, tf.constant(x))
    step = 1e-5 * np.eye(2)
    difference = [density.log_prob(x + d) - density.log_prob(x - d) for d in step]
    np.testing.assert_allclose(gradient, np.stack(difference, -1) / 2e-5, rtol=1e-5, atol=1e-6)


def test_distribution_refuses_other_dtypes():
    with pytest.raises(ValueError, match="float16"):
        toy("rings").as_distribution("float16")
