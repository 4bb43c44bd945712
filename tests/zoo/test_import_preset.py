"""What becomes of a published checkpoint in a preset, on the command line too."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

import keras_flows as kf
from keras_flows.cli.app import app
from keras_flows.errors import LipschitzError
from keras_flows.zoo.import_preset import import_to_preset
from tests.zoo import test_pytorch
from tests.zoo.test_checkpoint import PLAIN, plain_state, points

MEAN, LARGEST = (f"{n} change of log_prob by converging (nats)" for n in ("mean", "largest"))


def drifted(size, seed=3):
    """A state dict whose singular vectors are off by random numbers of a size."""
    state, random = plain_state(), np.random.default_rng(seed)
    for name in state:
        if name.endswith((".u", ".v")):
            vector = state[name] + size * random.normal(size=state[name].size)
            state[name] = vector / np.linalg.norm(vector)
    return state


@pytest.fixture
def checkpoint(written):
    return written(drifted(0.1))


@pytest.mark.slow
def test_a_preset_keeps_what_was_published(checkpoint, tmp_path):
    published = kf.zoo.import_checkpoint(checkpoint, PLAIN).log_prob(points())
    metadata = import_to_preset(checkpoint, tmp_path / "preset", PLAIN)
    flow = kf.zoo.load(tmp_path / "preset")
    np.testing.assert_array_equal(flow.log_prob(points()), published)
    # The change that is recorded is the one that convergence makes.
    x = flow.sample(1000, seed=0)
    before = flow.log_prob(x).numpy()
    flow.converge()
    change = flow.log_prob(x).numpy() - before
    recorded = metadata.training["spectral norms"]
    assert recorded["samples"] == 1000
    assert recorded[MEAN] == pytest.approx(change.mean(), abs=1e-5)
    assert recorded[LARGEST] == pytest.approx(np.abs(change).max(), abs=1e-5)
    assert recorded[LARGEST] > 0.01
    card = kf.zoo.card(tmp_path / "preset")
    assert (
        "| imported from | state.npz |" in card and "| spectral norms.here | as published;" in card
    )
    assert f"| spectral norms.{LARGEST} | {recorded[LARGEST]} |" in card
    assert "| weights | those of the state dict |" in card


@pytest.mark.slow
def test_a_preset_that_was_asked_to_converge(checkpoint, tmp_path):
    kept = import_to_preset(checkpoint, tmp_path / "kept", PLAIN)
    metadata = import_to_preset(checkpoint, tmp_path / "preset", PLAIN, converge=True)
    recorded = metadata.training["spectral norms"]
    assert recorded["here"] == "converged, which is not the published function"
    flow = kf.zoo.import_checkpoint(checkpoint, PLAIN)
    flow.converge()
    loaded = kf.zoo.load(tmp_path / "preset")
    np.testing.assert_array_equal(loaded.log_prob(points()), flow.log_prob(points()))
    assert metadata.largest_bound < kept.largest_bound
    assert recorded[LARGEST] > 0.01


def test_published_norms_that_certify_nothing(written, tmp_path):
    with pytest.raises(LipschitzError, match=r"norms as published: .*--converge\) does"):
        import_to_preset(written(drifted(2.0)), tmp_path / "preset", PLAIN)
    assert not (tmp_path / "preset").exists()


@pytest.mark.slow
def test_they_can_be_asked_to_converge(written, tmp_path):
    path = written(drifted(2.0))
    metadata = import_to_preset(path, tmp_path / "preset", PLAIN, converge=True)
    assert metadata.largest_bound < 1.0
    assert "as published they do not prove" in metadata.training["spectral norms"]["here"]


@pytest.mark.slow
def test_norms_are_saved_as_they_are_where_that_was_asked_for(checkpoint, tmp_path):
    flow = kf.zoo.import_checkpoint(checkpoint, PLAIN)
    before = [weight.numpy() for weight in flow.weights]
    flow.save_to_preset(tmp_path / "preset", converge=False)
    for mine, theirs in zip(before, kf.zoo.load(tmp_path / "preset").weights, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    flow.converge()
    sigmas = zip(before, flow.weights, strict=True)
    assert any(w.name == "sigma" and abs(w - old) > 1e-3 for old, w in sigmas)


def run(*arguments):
    done = CliRunner().invoke(app, ["import-checkpoint", *map(str, arguments)])
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.slow
def test_the_command_prints_the_change(checkpoint, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(PLAIN), encoding="utf-8")
    options = ["--config", tmp_path / "config.json"]
    output = run(checkpoint, tmp_path / "preset", *options, "--dtype", "float64")
    words = " ".join(output.replace("│", " ").split())
    recorded = kf.zoo.show(tmp_path / "preset").training["spectral norms"]
    assert "spectral norms.here as published;" in words
    assert f"{LARGEST} {recorded[LARGEST]}" in words and f"{MEAN} {recorded[MEAN]}" in words
    flow = kf.zoo.load(tmp_path / "preset")
    assert flow.compute_dtype == "float64"
    expected = kf.zoo.import_checkpoint(checkpoint, PLAIN, dtype="float64")
    np.testing.assert_array_equal(flow.log_prob(points()), expected.log_prob(points()))


@pytest.mark.slow
def test_the_command_takes_moving_averages_and_says_so(tmp_path):
    test_pytorch.script_file(tmp_path / "checkpt.pth", ema=test_pytorch.averages(0.01))
    (tmp_path / "config.json").write_text(json.dumps(PLAIN), encoding="utf-8")
    options = ["--config", tmp_path / "config.json", "--json"]
    for flag, weights in ([], "moving averages (EMA)"), (["--no-ema"], "those of the state dict"):
        output = run(tmp_path / "checkpt.pth", tmp_path / "preset", *options, *flag)
        training = json.loads(output[output.index("{\n") :])["training"]
        assert training["weights"] == weights and training["imported from"] == "checkpt.pth"
        expected = kf.zoo.import_checkpoint(tmp_path / "checkpt.pth", PLAIN, ema=not flag)
        flow = kf.zoo.load(tmp_path / "preset")
        np.testing.assert_array_equal(flow.log_prob(points()), expected.log_prob(points()))
