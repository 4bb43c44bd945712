# %% [markdown]
# # Scale out
#
# A table that does not fit into memory, a run that is killed, a machine without TensorFlow, many workers:
# the same command, the same bytes. This tutorial writes a table of 30,000 rows, scores it part by part,
# kills a run in the middle, and lets another one go on. It needs `pip install "keras-flows[data,export]"`.

# %%
import subprocess
import time
from pathlib import Path

import numpy as np
import pandas as pd

import keras_flows as kf

flow = kf.zoo.load("spline_iris")
names = [column.name for column in flow.schema.event]
rows = flow.sample(30_000, seed=0).numpy()
pd.DataFrame(rows, columns=names).to_parquet("rows.parquet", row_group_size=10_000)
print(names, f"{Path('rows.parquet').stat().st_size / 1e6:.1f} MB")

# %% [markdown]
# ## Score in parts
#
# An output without a suffix is a folder. Rows are read, scored and written 10,000 at a time; the memory
# does not grow with the table.

# %% language="bash"
# keras-flows score spline_iris rows.parquet -o scores --part-rows 10000
# ls scores

# %% [markdown]
# The manifest says what the parts are of: checksums of input, flow and every part, the seed, the kind of
# likelihood, and whether all parts are there. `verify` compares all of it with what is on the disk.

# %% language="bash"
# keras-flows verify scores

# %% [markdown]
# pandas, Arrow and Spark read the folder as one table:

# %%
scores = pd.read_parquet("scores")
print(scores.shape, f"mean {scores['log_prob'].mean():.3f} nats")

# %% [markdown]
# ## Without TensorFlow
#
# An export scores with onnxruntime alone. A process that scores so starts faster, and takes a fraction of
# the memory; the small distribution `keras-flows-scorer` installs no more than it needs
# ([Big inputs, and many machines](../scale.md)).

# %%
kf.export.to_onnx(flow, "deployed")
command = ["keras-flows", "score", "deployed", "rows.parquet", "--runtime", "onnx"]
command += ["--part-rows", "10000", "-o"]
subprocess.run([*command, "by_onnx"], check=True, capture_output=True)
by_onnx = pd.read_parquet("by_onnx")["log_prob"].to_numpy()
print("largest difference:", np.abs(by_onnx - scores["log_prob"].to_numpy()).max())

# %% [markdown]
# ## Killed, and resumed
#
# A run is killed without warning once its second part is there.

# %%
run = subprocess.Popen([*command, "killed"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
while run.poll() is None and not Path("killed/part-00001.parquet").is_file():
    time.sleep(0.001)
run.kill()
run.wait()


def parts(folder):
    return {part.name: part.read_bytes() for part in sorted(Path(folder).glob("part-*.parquet"))}


print("left:", list(parts("killed")))

# %% [markdown]
# `--resume` makes what is missing, and at most the one part again that was being written. In the end the
# bytes are those of the run that nobody killed.

# %%
subprocess.run([*command, "killed", "--resume"], check=True, capture_output=True)
print("the same bytes:", parts("killed") == parts("by_onnx"), len(parts("killed")), "parts")

# %% [markdown]
# ## Nothing is mixed
#
# A run goes on with its own input, flow, seed and options only. Anything else is an error that says which:

# %%
other = subprocess.run(
    [*command, "killed", "--resume", "--seed", "1"], capture_output=True, text=True
)
print("exit code", other.returncode)
print(other.stderr[other.stderr.index("error:") :].strip())

# %% [markdown]
# ## Many workers
#
# Every part depends on its rows and the flow alone: random numbers belong to the row, not to the batch or
# the worker. So it does not matter who makes a part, in what order, or how often. A job on any engine is
# this loop; here two threads of one process make the parts in turn.

# %%
from concurrent.futures import ThreadPoolExecutor

from keras_flows.stream import Job

job = Job(
    export=Path("deployed"), rows=Path("rows.parquet"), output=Path("by_workers"), part_rows=10_000
)
with job.held() as (missing, record):  # on the machine that holds the run
    workers = [job.open(), job.open()]  # on every worker

    def make(number):
        return job.make(*workers[number % 2], number)

    with ThreadPoolExecutor(2) as pool:
        for made in pool.map(make, missing):
            record(made)
print("the same bytes:", parts("by_workers") == parts("by_onnx"))

# %% [markdown]
# Programs for Ray Data and Apache Beam that do this over many machines, and go on after killed actors and
# nodes, are in `export/scale`; [Big inputs, and many machines](../scale.md) has what they promise, and what
# they do not.
#
# ## Where to go next
#
# * [Many devices, many machines](../workers.md): training on several GPUs or machines gives the numbers
#   of one.
# * [Export and serve](export_and_serve.md): one row at a time.
# * [Under faults](../faults.md): kills, full disks, damaged files.
