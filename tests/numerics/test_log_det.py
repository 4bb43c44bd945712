"""Estimators of ln det(I + J): against determinants, and on average over many draws."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from keras_flows.layers import LipschitzSequential
from keras_flows.models import IDenseNet
from keras_flows.noise import ReplayedNoise, SeededNoise
from keras_flows.numerics import log_det as log_dets
from keras_flows.numerics.elimination import log_det_identity_plus, solve_identity_plus
from keras_flows.numerics.log_det import Exact, PowerSeries, Unbiased
from tests.derivatives import jacobians, random, with_gradients
from tests.registry import RecordingNoise, dense_net, move_weights

FEATURES = 3


@functools.cache
def block():
    """A network of three features, with a large Jacobian, and two points."""
    keras.utils.set_random_seed(0)
    net = dense_net("float64", features=FEATURES)
    net.build((None, FEATURES))
    for weight in net.trainable_weights:
        if weight.name == "kernel":
            weight.assign(3.0 * weight)
        if weight.name == "k":
            weight.assign([2.0, 0.5])
    *hidden, last = net.layers
    x = random(2, FEATURES, seed=7)
    slope = jacobians(LipschitzSequential(hidden, dtype="float64"), x)[0]
    # The last matrix undoes the slopes before it, and turns space.
    turn, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((FEATURES, FEATURES)))
    last.dense.kernel.assign(9.0 * np.linalg.pinv(slope).T @ turn)
    for layer in net._flatten_layers():
        if hasattr(layer, "converge"):
            layer.converge()
    return net, x


def jacobian():
    net, x = block()
    return jacobians(net, x)


def test_the_block_is_worth_testing_on():
    norms = np.linalg.norm(jacobian(), 2, axis=(1, 2))
    assert (norms > 0.6).all()


# Above eight rows the elimination is a loop.
@pytest.mark.parametrize("size", [*range(1, 11), 30])
def test_exact_determinant(size):
    matrices = np.random.default_rng(size).standard_normal((50, size, size))
    norms = np.linalg.norm(matrices, 2, axis=(1, 2), keepdims=True)
    for norm in (1e-8, 0.5, 0.99):
        scaled = matrices * norm / norms
        expected = tf.linalg.slogdet(np.eye(size) + scaled)
        assert (expected.sign.numpy() > 0).all()
        found = log_det_identity_plus(tf.constant(scaled))
        np.testing.assert_allclose(found, expected.log_abs_determinant, rtol=1e-9, atol=1e-14)
        found = log_det_identity_plus(tf.constant(scaled, tf.float32))
        np.testing.assert_allclose(found, expected.log_abs_determinant, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("jit_compile", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("size", [8, 9])
def test_derivatives_of_the_determinant(size, jit_compile):
    matrices = np.random.default_rng(size).standard_normal((3, size, size))
    matrices *= 0.9 / np.linalg.norm(matrices, 2, axis=(1, 2), keepdims=True)
    matrices = tf.constant(matrices)
    directions = tf.sin(5 * matrices)

    @tf.function(jit_compile=jit_compile)
    def first_and_second():
        with tf.GradientTape() as outer:
            outer.watch(matrices)
            with tf.GradientTape() as inner:
                inner.watch(matrices)
                log_det = log_det_identity_plus(matrices)
            first = inner.gradient(log_det, matrices)
            along = tf.reduce_sum(first * directions)
        return first, outer.gradient(along, matrices)

    inverse = np.linalg.inv(np.eye(size) + matrices).transpose(0, 2, 1)
    first, second = first_and_second()
    np.testing.assert_allclose(first, inverse, rtol=1e-9, atol=1e-12)
    expected = -inverse @ directions.numpy().transpose(0, 2, 1) @ inverse
    np.testing.assert_allclose(second, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("size", range(1, 9))
def test_linear_systems(size):
    matrices = np.random.default_rng(size).standard_normal((50, size, size))
    matrices *= 0.9 / np.linalg.norm(matrices, 2, axis=(1, 2), keepdims=True)
    right = random(50, size)
    solution = solve_identity_plus(tf.constant(matrices), right)
    expected = np.linalg.solve(np.eye(size) + matrices, right[..., None])[..., 0]
    np.testing.assert_allclose(solution, expected, rtol=1e-9, atol=1e-12)


def test_a_jacobian_that_turns_space_over_is_nan():
    matrix = tf.constant([[[-3.0, 0.0], [0.0, 0.0]], [[0.5, 0.0], [0.0, 0.0]]])
    found = log_det_identity_plus(matrix).numpy()
    assert np.isnan(found[0])
    assert found[1] == pytest.approx(np.log(1.5))


def test_exact_estimator():
    net, x = block()
    g, log_det = Exact()(net, x)
    np.testing.assert_allclose(g, net(x))
    _, expected = np.linalg.slogdet(np.eye(FEATURES) + jacobian())
    np.testing.assert_allclose(log_det, expected, rtol=1e-12)


def series(terms):
    """The sum of the first terms of the power series, with exact traces."""
    power, total = np.eye(FEATURES), 0.0
    for k in range(1, terms + 1):
        power = power @ jacobian()
        total = total - (-1.0) ** k / k * np.trace(power, axis1=1, axis2=2)
    return total


@pytest.mark.slow
def test_power_series_bias_shrinks_with_the_terms():
    net, x = block()
    _, exact = np.linalg.slogdet(np.eye(FEATURES) + jacobian())
    # With all signs in all combinations, the mean over Rademacher probes is the exact trace.
    signs = np.stack(np.meshgrid(*[[-1.0, 1.0]] * FEATURES), axis=-1).reshape(-1, FEATURES)
    noise = [np.tile(sign, (2, 1)) for sign in signs]
    errors = []
    for terms in (1, 2, 4, 8, 16, 64):
        estimator = PowerSeries(terms, probes=len(noise), probe="rademacher")
        g, log_det = estimator(net, x, noise=ReplayedNoise(noise))
        np.testing.assert_allclose(g, net(x))
        np.testing.assert_allclose(log_det, series(terms), rtol=1e-9)
        errors.append(np.abs(log_det - exact).max())
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 1e-2
    assert errors[-1] < 1e-8


def test_probes_are_averaged():
    net, x = block()
    noise = [random(2, FEATURES, seed=i) for i in range(3)]
    _, together = PowerSeries(4, probes=3)(net, x, noise=ReplayedNoise(noise))
    apart = [PowerSeries(4)(net, x, noise=ReplayedNoise([part]))[1] for part in noise]
    np.testing.assert_allclose(together, np.mean(apart, axis=0))


def gradients_of(estimate):
    """Value and gradients, by the points and all weights, of the sum of log-dets."""
    net, x = block()
    return with_gradients(lambda: tf.reduce_sum(estimate(net, x)), x, net.trainable_variables)


def draws(estimator, n=1200, tile=4, training=True):
    """Value and gradients of n independent estimates, each the mean over a tiled batch."""

    def estimate(noise):
        def tiled(net, x):
            many = tf.repeat(x, tile, axis=0)
            return estimator(net, many, noise=noise, training=training)[1] / tile

        return gradients_of(tiled)

    draw = tf.function(lambda seed: estimate(SeededNoise(seed)), autograph=False)
    return np.stack([draw(tf.constant([17, i])) for i in range(n)])


def within_error(sample, expected):
    error = sample.std(axis=0, ddof=1) / np.sqrt(len(sample))
    deviation = np.abs(sample.mean(axis=0) - expected)
    # A component without any variance is compared as it is.
    return deviation <= 3.5 * error + 1e-9


ESTIMATORS = {
    "geometric": Unbiased(),
    "geometric series": Unbiased(gradient="series", probe="rademacher"),
    "poisson": Unbiased("poisson", exact_terms=(1, 5), probe="rademacher"),
    "poisson series": Unbiased("poisson", 3.0, gradient="series", exact_terms=(0, 5)),
    "two probes": Unbiased(parameter=0.4, probes=2, exact_terms=(0, 5)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ESTIMATORS)
def test_unbiased_on_average(name):
    sample = draws(ESTIMATORS[name])
    exact = gradients_of(lambda net, x: Exact()(net, x, training=True)[1]).numpy()
    assert sample[:, 0].std() > 1e-3
    good = within_error(sample, exact)
    assert good[0], (sample[:, 0].mean(), exact[0])
    # Of many components a few may be farther off by chance; the sum over them has no such excuse.
    assert good[1:].mean() > 0.98
    assert within_error(sample[:, 1:].sum(axis=1), exact[1:].sum())
    direction = np.sign(exact[1:])
    assert within_error(sample[:, 1:] @ direction, exact[1:] @ direction)


@pytest.mark.slow
def test_power_series_on_average():
    # The test above, on an estimator that is biased: it must see the bias, and nothing else.
    sample = draws(PowerSeries(2))[:, :1]
    _, exact = np.linalg.slogdet(np.eye(FEATURES) + jacobian())
    assert within_error(sample, series(2).sum())
    assert not within_error(sample, exact.sum())


def test_neumann_value_is_that_of_the_power_series():
    for training in (True, False):
        recording = RecordingNoise(4)
        net, x = block()
        _, one = Unbiased()(net, x, noise=recording, training=training)
        replay = ReplayedNoise(recording.arrays)
        _, other = Unbiased(gradient="series")(net, x, noise=replay, training=training)
        replay.finish()
        np.testing.assert_allclose(one, other, rtol=1e-12)


def test_more_exact_terms_in_evaluation():
    net, x = block()
    probe, spread = random(2, FEATURES), {}
    for training in (True, False):
        draws_of_n = [ReplayedNoise([probe, np.float64(u)]) for u in (0.9, 0.4, 0.2, 0.1)]
        values = [Unbiased()(net, x, noise=noise, training=training)[1] for noise in draws_of_n]
        spread[training] = np.std(values, axis=0).min()
    # With twenty exact terms, there is next to nothing left for a draw.
    assert spread[False] < 0.1 * spread[True]
    noise = [probe, np.float64(0.999)]
    _, unbiased = Unbiased()(net, x, noise=ReplayedNoise(noise))
    _, plain = PowerSeries(21)(net, x, noise=ReplayedNoise(noise[:1]))
    np.testing.assert_allclose(unbiased, plain, rtol=1e-12)


@pytest.mark.parametrize("parameter", [0.05, 0.5, 0.9])
def test_geometric_tails(parameter):
    tails = Unbiased("geometric", parameter).tail_probabilities()
    expected = stats.geom(parameter).sf(np.arange(len(tails)) - 1)
    np.testing.assert_allclose(tails, expected, rtol=1e-9)
    assert tails[-1] > 2.0**-53 > 0.999 * stats.geom(parameter).sf(len(tails) - 1)


@pytest.mark.parametrize("parameter", [0.1, 2.0, 60.0])
def test_poisson_tails(parameter):
    tails = Unbiased("poisson", parameter).tail_probabilities()
    expected = stats.poisson(parameter).sf(np.arange(len(tails)) - 1)
    np.testing.assert_allclose(tails, expected, rtol=1e-9)
    assert tails[-1] > 2.0**-53 >= stats.poisson(parameter).sf(len(tails) - 1)


@pytest.mark.parametrize(
    ("estimator", "distribution"),
    [
        (Unbiased(), stats.geom(0.5)),
        (Unbiased("geometric", 0.1), stats.geom(0.1)),
        (Unbiased("poisson"), stats.poisson(2.0)),
    ],
)
def test_terms_are_drawn_from_the_distribution(estimator, distribution):
    # At every quantile, the draw is that of the distribution's own inverse.
    for u in np.r_[0.0005 + 0.001 * np.arange(1000), 1e-9, 1.0 - 1e-9]:
        terms = int(estimator.draw_terms(ReplayedNoise([np.float64(u)])))
        assert terms == distribution.isf(u), u
    # And a uniform number that rounds to zero draws a number whose weight is finite.
    terms = int(estimator.draw_terms(ReplayedNoise([np.float64(0.0)])))
    assert terms == len(estimator.tail_probabilities()) - 1
    for exact_terms in (0, 3):
        weights = estimator.weights(exact_terms)
        assert len(weights) == exact_terms + terms
        assert np.isfinite(weights.astype("float32")).all()
        np.testing.assert_array_equal(weights[:exact_terms], 1.0)
        expected = 1.0 / distribution.sf(np.arange(terms))
        np.testing.assert_allclose(weights[exact_terms:], expected, rtol=1e-9)


@pytest.mark.parametrize("estimator", [PowerSeries(4, probes=2), Unbiased(probe="rademacher")])
def test_replayed_noise_reproduces(estimator):
    net, x = block()
    recording = RecordingNoise(9)
    _, drawn = estimator(net, x, noise=recording)
    replay = ReplayedNoise(recording.arrays)
    _, replayed = estimator(net, x, noise=replay)
    replay.finish()
    np.testing.assert_array_equal(drawn, replayed)
    others = [estimator(net, x, noise=SeededNoise(seed))[1] for seed in range(4)]
    assert len(np.unique(others, axis=0)) > 2
    probes = recording.arrays[: estimator.probes]
    assert estimator.noise_size(FEATURES) == sum(probe[0].size for probe in probes)
    if estimator.probe == "rademacher":
        assert set(np.unique(probes)) == {-1.0, 1.0}


def test_a_draw_without_noise_is_an_error():
    net, x = block()
    for estimator in (PowerSeries(), Unbiased()):
        with pytest.raises(ValueError, match="draws random numbers: give log_prob a `seed`"):
            estimator(net, x)


def test_likelihood_reaches_the_flow():
    for log_det, likelihood in {
        "exact": "exact",
        "power_series": "biased",
        "unbiased": "unbiased",
        PowerSeries(3): "biased",
        Unbiased("poisson"): "unbiased",
    }.items():
        flow = IDenseNet((2,), blocks=1, depth=1, growth=2, log_det=log_det)
        assert flow.likelihood == likelihood
        assert flow.blocks[0].likelihood == likelihood


def test_flow_averages_to_the_exact_flow():
    keras.utils.set_random_seed(0)
    estimated = IDenseNet((2,), blocks=2, depth=1, growth=4, log_det="unbiased", dtype="float64")
    exact = IDenseNet((2,), blocks=2, depth=1, growth=4, dtype="float64")
    move_weights(estimated)
    for weight, given in zip(exact.weights, estimated.weights, strict=True):
        weight.assign(given)
    x = random(3, 2)
    # In evaluation mode the series is all but complete: any example is a draw of its own.
    many = tf.repeat(x, 4000, axis=0)
    sample = np.reshape(estimated.log_prob(many, seed=3), (3, 4000)).T
    assert within_error(sample, exact.log_prob(x).numpy()).all()


@pytest.mark.parametrize(
    "estimator", [Exact(), PowerSeries(7, 2, "rademacher"), Unbiased("poisson", 3.0, (1, 4))]
)
def test_configuration(estimator):
    config = keras.saving.serialize_keras_object(estimator)
    copy = keras.saving.deserialize_keras_object(config)
    assert type(copy) is type(estimator)
    assert copy.get_config() == estimator.get_config()


def test_names():
    assert isinstance(log_dets.estimator("exact"), Exact)
    assert isinstance(log_dets.estimator("power_series"), PowerSeries)
    assert isinstance(log_dets.estimator("unbiased"), Unbiased)
    with pytest.raises(ValueError, match=r"Unknown log-det estimator 'exactly'. Known: exact, "):
        log_dets.estimator("exactly")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PowerSeries(0), "terms must be an integer, at least 1; got 0"),
        (lambda: PowerSeries(3, probes=0), "probes must be an integer, at least 1; got 0"),
        (
            lambda: PowerSeries(3, probe="sign"),
            "probe must be 'normal' or 'rademacher'; got 'sign'",
        ),
        (lambda: Unbiased("binomial"), "distribution must be 'geometric' or 'poisson'; got"),
        (lambda: Unbiased(gradient="exact"), "gradient must be 'neumann' or 'series'; got"),
        (lambda: Unbiased("geometric", 1.0), r"parameter must be in \(0, 1\) for a geometric"),
        (lambda: Unbiased("poisson", -1.0), "parameter must be .* got -1.0"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()
