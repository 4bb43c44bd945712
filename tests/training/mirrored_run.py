"""Fits with and without two replicas in one process; test_mirrored.py starts it.

    python mirrored_run.py FOLDER CASE ...

Of every case it leaves CASE-one.npz, CASE-two.npz and CASE-replicas.npz in FOLDER: what a fit gives
without a strategy and with one, and the weights of both replicas. The case `refused` leaves
refused.json, the messages of errors.
"""

import json
import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, 2 * [tf.config.LogicalDeviceConfiguration()])

import flows_of_replicas as flows  # noqa: E402  (after the devices are set)


def compared(case, folder, strategy):
    """The files of a case."""
    np.savez(folder / f"{case}-one.npz", **flows.fitted(flows.made(case), case))
    with strategy.scope():
        flow = flows.made(case)
    np.savez(folder / f"{case}-two.npz", **flows.fitted(flow, case))
    own = [strategy.experimental_local_results(weight.value) for weight in flow.weights]
    values = {f"{i} {k}": pair[k].numpy() for i, pair in enumerate(own) for k in range(2)}
    np.savez(folder / f"{case}-replicas.npz", **values)


def message(function, *arguments, **keywords):
    """That of the ValueError a call raises, None without one."""
    try:
        function(*arguments, **keywords)
    except ValueError as error:
        return str(error)
    return None


def refused(strategy):
    """What goes wrong under a strategy, by what is wrong."""
    made_outside = flows.spline()
    made_outside.compile("adam")
    outside, messages = keras.optimizers.Adam(), {}
    with strategy.scope():
        messages["flow"] = message(made_outside.fit, flows.ROWS, verbose=0)
        flow = flows.normalized()
        messages["optimizer"] = message(flow.compile, outside)
        messages["accumulation"] = message(
            flow.compile, keras.optimizers.Adam(gradient_accumulation_steps=2)
        )
        messages["scaled"] = message(
            flow.compile, keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam())
        )
        messages["compiled"] = message(flow.compile, "adam", jit_compile=True)
    return messages


def nan_in_one_replica(strategy):
    """What a fit says of a NaN that only the second replica meets, and whether weights changed."""
    with strategy.scope():
        flow = flows.spline()
        flow.compile("adam")
    before, x = flow.get_weights(), flows.ROWS.copy()
    x[15] = np.nan
    try:
        flow.fit(x, batch_size=20, shuffle=False, verbose=0)
    except ArithmeticError as error:
        same = all(np.array_equal(a, b) for a, b in zip(before, flow.get_weights(), strict=True))
        return f"{error} unchanged: {same}"
    return None


def main(folder, *cases):
    """Does what the module says."""
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    for case in cases:
        if case == "refused":
            messages = {**refused(strategy), "nan": nan_in_one_replica(strategy)}
            (folder / "refused.json").write_text(json.dumps(messages))
        else:
            compared(case, folder, strategy)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
