import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

import keras_flows as kf
from keras_flows.errors import ExportError
from keras_flows.export import endpoints
from keras_flows.noise import InputNoise

FLOWS = ("exact", "conditional", "integers")

# Runs where only TensorFlow is imported.
ALONE = """
import sys, numpy as np, tensorflow as tf
for folder in sys.argv[1:]:
    module = tf.saved_model.load(folder)
    arrays = dict(np.load(f"{folder}.npz"))
    for n in (1, 7, 40):
        rest = {k: tf.constant(arrays[k][:n]) for k in ("context",) if k in arrays}
        noise = {k: tf.constant(arrays[k][:n]) for k in ("noise",) if k in arrays}
        fed = {"x": tf.constant(arrays["x"][:n]), **rest, **noise}
        made = {
            **module.signatures["log_prob"](**fed),
            **module.signatures["encode"](**fed),
            **module.signatures["decode"](z=tf.constant(arrays["z"][:n]), **rest),
        }
        assert sorted(made) == ["log_det", "log_prob", "x", "z"], made
        fixed = module.signatures.get("log_prob_fixed")
        assert (fixed is None) == (not noise)
        if noise:
            numbers = np.tile(arrays["fixed_noise"], (n, 1)).astype("float32")
            expected = module.signatures["log_prob"](**{**fed, "noise": tf.constant(numbers)})
            got = fixed(x=fed["x"], **rest)["log_prob"]
            np.testing.assert_allclose(got, expected["log_prob"], 2e-5, 2e-5)
            np.testing.assert_array_equal(got, module.log_prob_fixed(fed["x"])["log_prob"])
        for key, value in made.items():
            np.testing.assert_allclose(value, arrays[f"made_{key}"][:n], 2e-5, 2e-5)
    served = module.signatures["serving_default"](x=fed["x"], **rest)
    assert list(served) == ["log_prob"]
    expected = fixed(x=fed["x"], **rest) if noise else made
    np.testing.assert_array_equal(served["log_prob"], expected["log_prob"])
    draw = {"count": tf.constant(40), "seed": tf.constant([3, 4])}
    first, again = (module.signatures["sample"](**draw, **rest)["x"] for _ in range(2))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_allclose(first, arrays["sampled"], 2e-5, 2e-5)
    other = module.signatures["sample"](count=draw["count"], seed=tf.constant([3, 5]), **rest)["x"]
    assert np.mean(np.asarray(first) != np.asarray(other)) > 0.5
    with tf.GradientTape() as tape:
        tape.watch(fed["x"])
        log_prob = module.log_prob(*fed.values())["log_prob"]
    assert np.isfinite(tape.gradient(log_prob, fed["x"])).all()
assert not [module for module in sys.modules if module.startswith("keras_flows")]
"""


@pytest.mark.slow
def test_loads_where_only_tensorflow_is(exported, fresh):
    (inputs, given), folders = fresh, []
    for name in FLOWS:
        flow, folder, report = exported(kf.export.to_saved_model, name)
        folders.append(folder)
        assert report.rows and all(row.passed for row in report.rows)
        x, z, context, noise = inputs(flow, 40, seed=5)
        sources = [None if noise is None else InputNoise(noise) for _ in range(2)]
        log_prob = flow.log_prob(x, context, sources[0])
        encoded = flow.encode(x, context, sources[1])
        np.savez(
            f"{folder}.npz",
            **given(x=x, z=z, context=context, noise=noise),
            fixed_noise=np.random.default_rng(0).standard_normal((1, *flow.noise_shape("encode"))),
            made_log_prob=log_prob,
            made_z=encoded,
            made_log_det=log_prob - flow.base.log_prob(encoded),
            made_x=flow.decode(z, context),
            sampled=flow.sample(40, seed=(3, 4), context=context),
        )
    done = subprocess.run([sys.executable, "-c", ALONE, *folders], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_signatures_are_those_of_serving(exported):
    flow, folder, _ = exported(kf.export.to_saved_model, "conditional")
    module = tf.saved_model.load(str(folder))
    signatures = module.signatures
    assert sorted(signatures) == ["decode", "encode", "log_prob", "sample", "serving_default"]

    def shapes(name):
        specs = signatures[name].structured_input_signature[1]
        return {key: (spec.shape.as_list(), spec.dtype.name) for key, spec in specs.items()}

    context = ([None, 3], "float32")
    assert shapes("serving_default") == {"x": ([None, 2], "float32"), "context": context}
    assert shapes("decode") == {"z": ([None, 2], "float32"), "context": context}
    assert shapes("sample") == {
        "count": ([], "int32"), "seed": ([2], "int32"), "context": context,
    }  # fmt: skip

    # One context may serve for all samples.
    one = tf.constant([[0.5, -1.0, 2.0]])
    got = signatures["sample"](count=tf.constant(9), seed=tf.constant([1, 2]), context=one)["x"]
    np.testing.assert_allclose(got, flow.sample(9, seed=(1, 2), context=one[0]), 2e-5, 2e-5)

    manifest = json.loads((folder / "assets.extra/manifest.json").read_text(encoding="utf-8"))
    assert sorted(manifest["graphs"]) == ["decode", "encode", "log_prob", "sample"]
    assert manifest["likelihood"] == "exact"
    assert manifest["noise_seed"] is None and manifest["note"] is None
    files = [path for path in folder.rglob("*") if "assets.extra" not in path.parts]
    size = sum(path.stat().st_size for path in files if path.is_file())
    costs = {name: graph["cost"] for name, graph in manifest["graphs"].items()}
    assert {cost["bytes"] for cost in costs.values()} == {size}
    assert all(cost["latency_ms"] > 0.0 and cost["load_ms"] > 0.0 for cost in costs.values())
    # The inverse is a loop inside a function; its nodes count.
    assert costs["decode"]["nodes"] > len(module.signatures["decode"].graph.as_graph_def().node)


@pytest.mark.slow
def test_float64(tmp_path, capfd):
    flow = kf.models.ResidualFlow((9,), blocks=1, widths=(8,), dtype="float64")
    capfd.readouterr()
    kf.export.to_saved_model(flow, tmp_path)
    assert capfd.readouterr().out == ""
    x = np.random.default_rng(0).standard_normal((5, 9))
    module = tf.saved_model.load(str(tmp_path))
    np.testing.assert_allclose(module.log_prob(tf.constant(x))["log_prob"], flow.log_prob(x), 1e-12)


def test_a_random_number_of_terms_is_recorded_as_biased(build):
    flow = build("unbiased")
    assert endpoints.likelihood(flow) == "biased"
    assert endpoints.likelihood(build("exact")) == "exact"
    assert endpoints.likelihood(build("integers")) == "lower_bound"


def test_the_default_signature_needs_the_data_alone(build, tmp_path):
    for kind, needed in (("chain", {"x"}), ("integers", {"x"})):
        folder = tmp_path / kind
        kf.export.to_saved_model(build(kind), folder)
        default = tf.saved_model.load(str(folder)).signatures["serving_default"]
        assert set(default.structured_input_signature[1]) == needed


def test_a_flow_that_changes_meanwhile_is_an_error_and_leaves_nothing(build, tmp_path, monkeypatch):
    from keras_flows.export import saved_model

    flow, write = build("chain"), saved_model.SavedModel.write

    def write_another(*args):
        flow.trainable_weights[0].assign_add([0.01, 0.0, 0.0])
        write(*args)

    monkeypatch.setattr(saved_model.SavedModel, "write", write_another)
    with pytest.raises(ExportError, match=r"disagrees.*encode on samples: z: 0\.\d+"):
        kf.export.to_saved_model(flow, tmp_path / "served")
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_left_as_it_is(build, tmp_path):
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(ExportError, match="not an empty folder"):
        kf.export.to_saved_model(build("chain"), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
