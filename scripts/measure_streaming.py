"""Measures scoring from a Parquet file beside scoring from memory: rows per second, and memory.

    python scripts/measure_streaming.py --rows 10000000

Writes rows of 8 columns, scores them part by part as `keras-flows score … -o FOLDER` does, and the
same rows from memory, with the same flow and the same size of batches, each in a process of its
own. It exits with an error if the resident memory of the former exceeds 1.5 GB at any time, if it
scores over 10 % fewer rows per second (of the processor: others may use the machine), or if the
scores differ. Of an export (`--runtime onnx`) as of a preset.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

COLUMNS = 8
MEMORY, LOSS = 1.5, 0.10  # GB, and of the rows per second
# Rows that are written at a time, and are in a row group.
GROUP = 250_000


def write_rows(path, rows):
    """Rows of a correlated normal density, float32, without having all of them in memory."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet

    rng = np.random.default_rng(0)
    mix = rng.normal(size=(COLUMNS, COLUMNS)) / np.sqrt(COLUMNS)
    names = [f"x{i}" for i in range(COLUMNS)]
    schema = pa.schema([(name, pa.float32()) for name in names])
    with pyarrow.parquet.ParquetWriter(path, schema) as writer:
        for first in range(0, rows, GROUP):
            n = min(GROUP, rows - first)
            x = (rng.standard_normal((n, COLUMNS)) @ mix).astype("float32")
            writer.write_table(pa.table(dict(zip(names, x.T, strict=True)), schema=schema))


def write_flow(folder, runtime):
    """A flow on 8 columns as `keras-flows fit` would choose for few rows, and its export."""
    import keras_flows as kf

    flow = kf.models.SplineFlow((COLUMNS,), width=32, blocks=1)
    flow.save_to_preset(folder / "preset")
    if runtime == "onnx":
        kf.export.to_onnx(flow, folder / "exported")
        return folder / "exported"
    return folder / "preset"


# Both begin when the flow is compiled. Seconds of the clock, of the processor, and what came out.
IN_MEMORY = """
import json, sys, time
handle, path, runtime, _ = sys.argv[1:]
import numpy as np, pyarrow.parquet
from keras_flows import stream
from keras_flows.stream import inputs
table = pyarrow.parquet.read_table(path)
x = np.stack([column.to_numpy() for column in table.columns], axis=1)
del table
scorer = (stream.OnnxScorer if runtime == "onnx" else stream.KerasScorer)(handle, "score")
stream.in_memory(scorer, inputs.InMemory("warm", x[: scorer.takes.batch]))
began = time.perf_counter(), time.process_time()
made = stream.in_memory(scorer, inputs.InMemory("memory", x))["log_prob"]
times = time.perf_counter() - began[0], time.process_time() - began[1]
print(json.dumps([*times, float(made.astype("float64").sum())]))
"""
PARTS = """
import json, sys, time
handle, path, runtime, out = sys.argv[1:]
import numpy as np
from keras_flows import stream
from benchmarks.serving import peak
from keras_flows.stream import inputs
scorer = (stream.OnnxScorer if runtime == "onnx" else stream.KerasScorer)(handle, "score")
warm = np.zeros((scorer.takes.batch, *scorer.takes.event_shape), "float32")
stream.in_memory(scorer, inputs.InMemory("warm", warm))
began = time.perf_counter(), time.process_time()
stream.run(scorer, stream.open_input(path, scorer.takes), out)
times = time.perf_counter() - began[0], time.process_time() - began[1]
print(json.dumps([*times, peak()]))
"""


def measured(program, *arguments):
    """What a program of its own process prints, as JSON."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    if "onnx" in arguments:
        environment["KERAS_FLOWS_RUNTIME"] = "onnx"
    command = [sys.executable, "-c", program, *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return json.loads(done.stdout.splitlines()[-1])


def main():
    """Prints the table, and exits with an error if a limit is passed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--runtime", choices=["keras", "onnx"], default="keras")
    parser.add_argument("--folder", type=Path, help="for the rows, which stay; by default none do")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as scratch:
        folder = Path(scratch)
        write_rows(folder / "rows.parquet", given.rows)
        flow = write_flow(folder, given.runtime)
        shared = (flow, folder / "rows.parquet", given.runtime, folder / "scores")
        clock, memory, total = measured(IN_MEMORY, *shared)
        streamed_clock, streamed, peak = measured(PARTS, *shared)
        same = sum_of(folder / "scores")
    loss = 1.0 - memory / streamed
    print(f"{given.rows:,} rows of {COLUMNS} columns, {given.runtime}")
    print("| | rows per second of the processor | seconds | of the clock |")
    print("| --- | --- | --- | --- |")
    print(f"| from memory | {given.rows / memory:,.0f} | {memory:.1f} | {clock:.1f} |")
    print(
        f"| part by part | {given.rows / streamed:,.0f} | {streamed:.1f} | {streamed_clock:.1f} |"
    )
    print(f"part by part: {-loss:+.1%} rows per second; peak resident memory {peak:.2f} GB")
    if abs(same - total) > 1e-6 * abs(total):
        sys.exit(f"error: the scores differ: their sums are {same} and {total}.")
    if peak > MEMORY or loss > LOSS:
        sys.exit(f"error: the limits are {MEMORY} GB and {LOSS:.0%}.")


def sum_of(folder):
    """The sum of all scores in a folder."""
    import pyarrow.dataset

    return sum(
        float(batch["log_prob"].to_numpy().astype("float64").sum())
        for batch in pyarrow.dataset.dataset(folder).to_batches()
    )


if __name__ == "__main__":
    main()
