"""The score graph: log_prob, p-value and flag of a calibrated flow, as Python gives them."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_flows as kf
from keras_flows.data.columns import Category, Column, Real
from keras_flows.detect import calibrate, decide
from keras_flows.export import manifest, score
from keras_flows.transforms import ActNorm, Affine, Chain, UniformDequantization


def plane(**arguments):
    keras.utils.set_random_seed(0)
    flow = kf.Flow(Chain([Affine([1.0, 2.0], [2.0, 1.0]), ActNorm()]), (2,), **arguments)
    flow.transform.steps[1].initialized.assign(1)
    return flow


def rows(n, seed):
    return np.random.default_rng(seed).normal([1.0, 2.0], [2.0, 1.0], (n, 2)).astype("float32")


def integers(n, seed):
    return np.random.default_rng(seed).integers(0, 16, (n, 2)).astype("float32")


def pixels():
    # Random in encoding: the noise of the dequantization is that of the calibration.
    return kf.Flow(Chain([UniformDequantization(4), Affine(8.0, 4.0)]), (2,))


CASES = {
    "log_prob": (plane, rows, {}),
    "typicality": (plane, rows, {"statistic": "typicality"}),
    "dequantized": (pixels, integers, {"draws": 3, "seed": 5}),
}


@pytest.fixture(params=CASES)
def case(request):
    make, data, arguments = CASES[request.param]
    flow = make()
    held_out = data(257, 1)
    flow.calibration = calibrate(flow, held_out, "held out", **arguments)
    new = np.concatenate([data(500, 2), held_out, data(1, 3).clip(15, 15)])
    return flow, new


def test_the_graph_gives_the_p_values_of_python(case):
    flow, new = case
    expected = decide(flow, new, alpha=0.05)
    for size in (1, len(new)):
        made = score.score(flow, tf.constant(new[:size]), None, 0.05)
        np.testing.assert_array_equal(made["p_value"], expected.p_value[:size])
        np.testing.assert_array_equal(made["flag"], expected.flag[:size])
        assert made["p_value"].dtype == tf.float64 and made["flag"].dtype == tf.bool
    assert 0 < expected.flag.sum() < len(new)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 7, 8, 63, 64, 100])
def test_p_values_by_halving(n):
    rng = np.random.default_rng(n)
    held_out = np.float32([*rng.integers(-5, 5, n - 1), np.inf][:n])
    c = kf.detect.Calibration(held_out, "log_prob", "exact", "held out", "0" * 64)
    scores = np.float32([*np.arange(-6.0, 6.0, 0.25), np.inf, -np.inf, 3e38])
    np.testing.assert_array_equal(score._p_values(c, tf.constant(scores)), c.p_values(scores))
    assert np.isnan(score._p_values(c, tf.constant([np.nan], tf.float32))).all()


def test_nan_is_flagged():
    flow = plane()
    flow.calibration = calibrate(flow, rows(50, 1), "held out")
    made = score.score(flow, tf.constant([[np.nan, 1.0], [1.0, 2.0]]), None, 0.1)
    np.testing.assert_array_equal(made["flag"], [True, False])
    assert np.isnan(made["p_value"][0])


def test_the_level_of_the_flags():
    flow = plane()
    assert score.alpha_of(flow, None) is None
    with pytest.raises(ValueError, match=r"has no calibration\. Leave alpha out"):
        score.alpha_of(flow, 0.1)
    flow.calibration = calibrate(flow, rows(20, 1), "held out")
    assert score.alpha_of(flow, None) == pytest.approx(1 / 21)
    with pytest.raises(ValueError, match="at least 99 rows"):
        score.alpha_of(flow, 0.01)
    flow.calibration = calibrate(flow, rows(200, 1), "held out")
    assert score.alpha_of(flow, None) == 0.01


SCHEMA = kf.data.Schema((Column("age", Real()), Column("dose", Real())))


def test_onnx_gives_the_p_values_of_python(case, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    flow, new = case
    flow.schema = SCHEMA
    report = kf.export.to_onnx(flow, tmp_path / "deployed", alpha=0.05)
    assert {row.check for row in report.rows} >= {
        f"score on samples: {name}" for name in ("log_prob", "p_value", "flag")
    }
    session = onnxruntime.InferenceSession(str(tmp_path / "deployed" / "score.onnx"))
    assert [i.name for i in session.get_inputs()] == ["x"]
    log_prob, p_value, flag = session.run(["log_prob", "p_value", "flag"], {"x": new})
    expected = decide(_without_schema(flow), new, alpha=0.05)
    np.testing.assert_array_equal(p_value, expected.p_value)
    np.testing.assert_array_equal(flag, expected.flag)
    if flow.calibration.statistic == "log_prob":
        np.testing.assert_allclose(log_prob, -expected.score, rtol=1e-5)
    described = manifest.read(tmp_path / "deployed")
    assert (described.alpha, described.calibration.scores) == (0.05, len(flow.calibration))
    assert json.loads(SCHEMA.to_json())["columns"] == described.columns
    assert kf.export.verify(tmp_path / "deployed").rows


def _without_schema(flow):
    flow.schema = None
    return flow


@pytest.mark.slow
def test_a_conditional_flow(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    flow = kf.models.ResidualFlow((2,), blocks=1, widths=(4,), context_shape=(2,))
    flow.schema = kf.data.Schema((*SCHEMA.columns, Column("sex", Category(("f", "m")), True)))
    context = np.eye(2, dtype="float32")[np.arange(60) % 2]
    flow.calibration = calibrate(flow, rows(60, 1), "held out", context=context)
    kf.export.to_onnx(flow, tmp_path / "deployed", alpha=0.1)
    session = onnxruntime.InferenceSession(str(tmp_path / "deployed" / "score.onnx"))
    assert [i.name for i in session.get_inputs()] == ["x", "context"]
    x = rows(60, 2)
    (p_value,) = session.run(["p_value"], {"x": x, "context": context})
    expected = flow.calibration.p_values(kf.detect.scores(flow, x, flow.calibration, context))
    np.testing.assert_array_equal(p_value, expected)


def test_a_saved_model_has_the_signature(tmp_path):
    flow = plane()
    flow.calibration = calibrate(flow, rows(99, 1), "held out")
    kf.export.to_saved_model(flow, tmp_path / "1")
    loaded = tf.saved_model.load(str(tmp_path / "1"))
    x = np.concatenate([rows(50, 2), np.full((1, 2), np.nan, "float32")])
    made = loaded.signatures["score"](x=tf.constant(x))
    assert np.isnan(made["p_value"][-1]) and made["flag"][-1]
    made = {key: value[:-1] for key, value in made.items()}
    expected = decide(flow, rows(50, 2), alpha=0.01)
    np.testing.assert_array_equal(made["p_value"], expected.p_value)
    np.testing.assert_array_equal(made["flag"], expected.flag)


def test_a_flow_without_calibration_has_no_such_graph(tmp_path):
    assert not score.exists(plane())
    with pytest.raises(ValueError, match="no calibration"):
        kf.export.to_saved_model(plane(), tmp_path / "1", alpha=0.1)
    assert not (tmp_path / "1").exists()


@pytest.mark.parametrize("statistic", ["log_prob", "typicality"])
def test_a_p_value_may_be_off_by_the_ranks_within_the_tolerance_of_log_prob(statistic, tmp_path):
    flow = plane()
    flow.calibration = calibrate(flow, rows(20_000, 1), "many", statistic=statistic)
    report = kf.export.to_saved_model(flow, tmp_path / "export")
    verified = kf.export.verify(tmp_path / "export")
    with np.load(tmp_path / "export" / "assets.extra" / "sample.npz") as recorded:
        log_prob, p_value = (recorded[f"score/samples/{key}"] for key in ("log_prob", "p_value"))
    # Counted here: the p-values of the log_prob that is off by 1e-4 of it or of the two dimensions.
    held_out, n = np.asarray(flow.calibration.scores, "float64"), len(flow.calibration)
    off = 1e-4 * np.maximum(2.0, np.abs(log_prob.astype("float64")))
    mean = flow.calibration.constants.get("mean_log_prob", 0.0)
    ranks = 0
    for moved in (log_prob - off, log_prob + off):
        made = -moved if statistic == "log_prob" else np.abs(moved - mean)
        p = (1 + (held_out >= made[:, None]).sum(axis=1)) / (n + 1)
        ranks = max(ranks, np.abs(p - p_value).max() * (n + 1))
    assert ranks > 2
    for found in (report, verified):
        (row,) = [row for row in found.rows if row.check == "score on samples: p_value"]
        assert row.tolerance * (n + 1) == pytest.approx(ranks, abs=1.1)


def test_a_p_value_may_be_off_by_one_rank(tmp_path):
    flow = plane()
    flow.calibration = calibrate(flow, rows(300, 1), "few")
    report = kf.export.to_saved_model(flow, tmp_path / "export")
    (row,) = [row for row in report.rows if row.check == "score on samples: p_value"]
    assert 1 < row.tolerance * 301 < 2.1
