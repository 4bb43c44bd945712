"""fit on tables with periodic columns: on a circle, or cut open."""

import io

import numpy as np
import pandas as pd
import pytest
import rich.console

import keras_flows as kf
from keras_flows.fitting import build
from keras_flows.transforms.columns import CircleColumn, PeriodicColumn

TINY = {"layers": 1, "bins": 4, "width": 4, "blocks": 1}


def hours(column, seed=0):
    """A table of hours around midnight, and a number that depends on them."""
    rng = np.random.default_rng(seed)
    hour = rng.normal(0.0, 3.0, 200)
    frame = pd.DataFrame({"hour": column(hour), "x": np.cos(hour * np.pi / 12)})
    frame["x"] += rng.normal(size=200)
    return kf.data.table(frame, kinds={"hour": ("periodic", 24.0)})


@pytest.mark.slow
def test_the_density_has_no_cut():
    console = rich.console.Console(file=io.StringIO())
    flow = kf.fit(hours(lambda h: h % 24.0), arguments=TINY, steps=20, console=console).flow
    # All around there is no jump, no hole, and once around it is the same.
    places = np.linspace(0.0, 48.0, 2001)
    log_prob = flow.log_prob(np.stack([places, np.ones(2001)], axis=1)).numpy()
    assert np.abs(np.diff(log_prob)).max() < 0.02 and np.ptp(log_prob) > 0.05
    np.testing.assert_allclose(log_prob[:1000], log_prob[1000:2000], atol=1e-3)
    samples = flow.sample(20, seed=0).numpy()
    assert ((samples[:, 0] >= 0.0) & (samples[:, 0] <= 24.0)).all()


def test_on_a_circle_or_cut_open():
    table = hours(lambda h: h % 24.0)
    for model, given, map in (
        ("SplineFlow", TINY, CircleColumn),
        ("RealNVP", {"layers": 2, "width": 4, "blocks": 1}, PeriodicColumn),
    ):
        first = next(build.flow_for(table, model, given, 0).transform.innermost())
        assert type(first.maps[0]) is map


def test_samples_are_where_the_numbers_were():
    for column, start in ((lambda h: h % 24.0, 0.0), (lambda h: h, -12.0)):
        flow = build.flow_for(hours(column), "SplineFlow", {**TINY, "circles": [0]}, 0)
        assert next(flow.transform.innermost()).maps[0].start == start
        assert flow.base.circles == [0]
