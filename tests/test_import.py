"""What `import keras_flows` costs, and that it is enough."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

API = Path(__file__).resolve().parents[1] / "docs" / "api.md"

HEAVY = ("tensorflow_probability", "tf2onnx", "onnx", "onnxruntime", "matplotlib", "pandas")
HEAVY += ("tensorflow_datasets", "sklearn", "tf_keras", "typer", "rich", "pydantic")

PROGRAM = f"""
import sys
import keras, tensorflow
before = set(sys.modules)
import keras_flows
import keras_flows.noise, keras_flows.measure.evaluation, keras_flows.training
new = set(sys.modules) - before
print(sorted(name for name in {HEAVY!r} if name in new))
"""


def test_heavy_libraries_are_left_alone():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_a_command_finds_the_classes_of_a_preset(tmp_path):
    # In a process that imports nothing but what the command does.
    command = [sys.executable, "-m", "keras_flows", "score", "idensenet_lc_two_moons", "none.csv"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "error: There is no file none.csv."


@pytest.mark.slow  # imports everything
def test_nothing_else_has_to_be_imported():
    names = re.findall(r"^\| `(kf\.[\w.]+)`", API.read_text(encoding="utf-8"), re.M)
    # Backwards, so that no name lives on what an earlier one imported.
    program = "import keras_flows as kf\n" + "\n".join(reversed(names)) + "\nprint('done')"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert len(names) > 100 and done.stdout.strip() == "done"
