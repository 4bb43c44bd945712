"""Handles: names, folders, and addresses, the latter on a server of the test's own."""

import functools
import http.server
import sys
import threading
import types

import pytest

import keras_flows as kf
from keras_flows.files import sha256
from keras_flows.zoo import handles


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("presets") / "tiny"
    kf.models.ResidualFlow((2,), blocks=1, widths=(4,)).save_to_preset(path)
    return path


@pytest.fixture
def address(folder, tmp_path, monkeypatch):
    """The preset's address on a local server, with an empty download cache."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("keras.src.utils.file_utils.config.keras_home", lambda: str(tmp_path))

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Quiet, directory=str(folder.parent))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/tiny"
    server.shutdown()
    server.server_close()


def test_unknown_names_suggest_the_nearest():
    name = handles.bundled()[0]
    with pytest.raises(kf.PresetError, match=f"Did you mean '{name}'"):
        kf.zoo.load(name[:-1])


def test_bundled_names_resolve_to_their_folder():
    for name in handles.bundled():
        assert (handles.resolve(name) / "config.json").is_file()


def test_an_address_needs_a_checksum(address):
    with pytest.raises(kf.PresetError, match=r"#sha256="):
        kf.zoo.load(address)


def test_an_address_is_fetched_and_checked(address, folder):
    checksum = sha256(folder / "metadata.json")
    flow = kf.zoo.load(f"{address}#sha256={checksum}")
    x = [[0.5, -1.0]]
    assert float(flow.log_prob(x)[0]) == float(kf.zoo.load(folder).log_prob(x)[0])


def test_a_wrong_checksum_is_an_error(address):
    with pytest.raises(kf.PresetError, match="does not have the SHA-256 000000000000"):
        kf.zoo.load(f"{address}#sha256={'0' * 64}")


def test_an_address_that_does_not_answer_is_an_error(address):
    with pytest.raises(kf.PresetError, match="could not be fetched"):
        kf.zoo.load(f"{address}-elsewhere#sha256={'0' * 64}")


def test_unknown_kinds_of_address_are_errors():
    with pytest.raises(kf.PresetError, match="Unknown kind of address ftp://"):
        kf.zoo.load("ftp://example.org/flow")


def test_hugging_face_handles_go_through_its_library(folder, monkeypatch):
    asked = []

    def snapshot_download(repository, allow_patterns):
        asked.append((repository, allow_patterns))
        return str(folder.parent)

    hub = types.SimpleNamespace(snapshot_download=snapshot_download)
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    assert handles.resolve("hf://someone/flows/tiny") == folder
    assert asked == [("someone/flows", ["tiny/*"])]
    with pytest.raises(kf.PresetError, match="hf://user/repository"):
        handles.resolve("hf://someone")


def test_kaggle_handles_go_through_its_library(folder, monkeypatch):
    kaggle = types.SimpleNamespace(model_download=lambda handle: str(folder))
    monkeypatch.setitem(sys.modules, "kagglehub", kaggle)
    assert handles.resolve("kaggle://someone/flows/keras/tiny") == folder
    with pytest.raises(kf.PresetError, match="kaggle://owner/model"):
        handles.resolve("kaggle://someone")


def test_a_missing_library_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r"pip install keras-flows\[hub\]"):
        handles.resolve("hf://someone/flows")
