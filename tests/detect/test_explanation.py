"""Which columns make a row unusual."""

import numpy as np
import pytest
from scipy import stats
from scipy.special import logit, logsumexp

from keras_flows import Flow
from keras_flows.data.columns import Column, Integer, Interval, Periodic, Positive
from keras_flows.data.schema import Rows, Schema
from keras_flows.detect import calibrate, explain
from keras_flows.detect.explanation import _drop_columns
from keras_flows.fitting import build
from keras_flows.transforms import Affine, UniformDequantization
from tests.detect.gaussian import conditional, gaussian


@pytest.fixture
def held_out():
    return np.random.default_rng(0).normal([0.0, 5.0, -2.0], [1.0, 0.1, 3.0], size=(60, 3))


def fitted(make, held_out):
    flow = make(3)
    flow.fit(held_out)
    return flow, calibrate(flow, held_out, "normal")


def column_log_probs(x, held_out):
    return stats.norm(held_out.mean(axis=0), held_out.std(axis=0)).logpdf(x)


def test_drop_column_of_independent_columns(held_out):
    flow, calibration = fitted(gaussian, held_out)
    x = np.array([[0.0, 5.0, -2.0], [0.0, 6.0, -2.0], [4.0, 5.0, 20.0]])
    found = explain(flow, x, held_out, calibration, draws=60)
    # The other columns cancel: what is left is ln mean_k p_j(b_kj) - ln p_j(x_j).
    others = logsumexp(column_log_probs(held_out, held_out), axis=0) - np.log(60)
    expected = others - column_log_probs(x, held_out)
    np.testing.assert_allclose(found.contributions, expected, rtol=1e-3, atol=1e-3)
    assert (found.kind, found.seed, found.draws) == ("drop_column", 0, 60)
    assert found.contributions[1].argmax() == 1
    assert found.contributions[1, 1] > 10.0
    assert np.all(found.contributions[0] < 0.0)


def test_the_seed_chooses_the_rows(held_out):
    flow, calibration = fitted(gaussian, held_out)
    x = held_out[:4]
    first = explain(flow, x, held_out, calibration, draws=5, seed=1)
    again = explain(flow, x, held_out, calibration, draws=5, seed=1)
    other = explain(flow, x, held_out, calibration, draws=5, seed=2)
    np.testing.assert_array_equal(first.contributions, again.contributions)
    assert np.any(first.contributions != other.contributions)
    assert explain(flow, x, held_out, calibration, draws=1000).draws == 60


@pytest.mark.parametrize("make", [gaussian, conditional])
def test_units_make_no_difference(make, held_out):
    x = held_out[:5] * 1.5
    scale = np.array([1e3, 1.0, 1e-2])
    plain = explain(*(lambda f, c: (f, x, held_out, c))(*fitted(make, held_out)))
    flow, calibration = fitted(make, held_out * scale)
    scaled = explain(flow, x * scale, held_out * scale, calibration)
    np.testing.assert_allclose(scaled.contributions, plain.contributions, rtol=1e-3, atol=2e-3)


def test_conditional_terms(held_out):
    flow, calibration = fitted(conditional, held_out)
    x = np.array([[0.0, 6.0, -2.0]])
    found = explain(flow, x, held_out, calibration)
    terms = column_log_probs(held_out, held_out)
    expected = np.median(terms, axis=0) - column_log_probs(x, held_out)
    np.testing.assert_allclose(found.contributions, expected, rtol=1e-3)
    assert (found.kind, found.seed, found.draws) == ("conditional", None, None)


KINDS = {"positive": Positive(), "share": Interval(0.0, 1.0), "angle": Periodic(360.0)}


def rows_of(n, seed, **more):
    """Rows of columns of these kinds and others."""
    rng = np.random.default_rng(seed)
    angle = 90.0 * rng.normal(size=n) % 360.0
    columns = [rng.lognormal(size=n), rng.uniform(0.1, 0.9, n), angle]
    columns += [rng.poisson(5.0, n) for _ in more]
    kinds = {**KINDS, **more}
    schema = Schema(tuple(Column(name, kind) for name, kind in kinds.items()))
    return Rows(schema, np.stack(columns, axis=1), {})


def test_tables_of_exact_columns_have_conditional_terms():
    rows, new = rows_of(60, 0), rows_of(4, 1).x
    tiny = {"layers": 1, "bins": 4, "width": 4, "blocks": 1, "one_order": True}
    flow = build.flow_for(rows, "SplineFlow", tiny, 0)
    new[1, 0], new[2, 1], new[3, 2] = 400.0, 1.5, new[3, 2] - 720.0
    found = explain(flow, new, rows.x, calibrate(flow, rows.x, "rows"))
    assert found.kind == "conditional"
    # A fresh flow: normal after ln x and ln(x / (1 - x)), uniform over the circle.
    z = np.stack([np.log(rows.x[:, 0]), logit(rows.x[:, 1])], axis=1)
    normal = stats.norm(z.mean(axis=0), z.std(axis=0))
    shares = np.stack([rows.x[:, 0], rows.x[:, 1] * (1 - rows.x[:, 1])], axis=1)
    median = np.median(normal.logpdf(z) - np.log(shares), axis=0)
    inside = np.where(new[:, 1:2] < 1.0, new[:, 1:2], 0.5)
    z = np.concatenate([np.log(new[:, :1]), logit(inside)], axis=1)
    shares = np.concatenate([new[:, :1], inside * (1 - inside)], axis=1)
    expected = median - normal.logpdf(z) + np.log(shares)
    expected[2, 1] = np.inf  # out of its interval, and no fault of the others
    np.testing.assert_allclose(found.contributions[:, :2], expected, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(found.contributions[:, 2], 0.0, atol=1e-5)
    assert found.contributions[:2].argmax(axis=1)[1] == 0


def test_integers_leave_no_conditional_terms():
    rows = rows_of(60, 0, visits=Integer())
    tiny = {"layers": 1, "bins": 4, "width": 4, "blocks": 1, "one_order": True}
    flow = build.flow_for(rows, "SplineFlow", tiny, 0)
    found = explain(flow, rows.x[:2], rows.x, calibrate(flow, rows.x, "rows"), draws=5)
    assert found.kind == "drop_column" and found.contributions.shape == (2, 4)


def test_conditional_terms_must_be_those_of_the_flow(held_out, monkeypatch):
    flow, calibration = fitted(conditional, held_out)
    monkeypatch.setattr(flow, "conditional_log_probs", lambda x: np.zeros((len(x), 3)))
    with pytest.raises(ArithmeticError, match="do not sum to its log_prob in 60 of 60 rows"):
        explain(flow, held_out, held_out, calibration)
    monkeypatch.setattr(flow, "conditional_log_probs", lambda x: np.zeros(len(x)))
    with pytest.raises(ValueError, match=r"must return the shape \(60, 3\)"):
        explain(flow, held_out, held_out, calibration)


def test_impossible_columns():
    def log_prob(x):  # uniform on the unit square
        return np.where(np.all((x >= 0.0) & (x <= 1.0), axis=1), 0.0, -np.inf)

    x = np.array([[0.5, 0.5], [2.0, 0.5], [2.0, 2.0]])
    found = _drop_columns(log_prob, x, np.array([[0.1, 0.2], [0.3, 0.4]]))
    np.testing.assert_array_equal(found, [[0.0, 0.0], [np.inf, 0.0], [0.0, 0.0]])


def test_rows_in_parts(held_out, monkeypatch):
    flow, calibration = fitted(gaussian, held_out)
    whole = explain(flow, held_out, held_out, calibration)
    monkeypatch.setattr("keras_flows.detect.explanation._ROWS", 7)
    parts = explain(flow, held_out, held_out, calibration)
    np.testing.assert_allclose(parts.contributions, whole.contributions, atol=1e-5)


def test_integers_are_taken_as_numbers(held_out):
    flow, calibration = fitted(gaussian, held_out)
    integers = np.array([[0, 5, 20]])
    found = explain(flow, integers, held_out, calibration)
    expected = explain(flow, integers.astype(float), held_out, calibration)
    np.testing.assert_array_equal(found.contributions, expected.contributions)


def test_what_cannot_be_explained(held_out):
    flow, calibration = fitted(gaussian, held_out)
    with pytest.raises(ValueError, match="x must have shape"):
        explain(flow, held_out[:, :2], held_out, calibration)
    with pytest.raises(ValueError, match="held_out must have shape"):
        explain(flow, held_out, held_out[:, :2], calibration)
    with pytest.raises(ValueError, match="held_out is an empty batch"):
        explain(flow, held_out, held_out[:0], calibration)
    with pytest.raises(ValueError, match="draws must be an integer"):
        explain(flow, held_out, held_out, calibration, draws=0)
    norms = calibrate(flow, held_out, "normal", "latent_norm")
    with pytest.raises(ValueError, match="of the statistic 'latent_norm'"):
        explain(flow, held_out, held_out, norms)
    images = Flow(UniformDequantization(bits=4), (2, 2, 1))
    with pytest.raises(ValueError, match=r"event shape \(2, 2, 1\)"):
        explain(images, held_out, held_out, calibration)
    assert explain(Flow(Affine(), (3,)), held_out[:1], held_out, calibration).kind == "drop_column"
