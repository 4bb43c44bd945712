"""Preset folders: saving, loading, and every way a folder can be wrong."""

import json
import os
import shutil
import time

import h5py
import keras
import numpy as np
import pytest
import yaml

import keras_flows as kf
from keras_flows.files import sha256
from keras_flows.zoo import handles, weights


@pytest.fixture(scope="module")
def flow():
    keras.utils.set_random_seed(0)
    return kf.models.IDenseNet((2,), blocks=2, depth=2, growth=6, actnorm=True)


@pytest.fixture(scope="module")
def saved(flow, tmp_path_factory):
    folder = tmp_path_factory.mktemp("preset") / "tiny"
    flow.save_to_preset(folder, summary="A tiny flow.", training={"seed": 0})
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    """A copy of a preset, to damage."""
    return shutil.copytree(saved, tmp_path / "tiny")


@pytest.fixture(scope="module")
def plain():
    """A flow that is saved in no time: without residual blocks."""
    return kf.Flow(kf.transforms.Chain([kf.transforms.ActNorm(), kf.transforms.Reverse()]), (2,))


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


@pytest.mark.slow
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


def test_saving_over_a_preset_replaces_it_and_keeps_what_is_none_of_it(plain, tmp_path):
    folder, link = tmp_path / "tiny", tmp_path / "link"
    picture = tmp_path / "density.png"
    picture.write_bytes(b"picture")
    plain.save_to_preset(folder, picture=picture)
    (folder / "notes.txt").write_text("mine")
    (folder / "runs" / "first").mkdir(parents=True)
    (folder / "runs" / "first" / "log").write_text("1")
    (folder / "latest").symlink_to("runs/first")
    folder.chmod(0o750)
    link.symlink_to(folder)
    plain.save_to_preset(link, summary="Second.")
    assert kf.zoo.show(folder).summary == "Second." and link.is_symlink()
    assert (folder / "notes.txt").read_text() == "mine"
    assert (folder / "latest" / "log").read_text() == "1" and (folder / "latest").is_symlink()
    assert not (folder / "density.png").exists()  # that was the old preset's
    assert folder.stat().st_mode & 0o777 == 0o750
    kf.zoo.load(folder)
    (folder / "density.png").write_bytes(b"another")
    with pytest.raises(FileExistsError, match=r"density\.png would be replaced"):
        plain.save_to_preset(folder, picture=picture)
    assert kf.zoo.show(folder).summary == "Second."
    assert sorted(path.name for path in tmp_path.iterdir()) == ["density.png", "link", "tiny"]


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
    with pytest.raises(kf.PresetError, match=r"larger than the 51 arrays of 317 numbers"):
        kf.zoo.load(folder)
    rewrite(folder / "config.json", lambda c: c["config"].update(growth=5))
    rehash(folder)
    with pytest.raises(kf.PresetError, match=r"of another flow: it holds 51 arrays of 317 numbers"):
        kf.zoo.load(folder)


# Presets whose checksums somebody computed anew --------------------------------------------------


def rewrite_weights(folder, change):
    with h5py.File(folder / "model.weights.h5", "r+") as file:
        change(file)
    rehash(folder)


def arrays(file):
    """The arrays of a weight file by path."""
    found = {}
    file.visititems(
        lambda path, item: found.update({path: item}) if isinstance(item, h5py.Dataset) else None
    )
    return found


def times_50(file):
    for array in arrays(file).values():
        if array.ndim == 2:
            array[...] = 50.0 * array[...]


def one_more(file):
    file.create_dataset("layers/another/vars/0", data=np.zeros(3, "float32"))


def one_less(file):
    del file[next(iter(arrays(file)))]


def nan(file):
    array = max(arrays(file).values(), key=lambda array: array.size)
    array[...] = np.nan


def moved(file):
    file.move("blocks", "others")


def moved_within(file):
    first, *_ = file["blocks"]
    file["blocks"].move(first, "residual_block_9")


def named_twice(file):
    first, last = file["blocks"]
    del file[f"blocks/{last}"]
    file.copy(f"blocks/{first}", f"transform/steps/{first}")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (times_50, "were changed: the spectral norm stored in"),
        (nan, "were changed: the spectral norm stored in"),
        (one_more, "holds 52 arrays of 320 numbers.*has 51 of 317"),
        (one_less, "larger than the 50 arrays"),
        (moved, "do not fit the flow.*others/.* is of no part of the flow"),
        (moved_within, "blocks/residual_block_9/.* is of no part of the flow"),
        (named_twice, "is of a layer that another group is of, too"),
    ],
)
def test_changed_weights(folder, change, message):
    rewrite_weights(folder, change)
    with pytest.raises(kf.PresetError, match=message):
        kf.zoo.load(folder)


@pytest.mark.parametrize(
    "name", ["spline_iris", pytest.param("idensenet_lc_digits", marks=pytest.mark.slow)]
)
def test_weights_are_read_as_keras_reads_them(name):
    folder = handles.entries() / name
    config = json.loads((folder / "config.json").read_text())
    ours, theirs = (keras.saving.deserialize_keras_object(config) for _ in range(2))
    path = folder / "model.weights.h5"
    weights.read(ours, path)
    theirs.load_weights(path)
    for mine, other in zip(ours.weights, theirs.weights, strict=True):
        np.testing.assert_array_equal(mine, other)


def test_weights_of_another_training(flow, folder, tmp_path):
    """Of the same shapes, converged and certified: but the certificate is not theirs."""
    keras.utils.set_random_seed(7)
    other = kf.models.IDenseNet((2,), blocks=2, depth=2, growth=6, actnorm=True)
    other.converge()
    for weight, value in zip(other.weights, flow.weights, strict=True):
        assert weight.shape == value.shape
    copy = kf.zoo.load(folder)
    for weight, value in zip(copy.weights, other.weights, strict=True):
        weight.assign(value)
    copy.save_weights(folder / "model.weights.h5")
    rehash(folder)
    with pytest.raises(kf.PresetError, match="certificate of 'tiny' is of other weights"):
        kf.zoo.load(folder)


def test_a_configuration_is_not_built_larger_than_its_weights(folder):
    for change in ({"blocks": 10**6}, {"depth": 10**6}, {"growth": 10**9}):
        before = (folder / "config.json").read_text()
        rewrite(folder / "config.json", lambda c, change=change: c["config"].update(change))
        rehash(folder)
        began = time.process_time()
        with pytest.raises(kf.PresetError, match="larger than the 51 arrays of 317 numbers"):
            kf.zoo.load(folder)
        assert time.process_time() - began < 10.0
        (folder / "config.json").write_text(before)
    # What was counted is counted no longer.
    assert keras.layers.Layer.__init__.__qualname__ == "Layer.__init__"
    assert keras.layers.Layer.add_weight.__qualname__ == "Layer.add_weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"likelihood": "lower_bound"},
            "likelihood is 'lower_bound', and that of the flow 'exact'",
        ),
        ({"event_shape": [3]}, r"event_shape is \[3\]"),
        ({"context_shape": [1]}, r"context_shape is \[1\]"),
        ({"model": "DenseFlow"}, "model is 'DenseFlow'"),
        ({"lipschitz": {}}, "has 0 bounds, of other residual blocks than the 2"),
    ],
)
def test_metadata_of_another_flow(folder, change, message):
    rewrite(folder / "metadata.json", lambda metadata: metadata.update(change))
    with pytest.raises(kf.PresetError, match=message):
        kf.zoo.load(folder)


@pytest.mark.parametrize("name", ["metadata.json", "config.json", "README.md"])
def test_a_pipe_is_not_waited_for(folder, name):
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(kf.PresetError, match=f"{name} is (not a plain file|missing)"):
        kf.zoo.card(folder) if name == "README.md" else kf.zoo.load(folder)


def test_thousands_of_brackets(folder):
    (folder / "config.json").write_text('{"a": ' + "[" * 100_000 + "]" * 100_000 + "}")
    rehash(folder)
    with pytest.raises(kf.PresetError, match="not valid JSON: maximum recursion depth"):
        kf.zoo.load(folder)


def test_a_weight_file_that_claims_more_than_it_has(folder):
    def sparse(file):
        path = next(iter(arrays(file)))
        del file[path]
        file.create_dataset(path, shape=(10**9,), dtype="float32", chunks=(1024,))

    rewrite_weights(folder, sparse)
    with pytest.raises(kf.PresetError, match=r"claims to hold arrays of 4,000,0\d\d,\d\d\d"):
        kf.zoo.load(folder)
    (folder / "model.weights.h5").write_bytes(b"no such file")
    rehash(folder)
    with pytest.raises(kf.PresetError, match="is no HDF5 file"):
        kf.zoo.load(folder)


def test_layers_with_state_of_their_own_are_counted(tmp_path):
    embedding = keras.Sequential([keras.layers.Dense(2), keras.layers.Dropout(0.5)])
    flow = kf.Flow(kf.transforms.ActNorm(), (2,), context_shape=(3,), context_embedding=embedding)
    flow.save_to_preset(tmp_path / "dropout")
    loaded = kf.zoo.load(tmp_path / "dropout")
    for one, other in zip(loaded.get_weights(), flow.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def rehash(folder):
    def update(metadata):
        metadata["files"] = {name: sha256(folder / name) for name in metadata["files"]}

    rewrite(folder / "metadata.json", update)
