"""Exact conditional terms of flows that are autoregressive in one order."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_flows import Flow
from keras_flows.bases import ChannelNormal
from keras_flows.detect import calibrate, explain
from keras_flows.measure import column_order, conditional_log_probs
from keras_flows.models import MaskedAutoregressiveFlow, SplineFlow
from keras_flows.training import adapt
from keras_flows.transforms import Chain, Columns, FactorOut, Reverse, Standardize
from keras_flows.transforms.columns import IntegerColumn, IntervalColumn, PositiveColumn, RealColumn
from keras_flows.transforms.maps import SplineMap
from tests.registry import autoregressive, move_weights

SMALL = {"layers": 2, "width": 6, "one_order": True, "dtype": "float64"}


def flow_on_columns(kind=SplineFlow, **arguments):
    """A flow on a positive column, an interval and a real one, in float64."""
    keras.utils.set_random_seed(0)
    maps = [PositiveColumn(), IntervalColumn(-2.0, 2.0), RealColumn()]
    model = kind((3,), **{**SMALL, **arguments})
    flow = Flow(
        Chain([Columns(maps, dtype="float64"), model.transform], dtype="float64"),
        (3,),
        model.context_shape,
        dtype="float64",
    )
    adapt(flow, rows(100), None if model.context_shape is None else np.zeros((100, 2)))
    move_weights(flow, spread=0.2)
    return flow


def rows(n, seed=0):
    rng = np.random.default_rng(seed)
    return np.stack([rng.lognormal(size=n), rng.uniform(-1.9, 1.9, n), rng.normal(size=n)], axis=1)


@pytest.mark.parametrize("kind", [SplineFlow, MaskedAutoregressiveFlow])
def test_terms_sum_to_the_log_prob_and_see_nothing_behind(kind):
    flow, x = flow_on_columns(kind), rows(7, 1)
    assert column_order(flow) == [0, 1, 2]
    terms = conditional_log_probs(flow, x)
    np.testing.assert_allclose(tf.reduce_sum(terms, axis=1), flow.log_prob(x), rtol=1e-12)
    for j in range(2):
        changed = x.copy()
        changed[:, j + 1 :] = rows(7, 2)[:, j + 1 :]
        np.testing.assert_array_equal(
            conditional_log_probs(flow, changed)[:, : j + 1], terms[:, : j + 1]
        )
        assert (
            np.abs(conditional_log_probs(flow, changed)[:, j + 1] - terms[:, j + 1]) > 1e-6
        ).all()


def test_a_term_is_a_density_of_its_column():
    flow, x = flow_on_columns(), rows(1, 1)
    fine = np.linspace(-12.0, 12.0, 4001)
    grid = np.repeat(x, len(fine), axis=0)
    grid[:, 2] = fine
    density = np.exp(conditional_log_probs(flow, grid)[:, 2])
    assert density.sum() * (fine[1] - fine[0]) == pytest.approx(1.0, abs=1e-3)


def test_a_context_is_part_of_every_term():
    flow = flow_on_columns(context_shape=(2,))
    x, context = rows(5, 1), np.random.default_rng(3).normal(size=(5, 2))
    terms = conditional_log_probs(flow, x, context)
    np.testing.assert_allclose(tf.reduce_sum(terms, axis=1), flow.log_prob(x, context), rtol=1e-12)
    other = conditional_log_probs(flow, x, -context)
    assert (np.abs(other - terms) > 1e-6).all()


def test_explanations_use_them():
    flow = flow_on_columns()
    held_out, x = rows(50, 4), rows(3, 5)
    x[1, 1] = 5.0
    found = explain(flow, x, held_out, calibrate(flow, held_out, "rows"))
    assert found.kind == "conditional"
    median = np.median(conditional_log_probs(flow, held_out), axis=0)
    np.testing.assert_allclose(
        found.contributions[0], median - conditional_log_probs(flow, x[:1])[0]
    )
    # Out of the bounds of its column, and nothing else to blame.
    assert found.contributions[1, 1] == np.inf and np.isfinite(found.contributions[1, [0, 2]]).all()


def chain(*steps, **arguments):
    return Flow(Chain(list(steps)), (2,), **arguments)


def test_the_order_is_that_of_all_steps():
    map = SplineMap(2)
    forward, backward = (
        [autoregressive("float32", map, reverse=reverse) for _ in range(2)]
        for reverse in (False, True)
    )
    assert column_order(chain(Standardize(), Chain([backward[0]]), backward[1])) == [1, 0]
    assert column_order(chain(Standardize())) == [0, 1]
    assert column_order(chain(Standardize(), base=ChannelNormal())) == [0, 1]
    others = [
        chain(forward[0], autoregressive("float32", map, reverse=True)),
        chain(forward[1], Reverse()),
        chain(FactorOut(Chain([]))),
        chain(Columns([IntegerColumn(), RealColumn()])),
        SplineFlow((2,), layers=2, width=4),
    ]
    assert [column_order(flow) for flow in others] == [None] * 5
    with pytest.raises(ValueError, match="not autoregressive in one order"):
        conditional_log_probs(others[0], np.zeros((1, 2)))
