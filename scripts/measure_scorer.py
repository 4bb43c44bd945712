"""Measures keras-flows-scorer: its size in a new environment, and how fast it starts and scores.

    python scripts/measure_scorer.py

Makes an environment, installs export/scorer into it, exports an entry of the zoo with the packages
of this one, and scores a row there, in new processes. It exits with an error if TensorFlow is
installed there, or the score differs from the flow's.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[1]
ENTRY, RUNS = "spline_iris", 3


def size(folder):
    """Megabytes of a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def seconds(*command):
    """The shortest of some runs of a command: clock, processor."""
    return min(_run(command) for _ in range(RUNS))


def _run(command):
    import resource

    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - began, used


def main():
    """Prints the numbers."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--environment", type=Path, help="one that has export/scorer; a new one by default"
    )
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        environment = given.environment or folder / "venv"
        if given.environment is None:
            subprocess.run([sys.executable, "-m", "venv", environment], check=True)
            pip = [environment / "bin" / "python", "-m", "pip", "install", "-q", "--no-compile"]
            subprocess.run([*pip, REPOSITORY / "export" / "scorer"], check=True)
        packages = next((environment / "lib").glob("python*/site-packages"))
        if (packages / "tensorflow").exists():
            sys.exit("error: TensorFlow is installed in the environment of the scorer.")
        print_sizes(packages)
        print_starts(environment)
        print_scores(environment, folder)


def print_sizes(packages):
    """What is installed, and how large it is."""
    print("| | MB |")
    print("| --- | --- |")
    print(f"| all packages | {size(packages):,.0f} |")
    for name in ("pyarrow", "pandas", "onnxruntime", "numpy", "keras_flows"):
        libraries = packages / f"{name}.libs"
        print(f"| {name} | {size(packages / name) + size(libraries):,.0f} |")


def print_starts(environment):
    """How long a process takes until it could score."""
    program = "import onnxruntime, keras_flows.stream; keras_flows.stream.OnnxScorer"
    clock, used = seconds(environment / "bin" / "python", "-c", program)
    print("| in a new process | seconds | of the processor |")
    print("| --- | --- | --- |")
    print(f"| `import keras_flows.stream, onnxruntime` | {clock:.1f} | {used:.1f} |", flush=True)


def print_scores(environment, folder):
    """A row scored there, as here."""
    import keras_flows as kf

    flow = kf.zoo.load(ENTRY)
    kf.export.to_onnx(flow, folder / "deployed")
    x = flow.sample(1, seed=0).numpy()
    names = [column.name for column in flow.schema.event]
    row = ",".join(repr(float(value)) for value in x[0])
    (folder / "row.csv").write_text(f"{','.join(names)}\n{row}\n")
    command = [environment / "bin" / "keras-flows", "score"]
    command += [folder / "deployed", folder / "row.csv", "--runtime", "onnx"]
    scored = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    np.testing.assert_allclose(float(scored.split()[1]), flow.log_prob(x)[0], rtol=1e-4)
    clock, used = seconds(*command)
    print(f"| a row scored by keras-flows-scorer | {clock:.1f} | {used:.1f} |", flush=True)
    command = [sys.executable, "-m", "keras_flows", "score", ENTRY, folder / "row.csv"]
    clock, used = seconds(*command)
    print(f"| a row scored by keras-flows, the preset | {clock:.1f} | {used:.1f} |")


if __name__ == "__main__":
    main()
