"""Pictures of tables: what they show, not how they look."""

import numpy as np
import pandas as pd
import pytest

import keras_flows as kf


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"height": rng.normal(170.0, 8.0, 200), "age": rng.integers(20, 60, 200)})
    return kf.data.table(frame)


@pytest.fixture(scope="module")
def flow(table):
    flow = kf.Flow(kf.transforms.Standardize(), (2,))
    kf.training.adapt(flow, table.x)
    flow.schema = table.schema
    return flow


def test_every_column_has_the_rows_and_the_samples_of_the_flow(flow, table, tmp_path):
    figure = kf.plot.columns(flow, table)
    assert [axis.get_title() for axis in figure.axes[:2]] == ["height", "age"]
    samples = flow.sample(5000, seed=0)
    for i, axis in enumerate(figure.axes[:2]):
        rows, outline = axis.patches[:-1], axis.patches[-1].get_xy()
        edges = np.array([bar.get_x() for bar in rows] + [rows[-1].get_x() + rows[-1].get_width()])
        heights = np.histogram(table.x[:, i], edges, density=True)[0]
        np.testing.assert_allclose([bar.get_height() for bar in rows], heights)
        drawn = np.histogram(samples[:, i], edges, density=True)[0]
        assert outline[:, 1].max() == pytest.approx(drawn.max(), rel=1e-6)
    figure.savefig(tmp_path / "columns.png")
    assert (tmp_path / "columns.png").stat().st_size > 5_000


def test_bins_of_whole_numbers_are_around_them(flow, table):
    bar = kf.plot.columns(flow, table).axes[1].patches[0]
    assert bar.get_x() % 1.0 == 0.5 and bar.get_width() % 1.0 == 0.0


def test_at_most_so_many_columns(flow, table):
    assert len([a for a in kf.plot.columns(flow, table, most=1).axes if a.get_title()]) == 1


def test_a_flow_without_columns_is_refused(table):
    with pytest.raises(ValueError, match="no schema"):
        kf.plot.columns(kf.Flow(kf.transforms.Standardize(), (2,)), table)


def test_rows_of_other_columns_are_refused(flow):
    other = kf.data.table(np.random.default_rng(0).normal(size=(50, 2)))
    with pytest.raises(ValueError, match="other columns"):
        kf.plot.columns(flow, other)
