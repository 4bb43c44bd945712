"""A DenseFlow exported: noise is an input in both directions."""

import json

import keras
import numpy as np
import onnxruntime
import pytest
import tensorflow as tf

import keras_flows as kf
from keras_flows.noise import InputNoise
from tests.registry import dense_flow, move_weights

pytestmark = pytest.mark.slow

ARGUMENTS = {
    "published": {},
    "proper": {"attention": "proper", "heads": 2},
    "uniform": {"dequantization": "uniform", "growth": 0, "attention": None},
    "labels": {"context_shape": ()},
}


def made(name):
    keras.utils.set_random_seed(0)
    arguments = dict(ARGUMENTS[name])
    if name == "labels":
        arguments["context_embedding"] = keras.layers.Embedding(3, 4)
    flow = dense_flow(**arguments)("float32")
    move_weights(flow, spread=0.1)
    flow.log_prob(examples(20)[0], labels(flow, 20), seed=0, training=True)  # moving averages
    return flow


def examples(n):
    rng = np.random.default_rng(1)
    x = rng.integers(8, size=(n, 4, 4, 1)).astype("float32")
    return x, rng


def labels(flow, n):
    return None if flow.context_shape is None else (np.arange(n) % 3).astype("int32")


def given(**inputs):
    return {name: value for name, value in inputs.items() if value is not None}


def check(flow, run):
    (size,) = flow.noise_shape("encode")
    fixed = np.random.default_rng(0).standard_normal(size).astype("float32")
    for n in (1, 5):
        x, rng = examples(n)
        context = labels(flow, n)
        expected = flow.log_prob(x, context, noise=InputNoise(np.tile(fixed, (n, 1))))
        made = run("log_prob_fixed", given(x=x, context=context))
        np.testing.assert_allclose(made["log_prob"], expected, rtol=1e-4)
        noise = rng.standard_normal((n, *flow.noise_shape("encode"))).astype("float32")
        fed = given(x=x, context=context, noise=noise)
        expected = flow.log_prob(x, context, noise=InputNoise(noise))
        np.testing.assert_allclose(run("log_prob", fed)["log_prob"], expected, rtol=1e-4)
        z = flow.encode(x, context, noise=InputNoise(noise)).numpy()
        np.testing.assert_allclose(run("encode", fed)["z"], z, rtol=1e-3, atol=1e-3)
        noise = rng.standard_normal((n, *flow.noise_shape("decode"))).astype("float32")
        decoded = run("decode", given(z=z, context=context, noise=noise))["x"]
        # A level may differ where rounding moves a number over the edge.
        differs = np.not_equal(decoded, flow.decode(z, context, noise=InputNoise(noise)))
        assert differs.mean() <= 0.02


@pytest.mark.parametrize("name", ARGUMENTS)
def test_onnx(name, tmp_path):
    flow = made(name)
    report = kf.export.to_onnx(flow, tmp_path / "deployed")
    assert report.rows and all(row.passed for row in report.rows)
    assert kf.export.verify(tmp_path / "deployed").rows
    manifest = json.loads((tmp_path / "deployed/manifest.json").read_text(encoding="utf-8"))
    assert manifest["likelihood"] == "lower_bound" and manifest["integers"]
    assert manifest["noise_seed"] == 0 and "biased" not in manifest["note"]
    inputs = {tensor["name"]: tensor["shape"] for tensor in manifest["graphs"]["decode"]["inputs"]}
    assert inputs["noise"] == ["batch", *flow.noise_shape("decode")]

    def run(name, fed):
        session = onnxruntime.InferenceSession(tmp_path / f"deployed/{name}.onnx")
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(None, fed), strict=True))

    check(flow, run)


@pytest.mark.parametrize("name", ["published", "labels"])
def test_saved_model(name, tmp_path):
    flow = made(name)
    report = kf.export.to_saved_model(flow, tmp_path / "1")
    assert report.rows and all(row.passed for row in report.rows)
    assert kf.export.verify(tmp_path / "1").rows
    module = tf.saved_model.load(str(tmp_path / "1"))

    def run(name, fed):
        return module.signatures[name](**{key: tf.constant(value) for key, value in fed.items()})

    check(flow, run)
    fed = given(context=labels(flow, 9))
    drawn = module.signatures["sample"](
        count=tf.constant(9),
        seed=tf.constant([1, 2]),
        **{k: tf.constant(v) for k, v in fed.items()},
    )["x"]
    assert drawn.shape == (9, 4, 4, 1)
    assert set(np.unique(drawn)) <= set(range(8))
