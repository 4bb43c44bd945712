"""Location and scale from data."""

import keras
import numpy as np
import pytest

import keras_flows as kf
from keras_flows.training import adapt
from keras_flows.transforms import Chain, Columns, Standardize
from keras_flows.transforms.columns import IntegerColumn, IntervalColumn, PositiveColumn


def adapted(x, robust="auto", dtype="float64"):
    step = Standardize(robust, dtype=dtype)
    step.build((None, x.shape[1]))
    step.adapt(x)
    return step


def test_mean_and_deviation():
    x = np.random.default_rng(0).normal([3.0, -50.0], [0.1, 20.0], (500, 2))
    step = adapted(x)
    np.testing.assert_allclose(step.location, x.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(step.scale, x.std(axis=0), rtol=1e-12)
    z, log_det = step.encode(x)
    np.testing.assert_allclose(z, (x - x.mean(axis=0)) / x.std(axis=0), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(log_det, np.full(500, -np.log(x.std(axis=0)).sum()), rtol=1e-12)
    assert step.trainable_weights == [] and len(step.weights) == 2


def test_a_heavy_tail_takes_median_and_quartiles():
    rng = np.random.default_rng(0)
    x = np.stack([rng.standard_cauchy(4000), rng.normal(size=4000)], axis=1)
    low, median, high = np.quantile(x[:, 0], [0.25, 0.5, 0.75])
    for robust in ("auto", True):
        step = adapted(x, robust)
        assert step.location.numpy()[0] == pytest.approx(median, abs=1e-12)
        assert step.scale.numpy()[0] == pytest.approx((high - low) / 1.3489795, rel=1e-6)
    # The middle half of a normal density has its deviation.
    assert adapted(x, True).scale.numpy()[1] == pytest.approx(1.0, abs=0.05)
    assert adapted(x).scale.numpy()[1] == pytest.approx(x[:, 1].std(), rel=1e-12)
    assert adapted(x, False).scale.numpy()[0] == pytest.approx(x[:, 0].std(), rel=1e-12)
    # Half the values equal: no quartiles to take.
    atoms = np.concatenate([np.zeros(60), rng.normal(size=40)])[:, None]
    assert adapted(atoms).scale.numpy()[0] == pytest.approx(atoms.std(), rel=1e-12)
    with pytest.raises(ValueError, match=r"Feature 0: half of the values are equal.*robust=False"):
        adapted(atoms, True)


def test_what_has_no_scale_is_an_error():
    x = np.random.default_rng(0).normal(size=(20, 3))
    x[:, [1, 2]] = 7.0
    with pytest.raises(ValueError, match="Feature 1 and 1 more: is constant"):
        adapted(x)
    for bad in (x[:1], np.where(x > 1.0, np.nan, x)):
        with pytest.raises(ValueError, match="two rows or more of finite numbers"):
            adapted(bad)
    with pytest.raises(ValueError, match=r"x must have shape \(batch, 3\)"):
        step = Standardize()
        step.build((None, 3))
        step.adapt(x[:, :2])
    with pytest.raises(ValueError, match="robust, where it is not 'auto', must be True or False"):
        Standardize("no")
    with pytest.raises(ValueError, match=r"for vectors; got an event of shape \(4, 4, 1\)"):
        kf.Flow(Standardize(), (4, 4, 1))


def test_numbers_that_float32_does_not_tell_apart_are_an_error():
    stamps = 1.7e9 + np.random.default_rng(0).uniform(0.0, 3600.0, (50, 1))
    with pytest.raises(ValueError, match=r"Feature 0 varies by .* float32 hardly tells apart"):
        adapted(stamps, dtype="float32")
    assert adapted(stamps).scale.numpy()[0] == pytest.approx(stamps.std(), rel=1e-9)
    # And nothing overflows.
    assert adapted(1e300 * np.array([[1.0], [2.0]])).scale.numpy()[0] == pytest.approx(5e299)


def test_log_prob_stays_in_the_units_of_the_data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 2))
    flows = []
    for unit in (1.0, 1000.0):
        keras.utils.set_random_seed(0)
        flow = kf.models.SplineFlow((2,), layers=1, width=4, bins=3, dtype="float64")
        adapt(flow, unit * x)
        flows.append(flow)
    one, other = flows
    np.testing.assert_allclose(
        one.log_prob(x), other.log_prob(1000.0 * x) + 2.0 * np.log(1000.0), rtol=1e-9
    )


def test_adapt_sees_what_comes_before():
    rng = np.random.default_rng(0)
    x = np.stack([rng.lognormal(2.0, 0.5, 300), rng.uniform(-1, 1, 300)], axis=1)
    columns = Columns([PositiveColumn(), IntervalColumn(-1.0, 1.0)], dtype="float64")
    flow = kf.Flow(Chain([columns, Chain([Standardize(dtype="float64")])]), (2,), dtype="float64")
    adapt(flow, x)
    z = flow.encode(x).numpy()
    np.testing.assert_allclose(z.mean(axis=0), [0.0, 0.0], atol=1e-12)
    np.testing.assert_allclose(z.std(axis=0), [1.0, 1.0], rtol=1e-12)
    with pytest.raises(ValueError, match=r"2 of 302 rows are out of the bounds of a column"):
        adapt(flow, np.concatenate([x, [[-1.0, 0.0], [1.0, 2.0]]]))


def test_adapt_of_integers_repeats():
    x = np.random.default_rng(0).integers(0, 9, (50, 1))
    flow = kf.Flow(Chain([Columns([IntegerColumn()]), Standardize()]), (1,))
    locations = []
    for seed in (3, 3, 4):
        adapt(flow, x, seed=seed)
        locations.append(flow.transform.steps[1].location.numpy()[0])
    assert locations[0] == locations[1] != locations[2]
    assert abs(locations[0] - x.mean() - 0.5) < 0.15


def test_adapt_without_a_standardize_is_an_error():
    flow = kf.models.IDenseNet((2,), blocks=1, depth=1, growth=4)
    with pytest.raises(ValueError, match="This flow has no Standardize among its steps"):
        adapt(flow, np.zeros((3, 2)))


def test_location_and_scale_are_saved(tmp_path):
    x = np.random.default_rng(0).normal(5.0, 3.0, (50, 2))
    flow = kf.models.RealNVP((2,), layers=2, width=4)
    adapt(flow, x)
    flow.save(tmp_path / "flow.keras")
    loaded = keras.models.load_model(tmp_path / "flow.keras")
    np.testing.assert_array_equal(loaded.log_prob(x), flow.log_prob(x))
    np.testing.assert_array_equal(loaded.transform.steps[0].scale, flow.transform.steps[0].scale)
    assert abs(float(flow.transform.steps[0].location[0]) - 5.0) < 2.0
