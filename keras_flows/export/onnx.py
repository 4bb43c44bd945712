"""Flows as ONNX files."""

import contextlib
import gc
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from keras_flows.errors import ExportError
from keras_flows.export import cost, shared_weights, write
from keras_flows.export.compare import Report

if TYPE_CHECKING:
    from keras_flows.flow import Flow

# What tf2onnx converts flows to; above 18 it converts nothing.
_OPSETS = range(13, 19)
# Passes of tf2onnx that find nothing in the graph of a flow, and go through all of it each time.
_IDLE = {
    "remove_redundant_upsample",
    "const_dequantize_optimizer",
    "global_pool_optimizer",
    "q_dq_optimizer",
    "einsum_optimizer",
}


def to_onnx(
    flow: "Flow",
    folder: str | Path,
    opset: int = 17,
    seed: int = 0,
    alpha: float | None = None,
    graphs: Sequence[str] | None = None,
) -> Report:
    """Writes a flow as ONNX files, compared with the flow before they get their place.

    The folder holds `log_prob.onnx` (x to log_prob), `encode.onnx` (x to z and log_det),
    `decode.onnx` (z to x; NaN where the inverse does not converge), `manifest.json`, and
    `sample.npz` with inputs and the flow's outputs on them. Every file takes any batch size.
    Conditional flows have the input `context` as well, and where random numbers are consumed there
    is an input `noise`, `(batch, n)` standard normal numbers. Where log_prob has it there is also
    `log_prob_fixed.onnx` (x to log_prob), in which the noise is a constant drawn from the seed, the
    same for every example: see docs/export.md for what that makes of the number.

    A calibrated flow has `score.onnx` too: x, and the context of a conditional flow, to log_prob,
    `p_value` (float64) and `flag`, the numbers of `keras_flows.detect.decide`: where they are
    random, with its draws as constants. NaN has the p-value NaN, and is flagged.

    Two graphs are written only where `graphs` names them, of a flow whose steps are bijections of
    vectors: `steps` (x to log_prob, z, log_det, and `states`, `(batch, steps, *event_shape)`, what
    x is after every step), and `contractions`, where some are residual blocks `x + g(x)`
    (`points`, `(batch, blocks, *event_shape)`, to `g`, what the g of each block makes of its
    point: what a fixed-point inverse repeats).

    A flow that draws how many terms of the power series its log-det sums is exported with the
    fewest, and a log_prob that is biased; the manifest says so.

    Args:
        flow: A `keras_flows.Flow` in float32. Its spectral norms are brought to
            convergence, and its blocks certified.
        folder: A new folder, or an empty one.
        opset: ONNX operator set, 13 to 18.
        seed: Of the noise in `log_prob_fixed.onnx`, an integer, 0 or more.
        alpha: Of a calibrated flow, the false-positive rate at which `score.onnx` flags; 0.01 by
            default, or the smallest that its calibration reaches. The manifest has it.
        graphs: The names of those to write; by default all but the two of the steps.

    Returns:
        The `keras_flows.export.compare.Report` of the comparison.

    Raises:
        ImportError: If tf2onnx, onnx or onnxruntime is not installed.
        LipschitzError: If a residual block cannot be certified invertible.
        ConvergenceError: If the flow cannot decode a standard normal latent.
        ExportError: If something in the flow has no ONNX form, a file disagrees with the flow by
            more than 1e-4 relative, or the folder is not empty.
        ValueError: If the opset or the seed is out of range, alpha is out of reach, the schema of
            the flow does not fit it, or it has no graph of a name.
    """
    with _needs_export_extra():
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import tf2onnx  # noqa: F401
    if opset not in _OPSETS:
        raise ValueError(f"opset must be from {_OPSETS[0]} to {_OPSETS[-1]}; got {opset}.")
    if flow.compute_dtype == "float64":
        raise ExportError(
            "This flow computes in float64, for which onnxruntime lacks operations (Softplus among "
            "them). Rebuild it in float32 and set its weights, or export a SavedModel."
        )
    return write.export(flow, folder, Onnx(opset), seed, alpha, graphs)


class Onnx(write.Format):
    """The ONNX format.

    Args:
        opset: The operator set to write; None to read only.
    """

    kind, suffix, packages = "onnx", ".onnx", ("tf2onnx", "onnx", "onnxruntime")

    def __init__(self, opset=None):
        self.opset = opset

    def write(self, flow, exported, folder):
        """Writes the graphs, as `Format` says."""
        import onnx

        models = {}
        for name, (graph, endpoint) in exported.items():
            whole, function = endpoint.free or endpoint, graph.function.name
            if function not in models:
                models[function] = _convert(whole, function, self.opset)
                if self.opset >= 14:  # where Reshape has the attribute
                    _allow_no_examples(models[function].graph, set())
            part = _select(models[function], whole, graph.outputs)
            if endpoint.noise is not None:
                part = _with_noise(part, endpoint.noise)
            shared_weights.share(part)
            onnx.save(part, folder / f"{name}{self.suffix}")

    def load(self, folder, described):
        """Loads the graphs into onnxruntime, as `Format` says.

        Raises:
            ImportError: If onnxruntime is not installed.
        """
        with _needs_export_extra():
            import onnxruntime
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        loaded = {}
        for name, graph in described.graphs.items():
            path = folder / graph.name
            try:
                session, load_ms = cost.timed(
                    onnxruntime.InferenceSession, str(path), options, ["CPUExecutionProvider"]
                )
            except Exception as error:  # onnxruntime raises many kinds
                raise ExportError(f"{graph.name} does not load in onnxruntime: {error}") from error
            loaded[name] = cost.Loaded(_runner(session), load_ms)
        return loaded

    def count_nodes(self, folder, graph, loaded):
        """The nodes of a graph, as `Format` says."""
        import onnx

        return _count_nodes(onnx.load(folder / graph.name).graph)


def _runner(session):
    names = [output.name for output in session.get_outputs()]
    return lambda inputs: dict(zip(names, session.run(None, inputs), strict=True))


@contextlib.contextmanager
def _needs_export_extra():
    try:
        yield
    except ImportError as error:
        raise ImportError(
            f"ONNX needs tf2onnx, onnx and onnxruntime, and one is missing ({error}). Install them "
            "with: pip install 'keras-flows[export]'"
        ) from error


def _convert(endpoint, name, opset):
    """The ONNX model of an endpoint with all its outputs."""
    import tf2onnx

    with (
        _tf2onnx_errors() as errors,
        _without_copies(),
        _without_idle_passes(),
        _without_collection(),
    ):
        try:
            model, _ = tf2onnx.convert.from_function(
                endpoint.function, list(endpoint.inputs.values()), opset=opset
            )
        except Exception as error:  # tf2onnx raises many kinds
            raise ExportError(f"{name} has no ONNX form: {error}") from error
    if errors:
        # tf2onnx goes on after these, to a file that does not load.
        raise ExportError(f"{name} has no ONNX form: {'; '.join(errors)}")
    return model


@contextlib.contextmanager
def _tf2onnx_errors():
    """Collects the first lines of the errors that tf2onnx only logs."""
    errors = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = lambda record: errors.append(record.getMessage().split("\n")[0])
    logger = logging.getLogger("tf2onnx")
    propagate = logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield errors
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagate


@contextlib.contextmanager
def _without_copies():
    """Stops tf2onnx from copying the whole graph before each of its passes: a third of the time.

    The copies let it go on after a pass that failed; without them, that is an error.
    """
    name = "TF2ONNX_CATCH_ERRORS"
    before = os.environ.get(name)
    os.environ[name] = "FALSE"
    try:
        yield
    finally:
        del os.environ[name]
        if before is not None:
            os.environ[name] = before


@contextlib.contextmanager
def _without_idle_passes():
    """Leaves out passes of tf2onnx, which takes a choice of them for Keras models only."""
    from tf2onnx import optimizer

    passes = optimizer._optimizers
    optimizer._optimizers = {name: make for name, make in passes.items() if name not in _IDLE}
    try:
        yield
    finally:
        optimizer._optimizers = passes


@contextlib.contextmanager
def _without_collection():
    """Stops the search for garbage, which goes through tf2onnx's many small objects: a sixth."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _select(model, endpoint, outputs):
    """The part of a model that makes the given outputs, with the axis `batch` named."""
    import onnx

    part = onnx.ModelProto()
    part.CopyFrom(model)
    graph, needed, nodes = part.graph, set(outputs), []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            nodes.insert(0, node)
            needed.update(_reads(node))
    constants = [tensor for tensor in graph.initializer if tensor.name in needed]
    for field, values in (
        (graph.node, nodes),
        (graph.initializer, constants),
        (graph.value_info, []),
        (graph.input, [_value_info(spec) for spec in endpoint.inputs.values()]),
        (graph.output, [_value_info(endpoint.outputs[name]) for name in outputs]),
    ):
        values = list(values)
        del field[:]
        field.extend(values)
    return part


def _with_noise(model, values):
    """A model whose input `noise` is made inside, from these numbers, for every example of `x`."""
    import onnx
    from onnx import numpy_helper
    from onnx.helper import make_node

    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    graph = fixed.graph
    inputs = [value for value in graph.input if value.name != "noise"]
    constants = {"noise_values": values, "noise_axis": np.array([0]), "noise_one": np.array([1])}
    nodes = [
        make_node("Shape", ["x"], ["noise_x_shape"]),
        make_node("Gather", ["noise_x_shape", "noise_axis"], ["noise_batch"]),
        make_node("Concat", ["noise_batch", "noise_one"], ["noise_shape"], axis=0),
        make_node("Expand", ["noise_values", "noise_shape"], ["noise"]),
        *graph.node,
    ]
    del graph.input[:], graph.node[:]
    graph.input.extend(inputs)
    graph.node.extend(nodes)
    graph.initializer.extend(numpy_helper.from_array(v, name) for name, v in constants.items())
    return fixed


def _allow_no_examples(graph, constants):
    """Takes zeros in the shapes that a graph computes for sizes of batches without examples.

    In ONNX a zero means the size that was there before, unless a Reshape says otherwise.
    """
    constants = constants | {tensor.name for tensor in graph.initializer}
    constants |= {name for node in graph.node if node.op_type == "Constant" for name in node.output}
    for node in graph.node:
        if node.op_type == "Reshape" and node.input[1] not in constants:
            node.attribute.add(name="allowzero", i=1, type=2)  # an integer
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _allow_no_examples(attribute.g, constants)


def _count_nodes(graph):
    """The nodes of a graph, those inside its loops included."""
    inner = (attribute.g for node in graph.node for attribute in node.attribute)
    return len(graph.node) + sum(map(_count_nodes, inner))


def _reads(node):
    """Every name that a node reads, those read inside its loops included."""
    names = set(node.input)
    for attribute in node.attribute:
        for inner in attribute.g.node:
            names |= _reads(inner)
        names.update(output.name for output in attribute.g.output)
    return names


def _value_info(spec):
    import onnx

    shape = ["batch" if size is None else size for size in spec.shape]
    kind = onnx.helper.np_dtype_to_tensor_dtype(spec.dtype.as_numpy_dtype().dtype)
    return onnx.helper.make_tensor_value_info(spec.name, kind, shape)
