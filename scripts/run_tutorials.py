"""Executes the tutorials and explanations of the documentation, and keeps what they gave.

    python scripts/run_tutorials.py                            # those whose scripts have changed
    python scripts/run_tutorials.py docs/tutorials/hmc.py …    # these, in any case

A script docs/…/NAME.py has cells, as editors and Jupytext know them (`# %%`). It is run in a fresh
kernel in an empty folder, and becomes NAME.ipynb beside it, with outputs and pictures. Where only
prose was changed, the outputs stay, and nothing runs. What is written to standard error, such as
progress and warnings, is printed here and not kept. A cell that draws has a text for those who
cannot see it: `# %% alt="…"`.
"""

import datetime
import importlib.metadata
import os
import resource
import sys
import tempfile
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

ROOT = Path(__file__).resolve().parents[1]
VERSIONS = ("keras-flows", "tensorflow", "keras")


def sources():
    """The scripts of all executed pages."""
    places = (ROOT / "docs" / "tutorials", ROOT / "docs" / "explanation")
    return sorted(path for place in places for path in place.glob("*.py"))


def read(path):
    """The cells of a script, as a notebook without outputs."""
    notebook = jupytext.read(path)
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"
    return notebook


def kept(path):
    """The notebook kept of a script, None where there is none."""
    notebook = path.with_suffix(".ipynb")
    return nbformat.read(notebook, as_version=4) if notebook.is_file() else None


def is_present(path, prose=True):
    """Whether the notebook of a script is of the script as it is, in code and, if asked, prose."""

    def cells(notebook):
        code = [cell for cell in notebook.cells if prose or cell.cell_type == "code"]
        alt = [cell.metadata.get("alt") for cell in code if prose]
        return [(cell.cell_type, cell.source) for cell in code], alt

    notebook = kept(path)
    return notebook is not None and cells(notebook) == cells(read(path))


def with_prose(path):
    """The kept notebook of a script of which only prose has changed, with the new prose."""
    notebook, before = read(path), kept(path)
    outputs = iter([cell for cell in before.cells if cell.cell_type == "code"])
    for cell in notebook.cells:
        if cell.cell_type == "code":
            ran = next(outputs)
            cell.update(outputs=ran["outputs"], execution_count=ran["execution_count"])
    notebook.metadata = before.metadata
    return notebook


def execute(path):
    """Runs a script; the notebook, with its outputs.

    Raises:
        nbclient.exceptions.CellExecutionError: If a cell fails.
        ValueError: If a cell draws without a text, or has a text and does not draw.
    """
    notebook = read(path)
    notebook.metadata["kernelspec"] = {
        "name": "python3",
        "display_name": "Python 3",
        "language": "python",
    }
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "COLUMNS": "100",
    }
    began = _processor_seconds()
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook,
            kernel_name="python3",
            record_timing=False,
            coalesce_streams=True,
            resources={"metadata": {"path": folder}},
        )
        client.execute(env=environment)
    for number, cell in enumerate(notebook.cells):
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            _check_picture(cell, f"{path.name}, cell {number}")
            cell["outputs"] = [output for output in cell["outputs"] if not _is_progress(output)]
    notebook.metadata["keras_flows"] = {
        "seconds": round(_processor_seconds() - began, 1),
        "date": datetime.date.today().isoformat(),
        "versions": {name: importlib.metadata.version(name) for name in VERSIONS},
    }
    return notebook


def _processor_seconds():
    """What kernels that have ended took, and their commands: other work does not lengthen it."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _is_progress(output):
    """Whether it was printed to standard error, and if so prints it here.

    In a kernel, what Rich prints there becomes HTML beside its text.
    """
    text = output.get("text") if output.get("name") == "stderr" else None
    data = output.get("data", {})
    if data.get("text/html", "").startswith('<pre style="white-space:pre'):
        text = data["text/plain"]
    if text is None:
        return False
    print(text, file=sys.stderr)
    return True


def _check_picture(cell, where):
    """A cell that draws has a text, and one that has a text draws."""
    drawn = any("image/png" in output.get("data", {}) for output in cell["outputs"])
    if drawn and "alt" not in cell.metadata:
        raise ValueError(f'{where} draws and needs a text: # %% alt="…".')
    if "alt" in cell.metadata and not drawn:
        raise ValueError(f"{where} has the text of a picture, and drew none.")


def main(paths):
    """Runs scripts one after the other, also where one fails; returns whether all ran."""
    failed = []
    for path in paths:
        try:
            notebook = execute(path)
        except (CellExecutionError, ValueError) as error:
            failed.append(path.name)
            print(f"{path.name}: {error}", file=sys.stderr)
            continue
        nbformat.write(notebook, path.with_suffix(".ipynb"))
        seconds = notebook.metadata["keras_flows"]["seconds"]
        print(f"{path.name}: {seconds:.0f} s of processor time", flush=True)
    if failed:
        print(f"Failed: {', '.join(failed)}", file=sys.stderr)
    return not failed


if __name__ == "__main__":
    given = [Path(argument).resolve() for argument in sys.argv[1:]]
    if not given:
        for path in sources():
            if is_present(path, prose=False) and not is_present(path):
                nbformat.write(with_prose(path), path.with_suffix(".ipynb"))
                print(f"{path.name}: new prose")
    sys.exit(not main(given or [path for path in sources() if not is_present(path)]))
