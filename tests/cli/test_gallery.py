"""The command `keras-flows gallery`: what it writes where, and what it serves."""

import http.server
import json
import webbrowser

import pytest
import typer.testing

import keras_flows as kf
from keras_flows.cli.app import app
from keras_flows.cli.gallery import SELECTION
from keras_flows.export.gallery.write import INDEX, Written


def run(*arguments, code=0):
    result = typer.testing.CliRunner().invoke(app, [str(a) for a in ("gallery", *arguments)])
    assert result.exit_code == code, (result.output, result.stderr, result.exception)
    return result


@pytest.fixture
def asked(monkeypatch):
    """What galleries were asked for; each is an index alone."""
    calls = []

    def to_gallery(presets, folder, data_dir=None, observe=None):
        calls.append((list(presets), folder, data_dir))
        for name in presets:
            observe(name)
        folder.mkdir()
        (folder / INDEX).write_text('{"entries": []}')
        return [Written(name, "plane", "No data." if name == "b" else None) for name in presets]

    monkeypatch.setattr(kf.export, "to_gallery", to_gallery)
    return calls


def test_presets_and_then_the_folder(asked, tmp_path):
    shown = run("a", "b", tmp_path / "site", "--data-dir", tmp_path).stdout
    assert asked == [(["a", "b"], tmp_path / "site", tmp_path)]
    assert str(tmp_path / "site") in shown and "No data." in shown
    printed = json.loads(run("a", tmp_path / "other", "--json").stdout)
    assert printed["entries"] == [{"name": "a", "panel": "plane", "missing": None}]


def test_without_presets_it_is_a_selection(asked, tmp_path):
    run(tmp_path / "site")
    run("--all", tmp_path / "all")
    bundled = [entry.name for entry in kf.zoo.list()]
    assert asked[0][0] == list(SELECTION) and set(SELECTION) < set(bundled)
    assert asked[1][0] == bundled
    assert "leave a out" in run("--all", "a", tmp_path / "more", code=1).stderr


def test_the_folder_is_not_forgotten(asked):
    assert "Name the folder" in run(code=1).stderr
    assert "the last argument is the folder" in run("spline_iris", code=1).stderr
    assert asked == []


def test_a_gallery_that_is_there_is_served_as_it_is(asked, tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr(webbrowser, "open", opened.append)

    def interrupted(self, *_):
        raise KeyboardInterrupt

    monkeypatch.setattr(http.server.ThreadingHTTPServer, "serve_forever", interrupted)
    monkeypatch.chdir(tmp_path)
    run("--serve", "--port", 0)  # the selection, into ./gallery
    run("--serve", "--port", 0)
    run("a", "site", "--serve", "--port", 0)
    run("site", "--serve", "--port", 0)
    assert [str(folder) for _, folder, _ in asked] == ["gallery", "site"]
    assert len(opened) == 4 and all(one.startswith("http://127.0.0.1:") for one in opened)
