"""Whether the flows do on a GPU what they do on the CPU, and how fast: a table, and an exit code.

    python scripts/check_gpu.py              # all families; without a GPU it checks nothing
    python scripts/check_gpu.py Glow Jet     # some of them

For every family XLA compiles a training step on the GPU, and its numbers are compared with those of
the CPU from the same weights, data and draws: log_prob, the loss before and after one update, and
the weights after it, TensorFloat-32 off. Then it is timed with TensorFloat-32 on, as people train.
Where a network can be of bfloat16, that step is compared with the float32 one, too. The exit code
is 1 where anything disagrees or does not compile.
"""

import dataclasses
import sys
import time
import traceback
from typing import Annotated

import keras
import numpy as np
import rich.console
import rich.table
import tensorflow as tf
import typer

import keras_flows as kf

# Of each family a flow of its published kind, with fewer steps, so that it compiles in minutes.
IMAGE, VECTOR = (32, 32, 3), (30,)
CASES = {
    "IDenseNet": (IMAGE, {"blocks": (1, 1, 1), "growth": 64, "bits": 8}),
    "ResidualFlow": (IMAGE, {"blocks": (1, 1, 1), "bits": 8}),
    "DenseFlow": (IMAGE, {"units": (2, 1, 1), "modules": (1, 1, 2)}),
    "SplineFlow": (VECTOR, {}),
    "MaskedAutoregressiveFlow": (VECTOR, {"batch_normalization": True}),
    "RealNVP": (VECTOR, {}),
    "ImageRealNVP": (IMAGE, {"blocks": 2}),
    "PixelCNN": (IMAGE, {"blocks": 2}),
    "PixelCNNPlusPlus": (IMAGE, {"blocks": 1, "width": 40}),
    "InterlacedFlow": (IMAGE, {"blocks": 1, "top_blocks": 1}),
    "Glow": (IMAGE, {"steps": 2}),
    "FlowPlusPlus": (IMAGE, {"couplings": (1, 1, 1), "blocks": 2}),
    "PoolFlow": (IMAGE, {"steps": 1, "depth": 2}),
    "MaCow": (IMAGE, {"steps": (1, (1, 1), 1), "widths": (24, 64, 64)}),
    "TarFlow": (IMAGE, {"width": 256, "blocks": 2, "layers": 2, "heads": 4, "patch": 4}),
    "Jet": (IMAGE, {"width": 256, "couplings": 4, "layers": 2, "heads": 4}),
    "VFlow": (IMAGE, {"couplings": (1, 1, 1, 1), "blocks": 2}),
    "AugmentedNormalizingFlow": (VECTOR, {}),
}
# How far a number may be from the CPU's, relative to the largest of its kind: sums of thousands of
# float32 products in another order.
TOLERANCE = 2e-3
# Of a log_prob with networks of bfloat16, which keeps 8 bits, from that of float32.
HALF_TOLERANCE = 5e-2
STEPS = 20
_out = rich.console.Console()


@dataclasses.dataclass
class Numbers:
    """What a flow computes on a device.

    Attributes:
        log_prob: Of the batch, before any update.
        losses: Of the batch, before and after an update.
        change: What the update did to the weights, one array.
    """

    log_prob: np.ndarray
    losses: np.ndarray
    change: np.ndarray


def data(shape, flow, size):
    """A batch for a flow: integers where it dequantizes, always the same."""
    rng = np.random.default_rng(0)
    if flow.bits:
        return rng.integers(0, 2**flow.bits, (size, *shape)).astype("float32")
    return rng.standard_normal((size, *shape)).astype("float32")


def built(name, device, weights=None, **more):
    """The compiled flow of a case on a device, with given weights; its step is left to XLA."""
    shape, arguments = CASES[name]
    with tf.device(device):
        keras.utils.set_random_seed(1)
        flow = getattr(kf.models, name)(shape, **arguments, **more)
        flow.converge()
        if weights is not None:
            flow.set_weights(weights)
        flow.compile(keras.optimizers.SGD(1e-3, global_clipnorm=1.0), jit_compile=True)
    return flow


def numbers(flow, x, device):
    """What a flow computes of a batch, as `Numbers`; its weights have an update more then."""
    with tf.device(device):
        log_prob = flow.log_prob(x, seed=1).numpy()
        before = flow.get_weights()
        losses = [flow.train_on_batch(x, return_dict=True)["loss"] for _ in range(2)]
        after = flow.get_weights()
    change = [np.ravel(b - a) for a, b in zip(before, after, strict=True)]
    return Numbers(log_prob, np.array(losses, "float64"), np.concatenate(change))


def differences(expected, got):
    """The largest difference of every kind of number, relative to the largest of them."""
    result = {}
    for field in dataclasses.fields(Numbers):
        one, other = getattr(expected, field.name), getattr(got, field.name)
        scale = max(float(np.abs(one).max()), np.finfo("float32").tiny)
        result[field.name] = float(np.abs(one - other).max()) / scale
    return result


def pace(flow, x, device):
    """Examples a second in training, and the peak memory of the device in GB, or None."""
    gpu = "GPU" in device
    with tf.device(device):
        flow.train_on_batch(x)
        if gpu:
            tf.config.experimental.reset_memory_stats(device)
        began = time.perf_counter()
        for _ in range(STEPS):
            flow.train_on_batch(x)
        seconds = time.perf_counter() - began
    peak = tf.config.experimental.get_memory_info(device)["peak"] / 1e9 if gpu else None
    return STEPS * len(x) / seconds, peak


def check(name, device, batch_size):
    """A row of the table for a case, and what is wrong with it, a list of sentences."""
    tf.config.experimental.enable_tensor_float_32_execution(False)
    on_cpu = built(name, "CPU:0")
    weights, x = on_cpu.get_weights(), data(CASES[name][0], on_cpu, batch_size)
    flow = built(name, device, weights)
    found = differences(numbers(on_cpu, x, "CPU:0"), numbers(flow, x, device))
    wrong = [
        f"{name}: {kind} differs from the CPU's by {value:.1e} of its size"
        for kind, value in found.items()
        if not value <= TOLERANCE
    ]
    half = "-"
    if name == "DenseFlow":
        difference = half_difference(name, device, weights, x)
        half = f"{difference:.1e}"
        if not difference <= HALF_TOLERANCE:
            wrong.append(f"{name}: with bfloat16, log_prob differs by {difference:.1e}")
    tf.config.experimental.enable_tensor_float_32_execution(True)
    flow.make_train_function(force=True)  # compiled again, as the flag is read then
    rate, peak = pace(flow, x, device)
    memory = "-" if peak is None else f"{peak:.2f}"
    row = [name, *(f"{value:.1e}" for value in found.values()), half, f"{rate:,.0f}", memory]
    return row, wrong


def half_difference(name, device, weights, x):
    """How far log_prob is off with networks of mixed bfloat16; infinity where a step fails."""
    plain = built(name, device, weights)
    mixed = built(name, device, weights, network_dtype="mixed_bfloat16")
    with tf.device(device):
        expected, got = (flow.log_prob(x, seed=1).numpy() for flow in (plain, mixed))
        loss = mixed.train_on_batch(x)
    if not np.isfinite(loss).all():
        return float("inf")
    return float(np.abs(expected - got).max() / np.abs(expected).max())


def main(
    cases: Annotated[list[str] | None, typer.Argument(help="Models; all by default")] = None,
    batch_size: Annotated[int, typer.Option(help="Examples in a batch", min=2)] = 32,
    device: Annotated[
        str | None, typer.Option(help="Such as GPU:1; CPU:0 tries this script itself")
    ] = None,
):
    """Compares a GPU with the CPU, and exits with 1 where they disagree."""
    for case in cases or ():
        if case not in CASES:
            raise typer.BadParameter(f"{case!r} is none of {', '.join(CASES)}.")
    if device is None:
        gpus = tf.config.list_physical_devices("GPU")
        if not gpus:
            _out.print("There is no GPU that TensorFlow can use: nothing checked.")
            return
        device = "GPU:0"
        details = tf.config.experimental.get_device_details(gpus[0])
        _out.print(f"GPU:0 is a {details.get('device_name', 'GPU without a name')}")
    kinds = [field.name for field in dataclasses.fields(Numbers)]
    columns = ["model", *kinds, "bfloat16", "examples/s", "peak GB"]
    table, failures = rich.table.Table(*columns), []
    for name in cases or CASES:
        _out.print(f"{name}: compiling", highlight=False)
        try:
            row, wrong = check(name, device, batch_size)
            table.add_row(*row)
            failures += wrong
        except Exception as error:  # one family must not hide the others
            traceback.print_exc()
            failures.append(f"{name}: {type(error).__name__}")
    _out.print(table)
    for sentence in failures:
        _out.print(sentence, style="red", highlight=False, soft_wrap=True)
    if failures:
        sys.exit(1)
    _out.print(f"all agree, within {TOLERANCE} of their size")


if __name__ == "__main__":
    typer.run(main)
