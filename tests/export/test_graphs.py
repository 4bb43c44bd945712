"""The table of graphs: a new one is an entry, and all else follows from it."""

import numpy as np
import pytest
import tensorflow as tf

import keras_flows as kf
from keras_flows.errors import ExportError
from keras_flows.export import endpoints, graphs
from keras_flows.noise import InputNoise


@pytest.mark.parametrize(
    "kind, name, expected",
    [
        ("onnx", "exact", ["log_prob", "encode", "decode"]),
        ("onnx", "integers", ["log_prob", "log_prob_fixed", "encode", "decode"]),
        ("saved_model", "exact", ["log_prob", "encode", "decode", "sample"]),
        ("saved_model", "integers", ["log_prob", "log_prob_fixed", "encode", "decode", "sample"]),
    ],
)
def test_the_graphs_of_a_flow(build, kind, name, expected):
    flow = build(name)
    made = graphs.of(flow, kind, endpoints.fixed_noise(flow, 0))
    assert list(made) == expected
    for graph, endpoint in made.values():
        assert set(graph.outputs) <= set(endpoint.outputs)
        takes = "noise" in endpoint.inputs
        assert takes == (name == "integers" and graph.recorded == "encode")


def test_records_are_shared_by_graphs_of_one_function_only():
    names = {}
    for graph in graphs.GRAPHS.values():
        names.setdefault(graph.recorded, set()).add((graph.function.name, graph.fixed_noise))
    assert all(len(of) == 1 for of in names.values())
    fixed = [graph.recorded for graph in graphs.GRAPHS.values() if graph.fixed_noise]
    assert len(set(fixed)) == len(fixed)


@pytest.fixture
def distance(monkeypatch):
    """Adds the graph `distance`, x to the squared length of its latent, to the table."""

    def run(made, x, context=None, noise=None):
        encoder, given = made[endpoints.ENCODE], {"x": x, "context": context, "noise": noise}
        z = encoder.function(*(given[name] for name in encoder.inputs))["z"]
        return {"log_det": tf.reduce_sum(z**2, axis=range(1, len(z.shape)))}

    inputs = ("x", "context", "noise")
    function = endpoints.Function("distance", run, inputs, ("log_det",), "encode")
    graph = graphs.Graph("distance", function, ("log_det",), "distance", fixed_noise=True)
    monkeypatch.setitem(graphs.GRAPHS, "distance", graph)


@pytest.mark.slow
@pytest.mark.parametrize("to", [kf.export.to_onnx, kf.export.to_saved_model])
@pytest.mark.parametrize("name", ["integers", "chain"])
def test_a_graph_is_one_entry_of_the_table(build, distance, tmp_path, to, name):
    flow = build(name)
    rows = {row.check: row for row in to(flow, tmp_path / "1").rows}
    assert rows["distance on samples: log_det"].passed
    assert all(row.passed for row in kf.export.verify(tmp_path / "1").rows)
    with np.load(next((tmp_path / "1").rglob("sample.npz"))) as file:
        x, got = file["distance/samples/x"], file["distance/samples/log_det"]
    noise = endpoints.fixed_noise(flow, 0)
    noise = None if noise is None else InputNoise(noise.repeat(len(x), axis=0))
    z = flow.encode(x, noise=noise).numpy()
    np.testing.assert_allclose(got, np.sum(z**2, axis=tuple(range(1, z.ndim))), rtol=1e-5)


def test_an_unknown_graph_says_which_there_are():
    with pytest.raises(ExportError, match=r"no graph 'other'.*log_prob, log_prob_fixed, encode"):
        graphs.named("other")
