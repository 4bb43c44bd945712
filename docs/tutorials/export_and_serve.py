# %% [markdown]
# # Export and serve
#
# What runs in production need not have Keras, nor TensorFlow: a flow is exported to ONNX or SavedModel,
# compared with the files before they are yours, and scored with a runtime of a few megabytes. This
# tutorial exports a calibrated flow, scores with onnxruntime alone, and answers requests over HTTP on
# this machine. It needs `pip install "keras-flows[export]"`.

# %%
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd

import keras_flows as kf

flow = kf.zoo.load("spline_iris")
report = kf.export.to_onnx(flow, "deployed", alpha=0.05)
for row in report.rows:
    print(f"{row.check:55} {row.measured:<12.3} at most {row.tolerance:.3}")

# %% [markdown]
# An export that disagrees with its flow is an error and leaves nothing behind. What was written:

# %%
manifest = json.loads(Path("deployed/manifest.json").read_text())
for name, graph in manifest["graphs"].items():
    cost = graph["cost"]
    print(f"{name:10} {cost['bytes'] / 1e3:6.0f} kB, {cost['latency_ms']:.2f} ms for one row")

# %% [markdown]
# `score` does all that deciding takes: x to log_prob, conformal p-value and flag. Which columns x has, in
# which order, stands in the manifest.
#
# ## Score without Keras
#
# The next cell imports NumPy and onnxruntime, nothing else.

# %%
import onnxruntime

session = onnxruntime.InferenceSession("deployed/score.onnx")
rows = flow.sample(5, seed=0).numpy()
rows[4, 0] *= 5.0  # one that is odd
log_prob, p_value, flag = session.run(None, {"x": rows})
for numbers in zip(log_prob, p_value, flag, strict=True):
    print("log_prob {:9.2f} nats, p-value {:.4f}, flag {}".format(*numbers))

# %% [markdown]
# They are the numbers of Python:

# %%
table = pd.DataFrame(rows, columns=[column.name for column in flow.schema.event])
decision = kf.detect.decide(flow, table, alpha=0.05)
print(np.array_equal(p_value, decision.p_value), np.array_equal(flag, decision.flag))

# %% [markdown]
# ## Serve
#
# A service is a few lines around the session. This one listens on this machine only; put whatever you
# use for services in its place. It refuses what is not a matrix of finite numbers.

# %%
import http.server
import threading
import urllib.error
import urllib.request


class Scores(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        try:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            x = np.array(json.loads(body), "float32")
            if x.ndim != 2 or x.shape[1] != flow.event_shape[0] or not np.isfinite(x).all():
                raise ValueError(f"Give finite rows of {flow.event_shape[0]} columns.")
            answer, status = dict(zip(NAMES, session.run(None, {"x": x}), strict=True)), 200
            answer = {name: values.tolist() for name, values in answer.items()}
        except (ValueError, TypeError) as error:
            answer, status = {"error": str(error)}, 400
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *arguments):
        pass


NAMES = [output.name for output in session.get_outputs()]
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Scores)
threading.Thread(target=server.serve_forever, daemon=True).start()


def ask(rows):
    request = urllib.request.Request(
        f"http://127.0.0.1:{server.server_port}", json.dumps(rows).encode()
    )
    return json.load(urllib.request.urlopen(request))


print(ask(rows[3:].tolist()))

# %% [markdown]
# What it cannot score it says:

# %%
try:
    ask([[1.0, 2.0]])
except urllib.error.HTTPError as error:
    print(error.code, error.read().decode())
server.shutdown()

# %% [markdown]
# ## Verify what was delivered
#
# Checksums, loading, the recorded numbers and the round trip, without the flow: run it where the files
# arrive. From a shell it is `keras-flows verify deployed`, which exits with 1 where anything differs.

# %%
print(all(row.passed for row in kf.export.verify("deployed").rows))

# %% [markdown]
# A file that was changed on its way does not pass:

# %%
damaged = Path(shutil.copytree("deployed", "damaged"))
with open(damaged / "score.onnx", "ab") as file:
    file.write(b"x")
try:
    kf.export.verify(damaged)
except kf.ExportError as error:
    print(error)

# %% [markdown]
# ## A SavedModel
#
# `kf.export.to_saved_model(flow, "served/1")`, or `keras-flows export NAME served/1 -f saved-model`, is
# laid out as TensorFlow Serving expects it, with a signature for every graph and one for sampling.
#
# ## Where to go next
#
# * [Exports](../export.md): tolerances, noise in graphs, what a graph costs.
# * [What people deploy](../deploy.md): scripts that score files with such a folder.
# * [Scale out](scale_out.md): many rows, many processes.
