"""Uploads: what the hubs' libraries are asked, and what is refused before they are."""

import shutil
import sys
import types

import pytest

import keras_flows as kf
from keras_flows.zoo import handles

FILES = ["README.md", "config.json", "metadata.json", "model.weights.h5"]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("upload") / "tiny"
    kf.models.ResidualFlow((2,), blocks=1, widths=(4,)).save_to_preset(path)
    (path / "thesis.txt").write_text("no part of the preset")
    return path


@pytest.fixture
def folder(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "tiny")


@pytest.fixture
def asked(monkeypatch):
    """Stands in for both libraries; the calls that they got."""
    calls = []

    class HfApi:
        def create_repo(self, repo_id, **options):
            calls.append(("create_repo", repo_id, options))

        def upload_folder(self, **options):
            calls.append(("upload_folder", options))

    def model_upload(handle, local_model_dir, **options):
        calls.append(("model_upload", handle, local_model_dir, options))

    hub = types.SimpleNamespace(HfApi=HfApi, get_token=lambda: "token")
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    monkeypatch.setitem(sys.modules, "kagglehub", types.SimpleNamespace(model_upload=model_upload))
    return calls


@pytest.mark.parametrize(("place", "subfolder"), [("", None), ("/a/b", "a/b")])
def test_hugging_face(folder, asked, place, subfolder):
    assert kf.zoo.upload(folder, f"hf://user/flows{place}") == kf.zoo.show(folder)
    (_, repository, created), (_, sent) = asked
    assert repository == sent["repo_id"] == "user/flows" and created["exist_ok"]
    assert sent["folder_path"] == str(folder) and sent["path_in_repo"] == subfolder
    assert sent["allow_patterns"] == FILES


def test_kaggle(folder, asked):
    kf.zoo.upload(folder, "kaggle://user/flows/keras/tiny")
    ((_, model, sent, options),) = asked
    assert model == "user/flows/keras/tiny" and sent == str(folder)
    assert options["ignore_patterns"] == ["thesis.txt"]


def test_what_was_uploaded_is_what_is_fetched(folder, asked, monkeypatch):
    address = "hf://user/flows/tiny"
    kf.zoo.upload(folder, address)
    root = str(folder.parent)
    monkeypatch.setattr(
        sys.modules["huggingface_hub"], "snapshot_download", lambda *_, **__: root, raising=False
    )
    assert handles.resolve(address) == folder


@pytest.mark.parametrize("address", ["hf://user/flows", "kaggle://user/flows/keras/tiny"])
def test_a_corrupt_preset_is_not_uploaded(folder, asked, address):
    (folder / "model.weights.h5").write_bytes(b"other")
    with pytest.raises(kf.PresetError, match="corrupt or was changed"):
        kf.zoo.upload(folder, address)
    assert asked == []


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("my_folder", "uploaded to hf://"),
        ("https://example.org/flow", "uploaded to hf://"),
        ("hf://user", "hf://user/repository"),
        ("kaggle://user/flows/keras", "without a version"),
        ("kaggle://user/flows/keras/tiny/3", "without a version"),
    ],
)
def test_addresses_that_cannot_be_written_to(folder, asked, address, message):
    with pytest.raises(kf.PresetError, match=message):
        kf.zoo.upload(folder, address)
    assert asked == []


def test_nobody_is_logged_in(folder, asked, monkeypatch):
    monkeypatch.setattr(sys.modules["huggingface_hub"], "get_token", lambda: None)
    with pytest.raises(kf.PresetError, match="hf auth login"):
        kf.zoo.upload(folder, "hf://user/flows")
    assert asked == []


@pytest.mark.parametrize("address", ["hf://user/flows", "kaggle://user/flows/keras/tiny"])
def test_a_refusal_of_the_hub_is_one_clear_error(folder, asked, address, monkeypatch):
    def refuse(*_, **__):
        raise RuntimeError("403 Forbidden")

    monkeypatch.setattr(sys.modules["huggingface_hub"].HfApi, "upload_folder", refuse)
    monkeypatch.setattr(sys.modules["kagglehub"], "model_upload", refuse)
    with pytest.raises(kf.PresetError, match=f"{address} could not be written: 403 Forbidden"):
        kf.zoo.upload(folder, address)


@pytest.mark.parametrize(
    ("library", "address"),
    [("huggingface_hub", "hf://user/flows"), ("kagglehub", "kaggle://user/flows/keras/tiny")],
)
def test_a_missing_library_says_how_to_install_it(folder, library, address, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ImportError, match=r"pip install keras-flows\[hub\]"):
        kf.zoo.upload(folder, address)
