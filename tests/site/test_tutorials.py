"""What the executed pages show belongs to their scripts, which still run."""

import importlib
import re
from pathlib import Path

import pytest

pytest.importorskip("nbclient", reason="needs the extra docs")

REPOSITORY = Path(__file__).resolve().parents[2]
SOURCES = sorted((REPOSITORY / "docs" / "tutorials").glob("*.py"))
SOURCES += sorted((REPOSITORY / "docs" / "explanation").glob("*.py"))
MOST_SECONDS = 120


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(REPOSITORY / "scripts")
    return importlib.import_module("run_tutorials")


def test_all_tutorials_of_the_menu_are_executed():
    menu = (REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8")
    listed = set(re.findall(r": tutorials/(\w+)\.md$", menu, re.M))
    assert listed == {path.stem for path in SOURCES if path.parent.name == "tutorials"}
    assert len(listed) >= 9


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_what_is_kept_is_of_the_script(script, path):
    assert path in script.sources()
    assert script.is_present(path), f"run python scripts/run_tutorials.py {path}"
    notebook = script.kept(path)
    assert notebook.metadata["keras_flows"]["seconds"] < MOST_SECONDS
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.id for cell in code if not cell.execution_count] == []


def test_a_change_of_the_script_shows(script, tmp_path):
    text = '# %% [markdown]\n# # A page\n\n# %%\nprint("one")\n'
    path = tmp_path / "page.py"
    path.write_text(text, encoding="utf-8")
    assert not script.is_present(path)
    notebook = script.read(path)
    notebook.cells[1].update(
        outputs=[script.nbformat.v4.new_output("stream", text="one\n")], execution_count=1
    )
    notebook.metadata["keras_flows"] = {"seconds": 1.0}
    script.nbformat.write(notebook, path.with_suffix(".ipynb"))
    assert script.is_present(path)

    path.write_text(text.replace("A page", "The page"), encoding="utf-8")
    assert script.is_present(path, prose=False) and not script.is_present(path)
    anew = script.with_prose(path)
    assert anew.cells[0].source == "# The page" and anew.cells[1].outputs[0].text == "one\n"

    path.write_text(text.replace("one", "two"), encoding="utf-8")
    assert not script.is_present(path, prose=False)


@pytest.mark.slow  # up to two minutes each
@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_it_runs(script, path):
    outputs = [cell for cell in script.execute(path).cells if cell.get("outputs")]
    before = [cell for cell in script.kept(path).cells if cell.get("outputs")]
    assert [cell.id for cell in outputs] == [cell.id for cell in before]
