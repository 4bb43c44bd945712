import json
import sys

import numpy as np
import onnx
import onnxruntime
import pytest

import keras_flows as kf
from keras_flows.errors import ConvergenceError, ExportError, LipschitzError
from keras_flows.export import endpoints
from keras_flows.export import onnx as onnx_export
from keras_flows.layers import VouchedActivation
from keras_flows.noise import InputNoise
from keras_flows.numerics.log_det import PowerSeries


def run(folder, name, inputs):
    """A file in onnxruntime, without any code of this package."""
    session = onnxruntime.InferenceSession(folder / f"{name}.onnx")
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, inputs), strict=True))


def close(got, expected, tolerance=2e-5):
    np.testing.assert_allclose(got, expected, tolerance, tolerance)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("exact", marks=pytest.mark.slow),
        pytest.param("wide", marks=pytest.mark.slow),
        pytest.param("conditional", marks=pytest.mark.slow),
        pytest.param("labels", marks=pytest.mark.slow),
        pytest.param("series", marks=pytest.mark.slow),
        "integers",
        "chain",
    ],
)
def test_the_files_give_the_numbers_of_the_flow(exported, fresh, name):
    flow, folder, report = exported(kf.export.to_onnx, name)
    inputs, given = fresh
    assert report.rows and all(row.passed for row in report.rows)
    random = flow.noise_shape("encode") != (0,)
    assert sorted(path.name for path in folder.iterdir()) == [
        "decode.onnx", "encode.onnx", "log_prob.onnx", *["log_prob_fixed.onnx"] * random,
        "manifest.json", "sample.npz",
    ]  # fmt: skip
    for n in (1, 2, 50):
        x, z, context, noise = inputs(flow, n, seed=n)
        sources = [None if noise is None else InputNoise(noise) for _ in range(2)]
        log_prob = flow.log_prob(x, context, sources[0])
        encoded = flow.encode(x, context, sources[1])
        fed = given(x=x, context=context, noise=noise)
        made = run(folder, "log_prob", fed)
        assert list(made) == ["log_prob"]
        close(made["log_prob"], log_prob)
        made = run(folder, "encode", fed)
        close(made["z"], encoded)
        close(made["log_det"], log_prob - flow.base.log_prob(encoded))
        made = run(folder, "decode", given(z=z, context=context))
        close(made["x"], flow.decode(z, context))
        if random:
            numbers = np.random.default_rng(0).standard_normal(flow.noise_shape("encode"))
            noise = np.tile(numbers.astype("float32"), (n, 1))
            made = run(folder, "log_prob_fixed", given(x=x, context=context))
            assert list(made) == ["log_prob"]
            close(made["log_prob"], flow.log_prob(x, context, InputNoise(noise)))


@pytest.mark.slow
def test_fixed_noise_is_that_of_the_recorded_seed(build, fresh, tmp_path):
    flow, (inputs, _) = build("series"), fresh
    kf.export.to_onnx(flow, tmp_path, seed=7)
    manifest = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["noise_seed"] == 7 and "the same for every example" in manifest["note"]
    x = inputs(flow, 9, seed=1)[0]
    noise = np.random.default_rng(7).standard_normal((1, 36)).astype("float32")
    fixed = run(tmp_path, "log_prob_fixed", {"x": x})["log_prob"]
    with_input = run(tmp_path, "log_prob", {"x": x, "noise": np.repeat(noise, 9, axis=0)})
    close(fixed, with_input["log_prob"], 1e-6)
    # An example's number does not depend on its place, or on the others.
    alone = run(tmp_path, "log_prob_fixed", {"x": x[4:5]})["log_prob"]
    close(alone, fixed[4:5], 1e-6)
    other = np.random.default_rng(8).standard_normal((1, 36)).astype("float32")
    other = run(tmp_path, "log_prob", {"x": x, "noise": np.repeat(other, 9, axis=0)})["log_prob"]
    assert (np.abs(other - fixed) > 1e-3).all()


def test_the_mean_over_fixed_noises_is_unbiased(build):
    flow = build("series")
    x = np.tile(flow.sample(3, seed=0), (400, 1))
    noise = np.repeat([endpoints.fixed_noise(flow, seed)[0] for seed in range(400)], 3, axis=0)
    fixed = flow.log_prob(x, noise=InputNoise(noise)).numpy().reshape(400, 3)
    fresh = flow.log_prob(x, seed=0).numpy().reshape(400, 3)
    error = np.hypot(fixed.std(axis=0), fresh.std(axis=0)) / 20.0
    assert (np.abs(fixed.mean(axis=0) - fresh.mean(axis=0)) < 4.0 * error).all()


@pytest.mark.slow
def test_the_manifest_says_what_a_graph_takes(exported):
    _, folder, _ = exported(kf.export.to_onnx, "series")
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    for name, graph in manifest["graphs"].items():
        cost, path = graph["cost"], folder / f"{name}.onnx"
        assert set(cost) == {"bytes", "nodes", "load_ms", "latency_ms"}
        assert cost["bytes"] == path.stat().st_size
        model = onnx.load(path).graph
        loops = [node for node in model.node if node.op_type == "Loop"]
        inside = sum(len(a.g.node) for node in loops for a in node.attribute)
        assert cost["nodes"] == len(model.node) + inside > len(model.node) > 0
        assert 0.0 < cost["latency_ms"] < 1e4 and 0.0 < cost["load_ms"] < 1e5


@pytest.mark.parametrize("seed", [-1, 0.5, True, "0"])
def test_a_seed_that_is_none(build, tmp_path, seed):
    for to in (kf.export.to_onnx, kf.export.to_saved_model):
        with pytest.raises(ValueError, match=f"seed must be an integer, 0 or more; got {seed!r}"):
            to(build("series"), tmp_path / "exported", seed=seed)
        assert nothing_but(tmp_path)


@pytest.mark.slow
def test_the_manifest_says_what_is_in_the_folder(build, tmp_path):
    flow = build("series")
    kf.export.to_onnx(flow, tmp_path, opset=15)
    manifest = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["source"] == flow.name
    assert manifest["likelihood"] == flow.likelihood == "biased"
    assert manifest["opset"] == 15
    assert manifest["inverse"] == {"tolerance": 1e-6, "max_iterations": 1000}
    encode = manifest["graphs"]["encode"]
    encode.pop("cost")
    assert encode == {
        "name": "encode.onnx",
        "inputs": [
            {"name": "x", "shape": ["batch", 9], "dtype": "float32", "units": None},
            {"name": "noise", "shape": ["batch", 36], "dtype": "float32", "units": None},
        ],
        "outputs": [
            {"name": "z", "shape": ["batch", 9], "dtype": "float32", "units": None},
            {"name": "log_det", "shape": ["batch"], "dtype": "float32", "units": "nats"},
        ],
    }
    assert {"tensorflow", "keras", "keras_flows", "tf2onnx", "onnx", "onnxruntime"} <= set(
        manifest["versions"]
    )
    assert {row["check"] for row in manifest["parity"]} >= {
        "log_prob on samples: log_prob", "log_prob on extreme: log_prob",
        "encode on samples: z", "encode on extreme: log_det",
        "decode on samples: x", "decode on extreme: x", "decode after encode: x",
    }  # fmt: skip
    session = onnxruntime.InferenceSession(tmp_path / "encode.onnx")
    for tensor in (*session.get_inputs(), *session.get_outputs()):
        assert tensor.shape[0] == "batch"


@pytest.mark.slow
def test_a_random_number_of_terms_becomes_a_fixed_one(build, fresh, tmp_path):
    flow, (inputs, _) = build("unbiased"), fresh
    kf.export.to_onnx(flow, tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))
    assert (flow.likelihood, manifest["likelihood"]) == ("unbiased", "biased")
    assert "fewest" in manifest["note"]
    # The geometric draw is at least one term beyond the 20 that are always summed.
    fixed = kf.models.ResidualFlow.from_config({**flow.get_config(), "log_det": PowerSeries(21)})
    fixed.set_weights(flow.get_weights())
    x, _, _, noise = inputs(flow, 20, seed=1)
    got = run(tmp_path, "log_prob", {"x": x, "noise": noise})["log_prob"]
    close(got, fixed.log_prob(x, noise=InputNoise(noise)))


def nothing_but(folder, *names):
    return sorted(path.name for path in folder.iterdir()) == sorted(names)


def test_a_graph_that_disagrees_is_an_error_and_leaves_nothing(build, tmp_path, monkeypatch):
    flow, convert = build("chain"), onnx_export._convert

    def convert_another(endpoint, name, opset):
        weight = flow.trainable_weights[0]
        kept = weight.numpy()
        weight.assign(kept + 0.01)
        model = convert(endpoint, name, opset)
        weight.assign(kept)
        return model

    monkeypatch.setattr(onnx_export, "_convert", convert_another)
    with pytest.raises(ExportError, match=r"disagrees.*log_prob on samples: log_prob: 0\.\d+"):
        kf.export.to_onnx(flow, tmp_path / "deployed")
    assert nothing_but(tmp_path)


def test_an_operation_without_onnx_form_is_an_error_that_names_it(tmp_path):
    activation = VouchedActivation("sigmoid")
    flow = kf.models.ResidualFlow((9,), blocks=1, widths=(8,), activation=activation)
    with pytest.raises(ExportError, match="SigmoidGrad"):
        kf.export.to_onnx(flow, tmp_path / "deployed")
    assert nothing_but(tmp_path)


def test_a_flow_that_cannot_decode_is_not_exported(build, tmp_path):
    flow = build("wide")
    flow.blocks[0].max_iterations = 1
    with pytest.raises(ConvergenceError):
        kf.export.to_onnx(flow, tmp_path / "deployed")
    assert nothing_but(tmp_path)


def test_a_flow_that_is_not_certified_is_not_exported(tmp_path):
    flow = kf.models.ResidualFlow((2,), blocks=1, widths=(8,))
    for layer in flow.blocks[0].net.layers:
        layer.dense.coeff = 2.0
        layer.dense.kernel.assign(10.0 * layer.dense.kernel)
    with pytest.raises(LipschitzError):
        kf.export.to_onnx(flow, tmp_path / "deployed")
    assert nothing_but(tmp_path)


@pytest.mark.slow
def test_an_inverse_that_does_not_converge_is_nan(build, fresh, tmp_path):
    flow, (inputs, _) = build("wide"), fresh
    _, z, _, _ = inputs(flow, 100, seed=3)
    last = flow.blocks[-1]
    steps = last.invert(z).iterations.numpy() - 8  # eight of them after it has converged
    last.max_iterations = cap = int(np.median(steps))
    endpoint = endpoints.Endpoints(flow)[endpoints.DECODE]
    onnx.save(onnx_export._convert(endpoint, "decode", 17), tmp_path / "decode.onnx")
    x = run(tmp_path, "decode", {"z": z})["x"]
    # Rounding may make a difference of a step.
    solved, unsolved = steps < cap, steps > cap + 1
    assert solved.any() and unsolved.any()
    close(x[solved], endpoint.function(z)["x"].numpy()[solved])
    assert np.isnan(x[unsolved]).all()


def test_what_is_there_is_left_as_it_is(build, tmp_path):
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(ExportError, match="not an empty folder"):
        kf.export.to_onnx(build("chain"), tmp_path)
    with pytest.raises(ExportError, match="not an empty folder"):
        kf.export.to_onnx(build("chain"), tmp_path / "mine.txt")
    assert nothing_but(tmp_path, "mine.txt")


@pytest.mark.parametrize("opset", [12, 19])
def test_an_opset_out_of_range(build, tmp_path, opset):
    with pytest.raises(ValueError, match=f"from 13 to 18; got {opset}"):
        kf.export.to_onnx(build("chain"), tmp_path, opset=opset)


def test_float64_is_refused(tmp_path):
    flow = kf.models.ResidualFlow((2,), blocks=1, widths=(8,), dtype="float64")
    with pytest.raises(ExportError, match="float64"):
        kf.export.to_onnx(flow, tmp_path)


@pytest.mark.parametrize("module", ["tf2onnx", "onnx", "onnxruntime"])
def test_a_missing_library_is_named(build, tmp_path, monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf"{module}.*keras-flows\[export\]"):
        kf.export.to_onnx(build("chain"), tmp_path / "deployed")
    assert nothing_but(tmp_path)
