"""The README says what is true: its table is the zoo's, its tree the real one, its example runs."""

import importlib
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


def blocks(text):
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def test_the_zoo_table_is_up_to_date(monkeypatch):
    monkeypatch.syspath_prepend(REPOSITORY / "scripts")
    script = importlib.import_module("update_readme")
    marked = importlib.import_module("marked")
    text = script.README.read_text(encoding="utf-8")
    updated = marked.updated(text, script.SCRIPT, script.tables())
    assert updated == text, "run python scripts/update_readme.py"


def test_the_tree_is_the_real_one():
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    tree = re.search(r"## Where things are\n\n```\n(.*?)```", text, re.DOTALL).group(1)
    rows = re.findall(r"^( *)(\S+) +\S", tree, re.M)
    assert len(rows) == len(tree.splitlines())
    top = {name for indent, name in rows if not indent}
    package = {name for indent, name in rows if indent}
    # Of git, because outputs and environments may lie beside.
    listed = subprocess.run(
        ["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    parts = [path.split("/") for path in listed if not path.startswith(".")]
    assert top == {f"{first}/" for first, *rest in parts if rest}
    packages = {f"{path[1]}/" for path in parts if path[0] == "keras_flows" and len(path) > 2}
    assert packages <= package
    assert all((REPOSITORY / "keras_flows" / name).exists() for name in package)


def test_the_flow_of_the_transforms_page_works():
    names = {}
    exec(blocks((REPOSITORY / "docs" / "transforms.md").read_text(encoding="utf-8"))[-1], names)
    flow = names["flow"]
    x = np.random.default_rng(0).normal(size=(5, 2)).astype("float32")
    np.testing.assert_allclose(flow.decode(flow.encode(x)), x, atol=1e-5)


def test_the_data_of_the_training_page(capsys):
    exec(blocks((REPOSITORY / "docs" / "training.md").read_text(encoding="utf-8"))[0], {})
    printed = capsys.readouterr().out
    assert "(8, 8, 1) 5 1500 297" in printed and "(64, 8, 8, 1) <dtype: 'uint8'>" in printed


def test_the_page_of_families(capsys):
    (block,) = blocks((REPOSITORY / "docs" / "families.md").read_text(encoding="utf-8"))
    exec(block, {})
    assert capsys.readouterr().out == "exact (4,)\n"


@pytest.mark.slow  # a training run
def test_the_page_of_vectors(capsys):
    names = {}
    for block in blocks((REPOSITORY / "docs" / "vectors.md").read_text(encoding="utf-8")):
        exec(block, names)
    printed = capsys.readouterr().out
    assert "(2,) (4, 3)" in printed and "-inf]" in printed and "nan" not in printed


@pytest.mark.slow  # a training run
def test_the_recipe_of_the_training_page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(blocks((REPOSITORY / "docs" / "training.md").read_text(encoding="utf-8"))[1], {})
    text = (tmp_path / "trained" / "checkerboard_small" / "README.md").read_text(encoding="utf-8")
    assert "checkerboard, fresh points" in text


@pytest.mark.slow  # two trainings, and an export
def test_the_page_of_tables(tmp_path, monkeypatch, capsys):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("onnxruntime")
    from keras_flows.fitting import defaults

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(defaults, "MOST_STEPS", 40)
    small = {"layers": 1, "bins": 4, "width": 8, "blocks": 1}
    monkeypatch.setattr(defaults, "arguments", lambda *_: small)
    rng = np.random.default_rng(0)

    def patients(n):
        age = rng.normal(40.0, 10.0, n)
        return pandas.DataFrame({"age": age, "dose": np.exp(0.05 * age + rng.normal(size=n))})

    patients(300).to_csv("patients.csv", index=False)
    patients(40)[["dose", "age"]].to_csv("new.csv", index=False)
    names = {"held_out": patients(100), "new": patients(7)}
    page = blocks((REPOSITORY / "docs" / "tables.md").read_text(encoding="utf-8"))
    for block in page:
        if "columns=[" in block:
            more = {"share": rng.uniform(size=300), "angle": rng.uniform(0, 360, 300)}
            more["sex"] = rng.choice(["f", "m"], 300)
            pandas.read_csv("patients.csv").assign(**more).to_csv("patients.csv", index=False)
        exec(block, names)
    printed = capsys.readouterr().out
    assert "test NLL" in printed and (tmp_path / "my_flow" / "calibration.npz").is_file()
    assert "['real', 'positive', 'interval (0, 1)', 'periodic (360)', 'category: f, m']" in printed
    assert "(7, 2)" in printed and printed.endswith("True\n")  # the same p-values


def test_the_page_of_tables_has_the_rules():
    from keras_flows.data import columns
    from keras_flows.fitting import defaults

    text = (REPOSITORY / "docs" / "tables.md").read_text(encoding="utf-8")
    for number in (defaults.EPOCHS, f"{defaults.MOST_STEPS:,}", defaults.LEARNING_RATE):
        assert str(number) in text
    assert f"fewer\nthan {defaults.ROWS_A_COLUMN} rows a column" in text
    for kind in (*columns._PLAIN, *columns._NUMBERS, "category"):
        assert f"| `{kind}`" in text


@pytest.mark.slow  # XLA compiles the training step of the whole flow
def test_the_ten_lines_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(blocks((REPOSITORY / "README.md").read_text(encoding="utf-8"))[0], names)
    assert names["samples"].shape == (1000, 2)
    assert np.mean(names["scores"]) == pytest.approx(-2.39, abs=0.1)
    assert (tmp_path / "my_flow" / "model.weights.h5").is_file()
