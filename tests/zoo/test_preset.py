"""Preset folders: saving, loading, and every way a folder can be wrong."""

import json

import keras
import numpy as np
import pytest
import yaml

import keras_flows as kf
from keras_flows.files import sha256


@pytest.fixture(scope="module")
def flow():
    keras.utils.set_random_seed(0)
    return kf.models.IDenseNet((2,), blocks=2, depth=2, growth=6, actnorm=True)


@pytest.fixture
def folder(flow, tmp_path):
    flow.save_to_preset(tmp_path / "tiny", summary="A tiny flow.", training={"seed": 0})
    return tmp_path / "tiny"


def points(n=7):
    return np.random.default_rng(1).normal(size=(n, 2)).astype("float32")


def rewrite(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_a_loaded_flow_gives_the_same_numbers(flow, folder):
    loaded = kf.zoo.load(folder)
    np.testing.assert_array_equal(loaded.log_prob(points()), flow.log_prob(points()))
    np.testing.assert_array_equal(loaded.sample(5, seed=3), flow.sample(5, seed=3))
    assert type(loaded) is kf.models.IDenseNet
    assert loaded.name == "tiny"


@pytest.mark.slow
def test_the_optimizer_is_not_saved(flow, folder, tmp_path):
    trained = kf.zoo.load(folder)
    trained.compile("adam", jit_compile=False)
    trained.fit(points(), verbose=0)
    trained.save_to_preset(tmp_path / "trained")
    sizes = [(path / "model.weights.h5").stat().st_size for path in (folder, tmp_path / "trained")]
    assert sizes[0] == sizes[1]
    np.testing.assert_array_equal(
        kf.zoo.load(tmp_path / "trained").log_prob(points()), trained.log_prob(points())
    )


def test_from_preset_checks_the_class(folder):
    assert isinstance(kf.models.IDenseNet.from_preset(str(folder)), kf.models.IDenseNet)
    with pytest.raises(ValueError, match="is a IDenseNet, not a ResidualFlow"):
        kf.models.ResidualFlow.from_preset(str(folder))


def test_metadata_says_what_the_flow_is(flow, folder):
    metadata = kf.zoo.show(folder)
    assert metadata.parameters == sum(np.prod(v.shape) for v in flow.trainable_variables)
    assert metadata.likelihood == "exact" and metadata.estimator == "Exact"
    assert metadata.largest_bound == flow.certify().largest < 1
    assert metadata.inverse.round_trip_error < 1e-4
    assert set(metadata.files) == {"config.json", "model.weights.h5", "README.md"}


def test_the_card_has_a_header_and_the_facts(folder):
    text = kf.zoo.card(folder)
    _, header, body = text.split("---\n", 2)
    assert yaml.safe_load(header)["license"] == "apache-2.0"
    assert "A tiny flow." in body and 'kf.zoo.load("path/of/the/folder")' in body
    assert f"{kf.zoo.show(folder).parameters:,}" in body


def test_a_conditional_flow_and_its_embedding_survive(tmp_path):
    flow = kf.models.IDenseNet(
        (1,),
        blocks=1,
        depth=1,
        growth=4,
        context_shape=(),
        context_embedding=keras.layers.Embedding(3, 2),
    )
    flow.save_to_preset(tmp_path / "labels")
    loaded = kf.zoo.load(tmp_path / "labels")
    x, labels = points(3)[:, :1], np.array([0, 1, 2])
    np.testing.assert_array_equal(loaded.log_prob(x, labels), flow.log_prob(x, labels))


def test_saving_over_a_preset_replaces_it(flow, folder):
    (folder / "stale.txt").write_text("old")
    flow.save_to_preset(folder, summary="Second.")
    assert not (folder / "stale.txt").exists()
    assert kf.zoo.show(folder).summary == "Second."


def test_saving_leaves_other_folders_alone(flow, tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(kf.PresetError, match="is not a preset"):
        flow.save_to_preset(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "precious"


def test_an_uncertified_flow_is_not_saved(tmp_path):
    flow = kf.models.ResidualFlow((2,), blocks=1, widths=(4,))
    for layer in flow.blocks[0].net.layers:
        layer.dense.kernel.assign(layer.dense.kernel * 100.0)
        layer.dense.converge = lambda: None
    with pytest.raises(kf.LipschitzError, match="must be below 1"):
        flow.save_to_preset(tmp_path / "bad")
    assert not (tmp_path / "bad").exists()


@pytest.mark.parametrize("name", ["model.weights.h5", "config.json", "README.md"])
def test_a_changed_byte_is_found(folder, name):
    path = folder / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(kf.PresetError, match=f"corrupt or was changed: {name} has SHA-256"):
        kf.zoo.load(folder)


def test_a_truncated_weight_file_is_found(folder):
    path = folder / "model.weights.h5"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(kf.PresetError, match=r"model\.weights\.h5 has SHA-256"):
        kf.zoo.load(folder)


def test_a_missing_file_is_found(folder):
    (folder / "model.weights.h5").unlink()
    with pytest.raises(kf.PresetError, match=r"model\.weights\.h5 is missing"):
        kf.zoo.load(folder)


def test_files_cannot_be_left_out_of_the_checksums(folder):
    rewrite(folder / "metadata.json", lambda m: m["files"].pop("model.weights.h5"))
    with pytest.raises(kf.PresetError, match=r"model\.weights\.h5 has no checksum"):
        kf.zoo.load(folder)


def test_a_newer_format_says_so(folder):
    def newer(metadata):
        metadata["format"] = 99
        metadata["versions"]["keras_flows"] = "9.0"

    rewrite(folder / "metadata.json", newer)
    with pytest.raises(kf.PresetError, match=r"keras-flows 9\.0 in preset format 99.*Upgrade"):
        kf.zoo.load(folder)


def test_metadata_must_fit_its_schema(folder):
    rewrite(folder / "metadata.json", lambda m: m.update(parameters="many", colour="red"))
    with pytest.raises(kf.PresetError, match=r"parameters: .*integer.*colour: extra"):
        kf.zoo.show(folder)


def test_metadata_must_be_json(folder):
    (folder / "metadata.json").write_text("{")
    with pytest.raises(kf.PresetError, match="not valid JSON"):
        kf.zoo.show(folder)


def test_a_config_of_an_unknown_class_says_so(folder):
    rewrite(
        folder / "config.json",
        lambda c: c.update(class_name="QuantumFlow", registered_name="keras_flows>QuantumFlow"),
    )
    rehash(folder)
    with pytest.raises(kf.PresetError, match="does not describe a flow that keras-flows"):
        kf.zoo.load(folder)


def test_weights_of_another_flow_do_not_fit(folder):
    rewrite(folder / "config.json", lambda c: c["config"].update(growth=8))
    rehash(folder)
    with pytest.raises(kf.PresetError, match="do not fit the flow"):
        kf.zoo.load(folder)


def rehash(folder):
    def update(metadata):
        metadata["files"] = {name: sha256(folder / name) for name in metadata["files"]}

    rewrite(folder / "metadata.json", update)
