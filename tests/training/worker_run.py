"""One of several workers that fit flows; test_workers.py starts all of them.

    python worker_run.py fit INDEX FOLDER PORTS CASE ...     each case, into FOLDER/CASE-INDEX.npz
    python worker_run.py last INDEX FOLDER PORTS CASE        a fit without end
    python worker_run.py checks INDEX FOLDER PORTS           messages, into FOLDER/checks-INDEX.json

PORTS has commas between them; `alone` is the same by one process without a strategy.
"""

import json
import sys
from pathlib import Path

from keras_flows.training import workers

mode, index, folder, ports, *cases = sys.argv[1:]
index, folder, strategy = int(index), Path(folder), None
if ports != "alone":
    strategy = workers.join([f"localhost:{port}" for port in ports.split(",")], index)

import flows_of_replicas as flows  # noqa: E402  (the strategy comes before all other work)
import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

strategy = strategy or tf.distribute.get_strategy()


class Tell(keras.callbacks.Callback):
    """Says that training is on its way."""

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1:
            print("TRAINING", flush=True)


def message(function, *arguments, **keywords):
    """That of the ValueError a call raises, None without one."""
    try:
        function(*arguments, **keywords)
    except ValueError as error:
        return str(error)
    return None


def checks():
    """What goes wrong between workers, and what a shuffled epoch sees of the data."""
    with strategy.scope():
        flow = flows.spline()
        flow.compile(keras.optimizers.SGD(0.0))
    history = flow.fit(flows.ROWS, batch_size=16, epochs=2, verbose=0).history["nll_nats"]
    scores = flow.predict(flows.ROWS, batch_size=10, verbose=0)
    found = {
        "shuffled": [float(value) for value in history],
        "expected": -float(np.mean(flow.log_prob(flows.ROWS))),
        "predicted": float(np.abs(scores - flow.log_prob(flows.ROWS).numpy()).max()),
        "data": message(flow.fit, flows.ROWS + index, verbose=0),
        "first": workers.from_first(strategy, np.arange(3.0) + index).tolist(),
    }
    flow.trainable_weights[0].assign_add(float(index) * tf.ones_like(flow.trainable_weights[0]))
    found["weights"] = message(flow.fit, flows.ROWS, verbose=0)
    return found


if mode == "fit":
    for case in cases:
        with strategy.scope():
            made = flows.made(case)
        np.savez(folder / f"{case}-{index}.npz", **flows.fitted(made, case))
elif mode == "last":
    with strategy.scope():
        made = flows.made(cases[0])
    made.fit(flows.CASES[cases[0]][1], epochs=10**6, verbose=0, callbacks=[Tell()])
else:
    (folder / f"checks-{index}.json").write_text(json.dumps(checks()))
