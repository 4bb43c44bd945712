"""Spline flows and their like on columns of a table and on images, as ONNX and SavedModels."""

import functools

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf

import keras_flows as kf
from keras_flows.noise import InputNoise
from keras_flows.transforms import Asinh, Chain, Columns
from keras_flows.transforms.columns import (
    CircleColumn,
    IntegerColumn,
    IntervalColumn,
    PeriodicColumn,
    PositiveColumn,
    RealColumn,
    SoftplusColumn,
)
from keras_flows.transforms.maps import LogisticMixtureMap
from tests.registry import CASES, move_weights

pytestmark = pytest.mark.slow

SMALL = {"layers": 2, "width": 8}


def _on_columns():
    """A flow on columns of all kinds."""
    maps = [
        IntervalColumn(-1.0, 3.0),
        IntegerColumn(),
        RealColumn(),
        PositiveColumn(),
        PeriodicColumn(24.0, 5.5),
        SoftplusColumn(2.0),
    ]
    model = kf.models.SplineFlow((6,), layers=1, width=8, bins=4)
    return kf.Flow(Chain([Columns(maps), model.transform]), (6,))


def _on_circles():
    """A flow on a circle, a column with heavy tails and another circle."""
    maps = [CircleColumn(24.0), RealColumn(), CircleColumn(360.0, -180.0)]
    tails = Asinh([0.0, 3.0, 0.0], [1.0, 0.5, 1.0], keep=[0, 2])
    model = kf.models.SplineFlow((3,), layers=2, width=8, bins=4, circles=[0, 2])
    return kf.Flow(Chain([Columns(maps), tails, model.transform]), (3,), base=model.base)


def _mixture():
    """An autoregressive step by mixtures, on a logistic base."""
    map = LogisticMixtureMap(3)
    net = kf.layers.MADE(3, map.parameters, (6,), context_size=2)
    step = kf.transforms.Autoregressive(net, map)
    return kf.Flow(step, (3,), context_shape=(2,), base=kf.bases.StandardLogistic())


FLOWS = {
    "mixture": _mixture,
    "autoregressive": lambda: kf.models.SplineFlow((4,), **SMALL, context_shape=(2,)),
    "couplings": lambda: kf.models.SplineFlow((5,), autoregressive=False, **SMALL),
    "masked": lambda: kf.models.MaskedAutoregressiveFlow((3,), **SMALL, batch_normalization=True),
    "image": lambda: CASES["spline_coupling_image"].flow("float32"),
    "realnvp": lambda: kf.models.RealNVP((3,), **SMALL, context_shape=(2,)),
    "columns": _on_columns,
    "circles": _on_circles,
}


@functools.cache
def built(name):
    keras.utils.set_random_seed(0)
    flow = FLOWS[name]()
    move_weights(flow, spread=0.2)
    return flow


def inputs(flow, n, seed):
    """Fresh x, z, context and noise, float32."""
    rng = np.random.default_rng(seed)
    numbers = functools.partial(rng.standard_normal, dtype="float32")
    z = numbers((n, *flow.latent_shape))
    context = None if flow.context_shape is None else numbers((n, *flow.context_shape))
    noise = (
        None if flow.noise_shape("encode") == (0,) else numbers((n, *flow.noise_shape("encode")))
    )
    return flow.decode(z, context).numpy(), z, context, noise


def given(**arrays):
    return {name: array for name, array in arrays.items() if array is not None}


def expected(flow, x, z, context, noise):
    source = None if noise is None else InputNoise(tf.constant(noise))
    return {
        "log_prob": flow.log_prob(x, context, source).numpy(),
        "decode": flow.decode(z, context).numpy(),
    }


@pytest.mark.parametrize("name", FLOWS)
def test_onnx(name, tmp_path):
    flow = built(name)
    report = kf.export.to_onnx(flow, tmp_path)
    assert report.rows and all(row.passed for row in report.rows)
    sessions = {
        graph: onnxruntime.InferenceSession(tmp_path / f"{graph}.onnx")
        for graph in ("log_prob", "decode")
    }
    for n in (1, 40):
        x, z, context, noise = inputs(flow, n, seed=n)
        wanted = expected(flow, x, z, context, noise)
        (got,) = sessions["log_prob"].run(None, given(x=x, context=context, noise=noise))
        np.testing.assert_allclose(got, wanted["log_prob"], rtol=1e-4, atol=1e-3)
        (got,) = sessions["decode"].run(None, given(z=z, context=context))
        np.testing.assert_allclose(got, wanted["decode"], rtol=1e-3, atol=1e-4)
    # Decoding an autoregressive step is one loop, and nothing of its body is outside.
    graph = onnx.load(tmp_path / "decode.onnx").graph
    steps = [s for s in flow.transform.innermost() if isinstance(s, kf.transforms.Autoregressive)]
    kinds = [node.op_type for node in graph.node]
    assert kinds.count("Loop") == len(steps)
    assert bool({"MatMul", "Conv"}.intersection(kinds)) == (not steps)


def test_onnx_of_a_row_out_of_bounds(tmp_path):
    flow = built("columns")
    kf.export.to_onnx(flow, tmp_path)
    x, _, _, noise = inputs(flow, 6, seed=1)
    for row, column, value in ((0, 0, 3.5), (1, 1, 0.25), (2, 3, -1.0), (3, 5, 0.0)):
        x[row, column] = value
    session = onnxruntime.InferenceSession(tmp_path / "log_prob.onnx")
    (got,) = session.run(None, {"x": x, "noise": noise})
    assert np.isneginf(got).tolist() == [True] * 4 + [False] * 2


def test_onnx_of_circles_has_no_cut(tmp_path):
    flow = built("circles")
    kf.export.to_onnx(flow, tmp_path)
    session = onnxruntime.InferenceSession(tmp_path / "log_prob.onnx")
    ends = np.array([[0.0, 1.0, -180.0], [24.0, 1.0, 180.0], [23.999998, 1.0, -540.0]], "float32")
    (got,) = session.run(None, {"x": ends})
    np.testing.assert_allclose(got, flow.log_prob(ends), rtol=1e-5)
    np.testing.assert_allclose(got, np.full(3, got[0]), rtol=1e-4)


@pytest.mark.parametrize("name", FLOWS)
def test_saved_model(name, tmp_path):
    flow = built(name)
    kf.export.to_saved_model(flow, tmp_path / "1")
    loaded = tf.saved_model.load(str(tmp_path / "1"))
    x, z, context, noise = inputs(flow, 9, seed=3)
    wanted = expected(flow, x, z, context, noise)
    feeds = {
        "log_prob": given(x=x, context=context, noise=noise),
        "decode": given(z=z, context=context),
    }
    for graph, output in (("log_prob", "log_prob"), ("decode", "x")):
        feed = {key: tf.constant(value) for key, value in feeds[graph].items()}
        got = loaded.signatures[graph](**feed)[output]
        np.testing.assert_allclose(got, wanted[graph], rtol=1e-4, atol=1e-4)
