"""The two runtimes: what they give is what the flow gives, each row by its own numbers."""

import shutil

import keras
import numpy as np
import pandas as pd
import pytest

import keras_flows as kf
from keras_flows import stream
from keras_flows.data.columns import Category, Column, Interval
from keras_flows.stream import scoring
from keras_flows.stream.keras_scorer import KerasScorer
from keras_flows.stream.row_noise import by_row
from keras_flows.transforms import Affine, Chain, Logit, UniformDequantization

SCHEMA = kf.data.Schema(
    (Column("size", Interval(-9.0, 9.0)), Column("site", Category(("n", "s")), True))
)


def table(n, seed=0):
    rng = np.random.default_rng(seed)
    return pd.DataFrame({"site": rng.choice(["n", "s"], n), "size": rng.normal(1.0, 2.0, n)})


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Presets and exports: of integers, whose log_prob is random; of a table, calibrated."""
    root = tmp_path_factory.mktemp("flows")
    keras.utils.set_random_seed(0)
    steps = Chain([UniformDequantization(2), Logit(), Affine([0.3, -0.1], [0.7, 1.4])])
    integers = kf.Flow(steps, (2,))
    on_table = kf.models.SplineFlow((1,), context_shape=(2,), layers=1, width=4, blocks=1)
    on_table.schema = SCHEMA
    held_out = SCHEMA.arrange(table(199, 1))
    on_table.calibration = kf.detect.calibrate(
        on_table, held_out.x, "held out", context=held_out.context
    )
    for name, flow in (("integers", integers), ("table", on_table)):
        flow.save_to_preset(root / name)
        kf.export.to_onnx(flow, root / f"{name}.onnx")
    return root


@pytest.fixture
def integers(tmp_path):
    x = np.random.default_rng(0).integers(0, 4, (50, 2)).astype("float32")
    np.save(tmp_path / "x.npy", x)
    return tmp_path / "x.npy"


def scored(scorer, path, batch=None, **options):
    takes = scorer.takes
    if batch is not None:
        kind = type("Small", (stream.Takes,), {"batch": batch})
        scorer.takes = kind(*takes)
    return scoring.in_memory(scorer, stream.open_input(path, scorer.takes, **options))


@pytest.mark.parametrize("runtime", ["keras", "onnx"])
@pytest.mark.parametrize("task", ["score", "encode"])
def test_random_numbers_belong_to_the_row(folders, integers, runtime, task):
    def make(seed=5):
        if runtime == "keras":
            return KerasScorer(folders / "integers", task, seed)
        return stream.OnnxScorer(folders / "integers.onnx", task, seed)

    whole = scored(make(), integers)
    for batch in (1, 7, 50):
        again = scored(make(), integers, batch)
        for name, values in whole.items():
            np.testing.assert_allclose(again[name], values, rtol=1e-5, atol=1e-6)
    # The same rows, but a place later, have other numbers.
    x = np.load(integers)
    np.save(integers, np.concatenate([x[:1], x]))
    moved = scored(make(), integers)
    name = next(iter(whole))
    assert (np.abs(moved[name][1:] - whole[name]) > 1e-4).mean() > 0.9
    np.testing.assert_allclose(moved[name][0], whole[name][0], rtol=1e-5)
    assert (np.abs(scored(make(6), integers)[name] - moved[name]) > 1e-4).mean() > 0.9


def test_both_runtimes_give_the_numbers_of_the_flow(folders, integers):
    flow = kf.zoo.load(folders / "integers")
    x = np.load(integers)
    noise = kf.noise.InputNoise(by_row(5, 0, 50, 2))
    ours = scored(KerasScorer(folders / "integers", "score", 5), integers)["log_prob"]
    theirs = scored(stream.OnnxScorer(folders / "integers.onnx", "score", 5), integers)["log_prob"]
    np.testing.assert_allclose(ours, flow.log_prob(x, noise=noise), rtol=1e-5)
    np.testing.assert_allclose(theirs, ours, rtol=1e-4, atol=1e-5)
    noise = kf.noise.InputNoise(by_row(5, 0, 50, 2))
    z = flow.encode(x, noise=noise).numpy()
    made = scored(stream.OnnxScorer(folders / "integers.onnx", "encode", 5), integers)
    np.testing.assert_allclose(np.stack([made["z_0"], made["z_1"]], axis=1), z, atol=1e-4)


@pytest.mark.slow
def test_a_flow_that_draws_how_many_terms(tmp_path):
    """The number of terms is one for all rows, from the seed; the probes are the rows' own."""
    flow = kf.models.IDenseNet((2,), blocks=1, depth=1, growth=4, log_det="unbiased")
    flow.save_to_preset(tmp_path / "flow")
    x = np.random.default_rng(0).normal(size=(30, 2)).astype("float32")
    np.save(tmp_path / "x.npy", x)
    whole = scored(KerasScorer(tmp_path / "flow", "score", 1), tmp_path / "x.npy")["log_prob"]
    again = scored(KerasScorer(tmp_path / "flow", "score", 1), tmp_path / "x.npy", 4)["log_prob"]
    np.testing.assert_allclose(again, whole, rtol=1e-5, atol=1e-6)
    assert np.isfinite(whole).all()


def test_decisions_of_both_runtimes(folders, tmp_path):
    rows = table(60)
    rows.loc[3, "size"] = 9.5
    rows.to_csv(tmp_path / "t.csv", index=False)
    expected = kf.detect.decide(kf.zoo.load(folders / "table"), tmp_path / "t.csv", 0.05)
    for make in (
        lambda: KerasScorer(folders / "table", "detect", alpha=0.05),
        lambda: stream.OnnxScorer(folders / "table.onnx", "detect", alpha=0.05),
    ):
        for batch in (None, 4):
            made = scored(make(), tmp_path / "t.csv", batch)
            assert list(made) == ["score", "p_value", "flag"]
            np.testing.assert_allclose(made["score"], expected.score, rtol=1e-4, atol=1e-5)
            assert np.abs(made["p_value"] - expected.p_value).max() <= 1.001 / 200
            np.testing.assert_array_equal(made["flag"], made["p_value"] <= 0.05)
            assert (made["score"][3], made["p_value"][3], made["flag"][3]) == (np.inf, 1 / 200, 1)
    with pytest.raises(ValueError, match=r"alpha = 0.001 is out of reach: with 199 held-out rows"):
        stream.OnnxScorer(folders / "table.onnx", "detect", alpha=0.001)
    with pytest.raises(kf.ExportError, match="has no graph 'score', which detect needs"):
        stream.OnnxScorer(folders / "integers.onnx", "detect")


@pytest.mark.parametrize("runtime", ["keras", "onnx"])
def test_rows_out_of_range(folders, tmp_path, runtime):
    rows = table(9)
    rows.loc[4:7, "size"] = 20.0  # a whole batch, and one of the next
    rows.to_csv(tmp_path / "t.csv", index=False)

    def make(task):
        if runtime == "keras":
            return KerasScorer(folders / "table", task)
        return stream.OnnxScorer(folders / "table.onnx", task)

    scores = scored(make("score"), tmp_path / "t.csv", 3)["log_prob"]
    np.testing.assert_array_equal(np.isneginf(scores), [False] * 4 + [True] * 4 + [False])
    with pytest.raises(ValueError, match=r"Row 4 \(counted from 0\) is out of range, and has no"):
        scored(make("encode"), tmp_path / "t.csv", 3)


def test_what_an_export_refuses(folders, tmp_path):
    with pytest.raises(ValueError, match="task must be one of score, detect, encode; got 'sample'"):
        stream.OnnxScorer(folders / "integers.onnx", "sample")
    with pytest.raises(kf.ExportError, match="is no export"):
        stream.OnnxScorer(folders / "integers", "score")
    np.save(tmp_path / "x.npy", np.array([[0.0, 1.0], [0.5, 1.0]]))
    with pytest.raises(
        ValueError, match=r"Row 1 \(counted from 0\) must hold integers from 0 to 3"
    ):
        scored(stream.OnnxScorer(folders / "integers.onnx", "score"), tmp_path / "x.npy")
    changed = shutil.copytree(folders / "integers.onnx", tmp_path / "changed")
    scorer = stream.OnnxScorer(changed, "score")
    content = (changed / "log_prob.onnx").read_bytes()
    (changed / "log_prob.onnx").write_bytes(content[:-1] + b"?")
    with pytest.raises(kf.ExportError, match=r"is not as it was exported: log_prob.onnx has SHA"):
        scorer.load()
    # Another export in its place: the checksum of the run says so.
    right = stream.OnnxScorer(folders / "integers.onnx", "score").scored_by.sha256
    stream.OnnxScorer(folders / "integers.onnx", "score", sha256=right)
    with pytest.raises(kf.ExportError, match="was replaced: it is"):
        stream.OnnxScorer(folders / "table.onnx", "score", sha256=right)


def test_a_preset_that_is_replaced(folders, tmp_path, integers):
    """A run goes on with the flow that it loaded; a resume is refused."""
    preset = shutil.copytree(folders / "integers", tmp_path / "preset")
    scorer = KerasScorer(preset, "score")
    before = scoring.in_memory(scorer, stream.open_input(integers, scorer.takes))["log_prob"]
    kf.Flow(Chain([UniformDequantization(2), Logit()]), (2,)).save_to_preset(preset)
    data = stream.open_input(integers, scorer.takes)
    manifest = stream.run(scorer, data, tmp_path / "out")
    np.testing.assert_array_equal(pd.read_parquet(tmp_path / "out")["log_prob"], before)
    assert manifest.scored_by.sha256 == scorer.scored_by.sha256
    with pytest.raises(kf.StreamError, match="is by another flow"):
        stream.run(KerasScorer(preset, "score"), data, tmp_path / "out", resume=True)


def test_nan_is_an_error_that_names_the_row(folders, tmp_path, monkeypatch):
    scorer = stream.OnnxScorer(folders / "table.onnx", "score")
    scorer.load()

    class Session:
        def run(self, names, fed):
            return [np.where(np.arange(len(fed["x"])) == 2, np.nan, 0.0)]

    monkeypatch.setattr(scorer, "_session", Session())
    with pytest.raises(kf.NonFiniteError, match=r"log_prob of row 2 \(counted from 0\) is NaN"):
        table(5).to_csv(tmp_path / "t.csv", index=False)
        scored(scorer, tmp_path / "t.csv")
