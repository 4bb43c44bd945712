"""Exports of tiny flows of every family on images: each graph against the flow."""

import functools

import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf

import keras_flows as kf
from keras_flows.noise import InputNoise
from tests.registry import MODELS

pytestmark = pytest.mark.slow

# Of each the loops that decoding takes, the searches of mixtures among them.
LOOPS = {
    "pixelcnn": 1,
    "pixelcnn_dequantized": 1,
    "pixelcnn_censored": 1,
    "pixelcnnpp": 1,
    "image_realnvp": 0,
    "interlaced_flow": 1,
    "glow": 0,
    "flowpp": 3,
    "macow": 24,
    "tarflow": 2,
    "jet": 0,
    "vflow": 4,
    "pool_flow": 0,
    "augmented_normalizing_flow": 0,
}


@functools.cache
def flow_of(name):
    return MODELS[name].flow("float32")


def inputs(name, n):
    """x, z, context, and the noise of both directions, float32; None where there is none."""
    case, flow, rng = MODELS[name], flow_of(name), np.random.default_rng(n)
    x = case.draw(rng, (n, *case.event_shape)).astype("float32")
    z = rng.standard_normal((n, *flow.latent_shape)).astype("float32")
    context = None
    if case.context_shape is not None:
        context = rng.standard_normal((n, *case.context_shape)).astype("float32")
    noise = []
    for direction in ("encode", "decode"):
        (size,) = flow.noise_shape(direction)
        noise.append(rng.standard_normal((n, size)).astype("float32") if size else None)
    return x, z, context, *noise


def given(**arrays):
    return {name: array for name, array in arrays.items() if array is not None}


def expected(name, x, z, context, noise, decoding_noise):
    flow = flow_of(name)
    sources = [None if a is None else InputNoise(tf.constant(a)) for a in (noise, decoding_noise)]
    log_prob = flow.log_prob(x, context, sources[0])
    return log_prob.numpy(), flow.decode(z, context, sources[1]).numpy()


def check_decoded(got, wanted):
    # Of integers, a few may lie on the edge between two levels.
    assert np.mean(np.abs(got - wanted) > 1e-3) < 0.05


@pytest.mark.parametrize("name", LOOPS)
def test_onnx(name, tmp_path):
    report = kf.export.to_onnx(flow_of(name), tmp_path)
    assert report.rows and all(row.passed for row in report.rows)
    for n in (1, 5):
        x, z, context, noise, decoding_noise = inputs(name, n)
        log_prob, decoded = expected(name, x, z, context, noise, decoding_noise)
        session = onnxruntime.InferenceSession(tmp_path / "log_prob.onnx")
        (got,) = session.run(None, given(x=x, context=context, noise=noise))
        np.testing.assert_allclose(got, log_prob, rtol=1e-4, atol=1e-3)
        session = onnxruntime.InferenceSession(tmp_path / "decode.onnx")
        (got,) = session.run(None, given(z=z, context=context, noise=decoding_noise))
        check_decoded(got, decoded)
    graph = onnx.load(tmp_path / "decode.onnx").graph
    assert [node.op_type for node in graph.node].count("Loop") == LOOPS[name]


@pytest.mark.parametrize("name", LOOPS)
def test_saved_model(name, tmp_path):
    report = kf.export.to_saved_model(flow_of(name), tmp_path / "1")
    assert report.rows and all(row.passed for row in report.rows)
    loaded = tf.saved_model.load(str(tmp_path / "1"))
    x, z, context, noise, decoding_noise = inputs(name, 3)
    log_prob, decoded = expected(name, x, z, context, noise, decoding_noise)
    feeds = {
        "log_prob": (given(x=x, context=context, noise=noise), "log_prob"),
        "decode": (given(z=z, context=context, noise=decoding_noise), "x"),
    }
    made = {}
    for graph, (feed, output) in feeds.items():
        tensors = {key: tf.constant(value) for key, value in feed.items()}
        made[graph] = loaded.signatures[graph](**tensors)[output].numpy()
    np.testing.assert_allclose(made["log_prob"], log_prob, rtol=1e-4, atol=1e-3)
    check_decoded(made["decode"], decoded)
