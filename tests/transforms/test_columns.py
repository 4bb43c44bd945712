"""The maps of the columns of a table: what is in bounds, and what is not."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from keras_flows import Flow, NonFiniteError
from keras_flows.transforms import ActNorm, Chain, Columns, Standardize
from keras_flows.transforms.columns import (
    IntegerColumn,
    IntervalColumn,
    PeriodicColumn,
    PositiveColumn,
    RealColumn,
    SoftplusColumn,
)
from tests.registry import CASES


def flow_of(*maps, dtype="float64"):
    return Flow(Columns(maps, dtype=dtype), (len(maps),), dtype=dtype)


def column(*values):
    return np.array(values, "float64")[:, None]


def test_a_positive_column_is_log_normal():
    x = column(1e-30, 0.2, 1.0, 7.0, 1e30)
    expected = stats.lognorm(1.0).logpdf(x[:, 0])
    np.testing.assert_allclose(flow_of(PositiveColumn()).log_prob(x), expected, rtol=1e-12)


def test_softplus_is_the_logarithm_near_0_and_the_identity_far():
    scale = 0.5
    map = SoftplusColumn(scale)
    x = column(1e-30, 1e-9, 0.0499999, 0.05, 0.0500001, 0.3, 20.0, 1e6)
    z, log_derivative = map.encode(tf.constant(x))
    expected = scale * (np.log(-np.expm1(-x / scale)) + x / scale)
    np.testing.assert_allclose(z, expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(log_derivative, -np.log(-np.expm1(-x / scale)), rtol=1e-9)
    np.testing.assert_allclose(map.decode(z), x, rtol=1e-9)


def test_an_interval_has_the_logistic_of_its_share():
    x = column(-1.9999, -1.0, 0.5, 2.9999)
    share = (x[:, 0] + 2.0) / 5.0
    z = np.log(share / (1.0 - share))
    expected = stats.norm.logpdf(z) - np.log(5.0 * share * (1.0 - share))
    np.testing.assert_allclose(flow_of(IntervalColumn(-2, 3)).log_prob(x), expected, rtol=1e-9)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_samples_of_an_interval_stay_inside(dtype):
    flow = flow_of(IntervalColumn(-2.0, 3.0), IntervalColumn(0.0, 1.0), dtype=dtype)
    z = np.array([[-1e6, -1e6], [-40.0, -40.0], [0.0, 0.0], [40.0, 40.0], [1e6, 1e6]])
    x = flow.decode(z).numpy()
    assert ((x > [-2.0, 0.0]) & (x < [3.0, 1.0])).all()
    assert np.isfinite(flow.log_prob(x)).all()
    assert x[1, 1] == pytest.approx(np.exp(-40.0), rel=1e-5)


def test_a_periodic_column_repeats():
    flow = flow_of(PeriodicColumn(24.0, 3.0))
    x = np.random.default_rng(0).uniform(3.1, 26.9, (20, 1))
    for turns in (-2, 1, 30):
        np.testing.assert_allclose(flow.log_prob(x + 24.0 * turns), flow.log_prob(x), rtol=1e-9)
    z = flow.encode(x + 48.0)
    np.testing.assert_allclose(flow.decode(z), x, rtol=1e-9)
    assert flow.log_prob(column(3.0, 27.0)).numpy().tolist() == [-math.inf] * 2


def test_a_circle_is_cut_in_the_largest_gap():
    hours = np.array([23.0, 22.5, 1.0, 1.5, 6.0, 9.0, 13.0, 17.0, 20.0])
    map = PeriodicColumn.between(hours, 24.0)
    assert (map.period, map.cut) == (24.0, 3.75)
    assert PeriodicColumn.between(hours + 24.0 * np.arange(9), 24.0).cut == pytest.approx(3.75)
    # The gap may lie across the multiple of the period.
    assert PeriodicColumn.between([5.0, 12.0, 18.0], 24.0).cut == pytest.approx(23.5)
    assert PeriodicColumn.between([5.0], 24.0).cut == pytest.approx(17.0)
    for bad in ([], [[1.0]], [np.nan]):
        with pytest.raises(ValueError, match="values must be finite numbers"):
            PeriodicColumn.between(bad, 24.0)


def test_integers_are_dequantized():
    flow = flow_of(RealColumn(), IntegerColumn(), IntegerColumn())
    assert (flow.likelihood, flow.noise_shape("encode")) == ("lower_bound", (2,))
    x = np.array([[0.5, 3.0, -2.0], [1.5, 0.0, 7.0]])
    u = np.array([[0.25, 0.0], [0.5, 0.999]])
    z = flow.encode(x, noise=[u])
    np.testing.assert_allclose(z[:, 0], x[:, 0])
    np.testing.assert_allclose(z[:, 1:], x[:, 1:] + u)
    np.testing.assert_array_equal(flow.decode(z), x)
    expected = stats.norm.logpdf(np.concatenate([x[:, :1], x[:, 1:] + u], axis=1)).sum(axis=1)
    np.testing.assert_allclose(flow.log_prob(x, noise=[u]), expected, rtol=1e-12)
    # Over all integers, the mean over u of the density sums to one.
    one = flow_of(IntegerColumn())
    fine = (np.arange(500) + 0.5) / 500
    rows = column(*np.repeat(np.arange(-8, 8), 500))
    density = np.exp(one.log_prob(rows, noise=[np.tile(fine, 16)[:, None]]))
    assert density.mean() * 16 == pytest.approx(1.0, abs=1e-5)


OUTSIDE = [
    (PositiveColumn(), (0.0, -0.0, -1.0, -1e30)),
    (SoftplusColumn(), (0.0, -1.0, -1e30)),
    (IntervalColumn(-2.0, 3.0), (-2.0, 3.0, -5.0, 1e30)),
    (IntegerColumn(), (0.5, -1.25)),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("map", "values"), OUTSIDE, ids=lambda v: type(v).__name__)
def test_a_row_out_of_bounds_has_no_density(map, values, dtype):
    # A flow around it, since others have to go on from the latent.
    steps = [Columns([RealColumn(), map], dtype=dtype), Standardize(dtype=dtype)]
    flow = Flow(Chain(steps, dtype=dtype), (2,), dtype=dtype)
    x = tf.constant([[0.3, value] for value in (*values, 1.0)], dtype)
    np.testing.assert_array_equal(flow.log_prob(x, seed=0)[:-1], -math.inf)
    assert np.isfinite(flow.log_prob(x, seed=0)[-1])
    assert np.isfinite(flow.encode(x, seed=0)).all()
    with tf.GradientTape() as tape:
        tape.watch(x)
        log_prob = flow.log_prob(x, noise=[np.zeros((len(x), 1))] if map.draws else None)
    assert np.isfinite(tape.gradient(log_prob, x)).all()


def test_columns_of_the_same_map_are_put_back_in_their_place():
    case = CASES["columns"]
    flow, x = case.flow(), case.data(5)
    z = flow.encode(x, seed=0).numpy()
    u = z[:, [1, 5]] - x[:, [1, 5]]
    assert ((u >= 0.0) & (u < 1.0)).all()
    np.testing.assert_array_equal(z[:, [2, 7]], x[:, [2, 7]])
    np.testing.assert_allclose(z[:, 3], np.log(x[:, 3]))
    np.testing.assert_allclose(flow.decode(z), x, rtol=1e-9, atol=1e-9)


def test_wrong_maps_are_errors():
    with pytest.raises(ValueError, match=r"Each of the maps of Columns must be a .*ColumnMap"):
        Columns(["real"])
    with pytest.raises(ValueError, match=r"Columns has 1 maps, one for each column; .*\(2,\)"):
        Flow(Columns([RealColumn()]), (2,))
    with pytest.raises(ValueError, match=r"bounds of an interval must rise; got \(1, 1\)"):
        IntervalColumn(1.0, 1.0)
    with pytest.raises(ValueError, match="high must be a finite number; got inf"):
        IntervalColumn(0.0, math.inf)
    with pytest.raises(ValueError, match="period must be a positive number; got 0"):
        PeriodicColumn(0)
    with pytest.raises(ValueError, match="scale must be a positive number; got -1"):
        SoftplusColumn(-1)


def test_a_row_out_of_bounds_stops_training_with_an_error():
    flow = Flow(Chain([Columns([PositiveColumn()]), ActNorm()]), (1,))
    flow.compile(keras.optimizers.Adam(1e-3), run_eagerly=True)
    with pytest.raises(NonFiniteError):
        flow.fit(column(1.0, 2.0, -1.0), batch_size=3, verbose=0)
