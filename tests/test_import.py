"""What `import keras_flows` costs."""

import subprocess
import sys

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
