"""The command line: every command on a tiny preset, its outputs and exit codes."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
import typer.testing

import keras_flows as kf
from keras_flows.cli.app import app
from keras_flows.data import tables
from keras_flows.models import registry
from keras_flows.training.recipe import ImageData, Recipe, WarmUp
from tests.registry import move_weights


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    keras.utils.set_random_seed(0)
    path = tmp_path_factory.mktemp("cli") / "tiny"
    kf.models.IDenseNet((2,), blocks=1, depth=1, growth=4).save_to_preset(path, summary="Tiny.")
    return path


@pytest.fixture(scope="module")
def conditional(tmp_path_factory):
    path = tmp_path_factory.mktemp("cli") / "conditional"
    flow = kf.models.IDenseNet((2,), blocks=1, depth=1, growth=4, context_shape=(3,))
    flow.save_to_preset(path)
    return path


@pytest.fixture(scope="module")
def points(tmp_path_factory):
    x = np.random.default_rng(0).normal(size=(64, 2)).astype("float32")
    path = tmp_path_factory.mktemp("data") / "points.npy"
    np.save(path, x)
    return path


def run(*arguments, code=0):
    result = typer.testing.CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == code, (result.output, result.stderr, result.exception)
    return result


def test_list_names_every_entry():
    listed = json.loads(run("list", "--json").stdout)
    assert [entry["name"] for entry in listed] == [entry.name for entry in kf.zoo.list()]
    shown = run("list").stdout
    assert all(entry.name in shown and f"{entry.parameters:,}" in shown for entry in kf.zoo.list())


def test_show_prints_the_card_or_the_metadata(preset):
    assert "Trainable parameters" in run("show", preset).stdout
    shown = json.loads(run("show", preset, "--json").stdout)
    assert shown == kf.zoo.show(preset).model_dump()


@pytest.mark.slow
def test_sample_writes_what_the_flow_draws(preset, tmp_path):
    expected = kf.zoo.load(preset).sample(6, seed=3, temperature=0.5).numpy()
    arguments = ("sample", preset, "-n", 6, "--seed", 3, "--temperature", 0.5)
    run(*arguments, "-o", tmp_path / "x.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), expected)
    (tmp_path / "x.csv").write_text(run(*arguments).stdout)
    np.testing.assert_array_equal(tables.read(tmp_path / "x.csv", (2,)), expected)


def test_score_writes_log_probs_in_order(preset, points, tmp_path):
    run("score", preset, points, "-o", tmp_path / "scores.parquet")
    expected = kf.zoo.load(preset).log_prob(np.load(points)).numpy()
    scores = tables.read(tmp_path / "scores.parquet", (1,))[:, 0]
    np.testing.assert_allclose(scores, expected, rtol=1e-6)
    assert run("score", preset, points).stdout.startswith("log_prob\n")


def test_evaluate_reports_mean_and_standard_error(preset, points):
    nll = -kf.zoo.load(preset).log_prob(np.load(points)).numpy().astype("float64")
    result = json.loads(run("evaluate", preset, points, "--json").stdout)
    assert result["nll"] == pytest.approx(nll.mean(), rel=1e-6)
    assert result["standard_error"] == pytest.approx(nll.std(ddof=1) / 8, rel=1e-6)
    assert result["likelihood"] == "exact" and result["examples"] == 64
    assert "nats" in run("evaluate", preset, points).stdout


@pytest.fixture(scope="module")
def on_images(tmp_path_factory):
    """A preset on images of 8×8 pixels with 4 bits."""
    steps = kf.transforms
    chain = [steps.UniformDequantization(4), steps.Logit(), steps.Squeeze(), steps.ActNorm()]
    flow = kf.Flow(steps.Chain(chain), (8, 8, 1))
    path = tmp_path_factory.mktemp("cli") / "images"
    flow.save_to_preset(path)
    return path


@pytest.mark.slow
def test_evaluate_reads_image_data_sets(on_images, preset, points, tmp_path):
    result = json.loads(run("evaluate", on_images, "digits", "--json").stdout)
    # The digits of 5 bits, reduced to the 4 of the flow.
    x = kf.data.images("digits", "test", bits=4).pixels
    expected = kf.evaluate.evaluate(kf.zoo.load(on_images), x, batch_size=100)
    assert result["bits_per_dim"] == pytest.approx(expected.bits_per_dim)
    scale = expected.standard_error / expected.nll
    assert result["bits_per_dim_standard_error"] == pytest.approx(expected.bits_per_dim * scale)
    assert result["data"] == "digits, test" and result["examples"] == 297
    train = json.loads(run("evaluate", on_images, "digits", "--split", "train", "--json").stdout)
    assert train["examples"] == 1500
    shown = run("evaluate", on_images, "digits").stdout
    assert f"{expected.bits_per_dim:.4f} ± " in shown
    assert "probes" not in shown
    probed = json.loads(run("evaluate", on_images, "digits", "--probes", 3, "--json").stdout)
    expected = kf.evaluate.evaluate(kf.zoo.load(on_images), x, probes=3)
    assert probed["estimator_standard_error"] == pytest.approx(expected.estimator_standard_error)
    assert probed["probes"] == 3 and probed["nll"] == pytest.approx(expected.nll)
    shown = run("evaluate", on_images, "digits", "--probes", 3).stdout
    assert f"{expected.estimator_standard_error:.4f} nats (3 probes)" in shown
    assert (
        "draws no random numbers" in run("evaluate", preset, points, "--probes", 2, code=1).stderr
    )
    assert "not one on images" in run("evaluate", preset, "digits", code=1).stderr
    missing = run("evaluate", on_images, "mnist", "--data-dir", tmp_path, code=1).stderr
    assert "download_and_prepare" in missing and len(missing.splitlines()) == 1


def test_evaluate_reads_folders_of_images(on_images, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 1), dtype=np.uint8)
    for i, image in enumerate(pixels):
        (tmp_path / f"{i}.png").write_bytes(tf.io.encode_png(image).numpy())
    result = json.loads(run("evaluate", on_images, tmp_path, "--json").stdout)
    x = kf.data.images(pixels, resize=8, bits=4).pixels
    expected = kf.evaluate.evaluate(kf.zoo.load(on_images), x)
    assert result["nll"] == pytest.approx(expected.nll)


@pytest.fixture(scope="module")
def by_label(tmp_path_factory):
    """A preset on images of 4 bits, conditional on a label of ten."""
    steps, embedding = kf.transforms, keras.layers.Embedding(10, 3)
    net = kf.layers.CouplingNetwork(4, 2, [kf.layers.ResidualDenseBlock(1, 2)], context_size=3)
    chain = [steps.UniformDequantization(4), steps.Squeeze(), steps.AffineCoupling(net)]
    flow = kf.Flow(steps.Chain(chain), (8, 8, 1), (), embedding)
    move_weights(flow)
    path = tmp_path_factory.mktemp("cli") / "by_label"
    flow.save_to_preset(path)
    return path


def test_evaluate_takes_the_labels_of_a_data_set(by_label, on_images, tmp_path):
    test = kf.data.images("digits", "test", bits=4, labels=True)
    flow = kf.zoo.load(by_label)
    right, wrong = (
        kf.measure.evaluate(flow, test.pixels, labels).nll
        for labels in (test.labels, np.zeros_like(test.labels))
    )
    assert json.loads(run("evaluate", by_label, "digits", "--json").stdout)["nll"] == right
    np.save(tmp_path / "zeros.npy", np.zeros(297))
    given = run("evaluate", by_label, "digits", "--context", tmp_path / "zeros.npy", "--json")
    assert json.loads(given.stdout)["nll"] == wrong != right
    np.save(tmp_path / "short.npy", np.zeros(5))
    short = run("evaluate", by_label, "digits", "--context", tmp_path / "short.npy", code=1)
    assert "297 examples" in short.stderr and "has 5" in short.stderr
    refused = run("evaluate", on_images, "digits", "--context", tmp_path / "zeros.npy", code=1)
    assert "has no context" in refused.stderr
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "x.png").write_bytes(tf.io.encode_png(test.pixels[0]).numpy())
    assert "no labels of its own" in run("evaluate", by_label, folder, code=1).stderr


def test_evaluate_says_that_a_context_is_needed(conditional, tmp_path):
    assert "give --context" in run("evaluate", conditional, "digits", code=1).stderr


def test_train_runs_a_recipe(tmp_path, monkeypatch):
    recipe = Recipe(
        summary="Tiny.",
        model="IDenseNet",
        arguments={"blocks": (1,), "depth": 1, "growth": 2, "fully_connected": None, "bits": 5},
        data=ImageData("digits"),
        steps=8,
        batch_size=10,
        schedule=WarmUp(0.01, 10),
        report_every=2,
        validation_examples=10,
    )
    monkeypatch.setitem(registry.RECIPES, "tiny", recipe)
    trained = run("train", "tiny", "-o", tmp_path, "--steps", 4, "--json")
    metadata = json.loads(trained.stdout)
    assert metadata["training"]["steps"] == 4 and metadata["test"]["examples"] == 297
    assert metadata["training"]["command"] == "keras-flows train tiny --steps 4"
    assert "step 4 of 4" in trained.stderr and "bits/dim" in trained.stderr
    assert "--resume" in run("train", "tiny", "-o", tmp_path, "--steps", 4, code=1).stderr
    resumed = run("train", "tiny", "-o", tmp_path, "--steps", 4, "--resume")
    assert "resuming at step 4" in resumed.stderr
    assert f"{metadata['test']['bits_per_dim']:.4f}" in resumed.stdout
    assert "Unknown recipe" in run("train", "no_such_recipe", code=1).stderr


def test_recipes_are_listed():
    listed = json.loads(run("recipes", "--json").stdout)
    assert list(listed) == list(registry.RECIPES)
    shown = run("recipes").stdout
    assert all(name in shown for name in registry.RECIPES)


def test_conditional_flows_take_contexts(conditional, points, tmp_path):
    contexts = np.random.default_rng(1).normal(size=(64, 3)).astype("float32")
    np.save(tmp_path / "c.npy", contexts)
    run("score", conditional, points, "--context", tmp_path / "c.npy", "-o", tmp_path / "s.npy")
    expected = kf.zoo.load(conditional).log_prob(np.load(points), contexts)
    np.testing.assert_allclose(np.load(tmp_path / "s.npy"), expected, rtol=1e-6)
    assert "give --context" in run("score", conditional, points, code=1).stderr
    np.save(tmp_path / "short.npy", contexts[:5])
    short = run("score", conditional, points, "--context", tmp_path / "short.npy", code=1)
    assert "64 examples" in short.stderr and "has 5" in short.stderr


def test_finetune_improves_and_saves(preset, tmp_path):
    x = np.random.default_rng(2).normal(3.0, 0.5, size=(200, 2)).astype("float32")
    np.savez(tmp_path / "data.npz", x=x)
    result = json.loads(
        run(
            *("finetune", preset, tmp_path / "data.npz", tmp_path / "tuned"),
            *("--epochs", 3, "--batch-size", 50, "--learning-rate", 0.01, "--json"),
            *("--validation", tmp_path / "data.npz"),
        ).stdout
    )
    tuned, before = kf.zoo.load(tmp_path / "tuned"), kf.zoo.load(preset)
    assert result["epoch"] >= 1
    assert result["before"]["nll"] == pytest.approx(-np.mean(before.log_prob(x)), rel=1e-5)
    assert result["after"]["nll"] == pytest.approx(-np.mean(tuned.log_prob(x)), rel=1e-5)
    assert result["after"]["nll"] < result["before"]["nll"]
    card = kf.zoo.show(tmp_path / "tuned").training
    assert (card["fine-tuned from"], card["examples"]) == ("tiny", 200)
    assert card["held-out nll"] == result["after"]["nll"]


@pytest.mark.slow
def test_finetune_keeps_the_start_where_nothing_is_better(preset, tmp_path):
    x = kf.zoo.load(preset).sample(200, seed=0).numpy()
    np.save(tmp_path / "own.npy", x)
    arguments = ("finetune", preset, tmp_path / "own.npy", tmp_path / "tuned")
    shown = run(*arguments, "--epochs", 1, "--learning-rate", 3.0).stdout
    assert "no epoch improved" in shown
    one, other = kf.zoo.load(tmp_path / "tuned"), kf.zoo.load(preset)
    np.testing.assert_array_equal(one.log_prob(x), other.log_prob(x))


@pytest.mark.parametrize("format", ["onnx", pytest.param("saved-model", marks=pytest.mark.slow)])
def test_export_and_verify(preset, tmp_path, format):
    folder = tmp_path / "exported"
    result = json.loads(run("export", preset, folder, "-f", format, "--json").stdout)
    assert result["checks"] and all(check["passed"] for check in result["checks"])
    graphs = kf.export.manifest.read(folder).graphs
    assert result["graphs"] == {name: graph.cost.model_dump() for name, graph in graphs.items()}
    assert "all checks passed" in run("verify", folder).stdout
    victim = next(path for path in sorted(folder.rglob("*")) if path.suffix in (".onnx", ".pb"))
    victim.write_bytes(victim.read_bytes()[:-10])
    assert victim.name in run("verify", folder, code=1).stderr


def test_certify_prints_every_bound(preset):
    result = json.loads(run("certify", preset, "--json").stdout)
    assert result["bounds"] == pytest.approx(kf.zoo.load(preset).certify().bounds)
    assert "0/ResidualBlock" in run("certify", preset).stdout


def test_errors_are_one_line_and_exit_with_1(preset, tmp_path):
    assert run("show", "no_such_flow", code=1).stderr.startswith("error: There is no zoo entry")
    missing = run("score", preset, tmp_path / "missing.npy", code=1)
    assert missing.stderr.startswith("error:") and "missing.npy" in missing.stderr.replace("\n", "")
    np.save(tmp_path / "wide.npy", np.zeros((4, 3)))
    assert "error:" in run("score", preset, tmp_path / "wide.npy", code=1).stderr


def test_certify_claims_nothing_without_blocks(on_images):
    assert "nothing to certify" in run("certify", on_images).stdout
    result = json.loads(run("certify", on_images, "--json").stdout)
    assert result == {"largest": None, "bounds": {}}


def test_tables_choose_columns_and_say_what_the_header_is(preset, points, tmp_path):
    x = np.load(points)
    table = tmp_path / "x.csv"
    rows = [f"{b!r};7;{a!r}" for a, b in x.tolist()]
    table.write_text("\n".join(["2021;id;2020", *rows]) + "\n")
    expected = json.loads(run("evaluate", preset, points, "--json").stdout)["nll"]
    shared = ("evaluate", preset, table, "--json", "--columns", "2020, 2021")
    assert "--header" in run(*shared, code=1).stderr
    result = json.loads(run(*shared, "--header").stdout)
    assert result["nll"] == pytest.approx(expected, rel=1e-6) and result["examples"] == 64
    assert "--columns" in run("score", preset, table, "--header", code=1).stderr
    (tmp_path / "plain.csv").write_text("2020,2021\n1,2\n")
    assert "all numbers" in run("score", preset, tmp_path / "plain.csv", code=1).stderr
    scored = run("score", preset, tmp_path / "plain.csv", "--no-header")
    assert len(scored.stdout.splitlines()) == 3


def test_standard_input_is_scored(preset, points):
    x = np.load(points)[:3]
    text = "a,b\n" + "".join(f"{a!r},{b!r}\n" for a, b in x.tolist())
    result = typer.testing.CliRunner().invoke(app, ["score", str(preset), "-"], input=text)
    assert result.exit_code == 0, result.stderr
    scores = [float(line) for line in result.stdout.splitlines()[1:]]
    np.testing.assert_allclose(scores, kf.zoo.load(preset).log_prob(x), rtol=1e-6)
    assert "compiling" in result.stderr


@pytest.fixture
def no_work(monkeypatch):
    """Whatever loads, scores, draws or fits is an error of the test."""

    def fail(*_, **__):
        raise AssertionError("the work began")

    for name in ("log_prob", "sample", "fit"):
        monkeypatch.setattr(kf.Flow, name, fail)


@pytest.mark.usefixtures("no_work")
def test_what_cannot_be_written_is_said_before_the_work(preset, on_images, points, tmp_path):
    wrong = run("score", preset, points, "-o", tmp_path / "x.txt", code=1)
    assert "must end in one of" in wrong.stderr
    wrong = run("score", preset, points, "-o", tmp_path / "nowhere" / "x.csv", code=1)
    assert "no folder" in wrong.stderr
    for output in ((), ("-o", tmp_path / "x.csv")):
        assert ".npy or .npz" in run("sample", on_images, *output, code=1).stderr
    (tmp_path / "thesis.txt").write_text("precious")
    assert "is not a preset" in run("finetune", preset, points, tmp_path, code=1).stderr
    wrong = run("finetune", preset, points, tmp_path / "thesis.txt", code=1)
    assert "is a file" in wrong.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.slow
def test_evaluate_says_that_the_card_has_another_estimator(preset, points, tmp_path):
    folder = tmp_path / "stated"
    test = {"nll": 1.0, "standard_error": 0.1, "examples": 5, "data": "some"}
    kf.zoo.load(preset).save_to_preset(folder, test={**test, "importance_samples": 100})
    said = run("evaluate", folder, points, "--json")
    assert "bound of 100 draws, this one of a single draw" in " ".join(said.stderr.split())
    json.loads(said.stdout)
    assert "note:" not in run("evaluate", preset, points).stderr


def test_upload_goes_through_the_zoo(preset, monkeypatch):
    asked = []

    def upload(handle, address):
        asked.append((handle, address))
        return kf.zoo.show(handle)

    monkeypatch.setattr(kf.zoo, "upload", upload)
    result = json.loads(run("upload", preset, "hf://user/flows", "--json").stdout)
    assert asked == [(str(preset), "hf://user/flows")]
    assert "metadata.json" in result["files"] and "README.md" in result["files"]


def test_wrong_calls_exit_with_2(preset):
    run("sample", preset, "-n", 0, code=2)
    run("no-such-command", code=2)
