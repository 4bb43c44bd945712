"""How commands show that they work, where there is no terminal."""

import io
import time

import rich.console
import typer.testing

import keras_flows as kf
from keras_flows.cli import console
from keras_flows.cli.app import app


def test_lines_come_at_once_and_now_and_then(monkeypatch):
    said = io.StringIO()
    monkeypatch.setattr(console, "err", rich.console.Console(file=said))
    monkeypatch.setattr(console, "EVERY", 0.01)
    with console.working("compiling", total=2000) as progress:
        assert said.getvalue() == "compiling\n"
        progress.advance(1500)
        progress.describe("scoring")
        deadline = time.monotonic() + 10
        while "scoring: 1,500 of 2,000, after" not in said.getvalue():
            assert time.monotonic() < deadline
            time.sleep(0.01)
    lines = said.getvalue()
    time.sleep(0.05)
    assert said.getvalue() == lines, "it went on after the work"


def test_a_bar_on_a_terminal(monkeypatch):
    said = io.StringIO()
    terminal = rich.console.Console(file=said, force_terminal=True, width=100)
    monkeypatch.setattr(console, "err", terminal)
    with console.working("scoring", total=3) as progress:
        progress.advance(3)
    assert "3/3" in said.getvalue()


def test_version():
    result = typer.testing.CliRunner().invoke(app, ["--version"])
    assert result.exit_code == 0 and result.stdout == f"keras-flows {kf.__version__}\n"
