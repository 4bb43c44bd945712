"""Exports of tiny flows on images: every graph against the flow, its log-det a loop."""

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf

import keras_flows as kf
from keras_flows.export.endpoints import FixedTermsNoise
from keras_flows.models import IDenseNet, ResidualFlow
from keras_flows.noise import InputNoise
from keras_flows.numerics.log_det import PowerSeries
from tests.registry import move_weights

TINY = {"depth": 1, "growth": 4, "fully_connected": {"blocks": 1, "size": 4}}
FLOWS = {
    "integers": lambda: IDenseNet((4, 4, 1), (1, 1), bits=3, log_det=PowerSeries(5), **TINY),
    "fractions": lambda: IDenseNet((4, 4, 1), (1,), bits=None, log_det=PowerSeries(9), **TINY),
    "factored": lambda: ResidualFlow(
        (4, 4, 1), (1, 1), (4, 4), bits=5, fully_connected=None, factor_out=True
    ),
}


def build(name):
    keras.utils.set_random_seed(0)
    flow = FLOWS[name]()
    move_weights(flow)
    return flow


def nodes(graph):
    """All nodes of an ONNX graph, those inside loops included."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from nodes(attribute.g)


@pytest.mark.slow
@pytest.mark.parametrize("name", FLOWS)
def test_onnx_files_give_the_numbers_of_the_flow(name, tmp_path):
    flow = build(name)
    report = kf.export.to_onnx(flow, tmp_path / "onnx")
    assert report.rows and all(row.passed for row in report.rows)
    rng = np.random.default_rng(0)

    def run(file, **inputs):
        session = onnxruntime.InferenceSession(tmp_path / "onnx" / f"{file}.onnx")
        return session.run(None, inputs)

    for n in (1, 5):
        z = rng.standard_normal((n, *flow.latent_shape)).astype("float32")
        noise = rng.standard_normal((n, *flow.noise_shape("encode"))).astype("float32")
        (x,) = run("decode", z=z)
        # Of integers, a few may lie on the edge between two levels.
        assert np.mean(np.abs(x - flow.decode(z)) > 1e-4) < 0.05
        encoded, log_det = run("encode", x=x, noise=noise)
        (log_prob,) = run("log_prob", x=x, noise=noise)
        np.testing.assert_allclose(log_prob, flow.base.log_prob(encoded) + log_det, rtol=1e-5)
        expected = flow.encode(x, noise=FixedTermsNoise(noise))
        np.testing.assert_allclose(encoded, expected, atol=2e-5)
        expected = flow.log_prob(x, noise=FixedTermsNoise(noise))
        np.testing.assert_allclose(log_prob, expected, rtol=2e-5)
    # The same noise for all, as a constant.
    numbers = np.random.default_rng(0).standard_normal(flow.noise_shape("encode"))
    noise = np.tile(numbers.astype("float32"), (5, 1))
    (log_prob,) = run("log_prob_fixed", x=x)
    np.testing.assert_allclose(log_prob, flow.log_prob(x, noise=FixedTermsNoise(noise)), rtol=2e-5)
    # One loop for the series of every block in one file, for the inverse in another.
    for file in ("log_prob", "log_prob_fixed", "decode"):
        graph = onnx.load(tmp_path / "onnx" / f"{file}.onnx").graph
        kinds = [node.op_type for node in nodes(graph)]
        assert kinds.count("Loop") == len(flow.blocks)


@pytest.mark.slow
def test_a_saved_model_gives_the_numbers_of_the_flow(tmp_path, caplog):
    flow = build("integers")
    report = kf.export.to_saved_model(flow, tmp_path / "1")
    assert report.rows and all(row.passed for row in report.rows)
    with caplog.at_level("WARNING"):
        loaded = tf.saved_model.load(tmp_path / "1")
    assert not [record for record in caplog.records if "gradient" in record.getMessage()]
    rng = np.random.default_rng(1)
    x = rng.integers(8, size=(3, 4, 4, 1)).astype("float32")
    noise = rng.standard_normal((3, *flow.noise_shape("encode"))).astype("float32")
    made = loaded.log_prob(x, noise)["log_prob"]
    np.testing.assert_allclose(made, flow.log_prob(x, noise=InputNoise(noise)), rtol=1e-5)
    sampled = loaded.sample(4, tf.constant([1, 2]))["x"]
    np.testing.assert_array_equal(sampled, flow.sample(4, seed=(1, 2)))


def test_weights_are_bound_outside_the_loop_of_the_inverse():
    # A kernel is divided by a maximum, and flipped for the transposed map: neither is in the loop.
    flow = build("integers")
    block = flow.blocks[0]
    invert = tf.function(lambda z: block.invert(z).x, autograph=False)
    shape = (None, *block.event_shape)
    graph = invert.get_concrete_function(tf.TensorSpec(shape, tf.float32)).graph.as_graph_def()
    inside = [
        node.op
        for function in graph.library.function
        if "while_body" in function.signature.name
        for node in function.node_def
    ]
    assert "Conv2D" in inside
    assert not {"Maximum", "Softplus", "ReverseV2"} & set(inside)
