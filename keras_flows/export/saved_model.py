"""Flows as SavedModels, which need TensorFlow alone."""

from pathlib import Path
from typing import TYPE_CHECKING

import tensorflow as tf

from keras_flows.errors import ExportError
from keras_flows.export import cost, write
from keras_flows.export.compare import Report

if TYPE_CHECKING:
    from keras_flows.flow import Flow


def to_saved_model(
    flow: "Flow", folder: str | Path, seed: int = 0, alpha: float | None = None
) -> Report:
    """Writes a flow as a SavedModel, compared with the flow before it gets its place.

    Its signatures take and give dictionaries, as TensorFlow Serving does: `log_prob` (x to
    log_prob), `encode` (x to z and log_det), `decode` (z to x; NaN where the inverse does not
    converge), each for any batch size, and `sample` (count, an int32 scalar,
    and seed, int32 `(2,)`, to x), where the same seed gives the same samples: those of
    `flow.sample(count, seed)`, as long as decoding draws nothing. Conditional flows have the input
    `context` as well (`sample` takes `count` of them, or one), and where random numbers are
    consumed there is an input `noise`, `(batch, n)` standard normal numbers. Where log_prob has it
    there is also `log_prob_fixed` (x to log_prob), in which the noise is a constant drawn from the
    seed, the same for every example: see docs/export.md for what that makes of the number.
    `serving_default` is `log_prob_fixed` where there is one, else `log_prob`. The loaded object has
    the same functions as attributes, which take the inputs in that order.

    A calibrated flow has the signature `score` too, from x, and the context of a conditional flow,
    to log_prob, `p_value` and `flag`; see `to_onnx`.

    A manifest, and inputs with the flow's outputs on them, are in `assets.extra/`.

    A flow that draws how many terms of the power series its log-det sums is exported with the
    fewest, and a log_prob that is biased; the manifest says so.

    Args:
        flow: A `keras_flows.Flow`, float32 or float64. Its spectral norms are brought to
            convergence, and its blocks certified.
        folder: A new folder, or an empty one. For TensorFlow Serving, its name is a version number.
        seed: Of the noise in `log_prob_fixed`, an integer, 0 or more.
        alpha: Of a calibrated flow, the false-positive rate at which `score` flags; 0.01 by
            default, or the smallest that its calibration reaches. The manifest has it.

    Returns:
        The `keras_flows.export.compare.Report` of the comparison.

    Raises:
        LipschitzError: If a residual block cannot be certified invertible.
        ConvergenceError: If the flow cannot decode a standard normal latent.
        ExportError: If the SavedModel disagrees with the flow by more than 1e-4 relative, or the
            folder is not empty.
        ValueError: If the seed is no such integer, alpha is out of reach, or the schema of the
            flow does not fit it.
    """
    return write.export(flow, folder, SavedModel(), seed, alpha)


class SavedModel(write.Format):
    """The format of TensorFlow."""

    kind = "saved_model"

    def write(self, flow, exported, folder):
        """Writes the graphs, as `Format` says."""
        module = tf.Module()
        module.weights = [variable.value for variable in flow.weights]
        signatures = {}
        for name, (graph, endpoint) in exported.items():
            function = endpoint.only(graph.outputs)
            # Traced now: while it is being saved, TensorFlow traces all inside it anew.
            signatures[name] = function.get_concrete_function()
            setattr(module, name, function)
        # Where log_prob takes noise, the graph that needs the data alone.
        signatures["serving_default"] = signatures.get("log_prob_fixed", signatures["log_prob"])
        tf.saved_model.save(module, str(folder), signatures)

    def load(self, folder, described):
        """Loads the graphs, as `Format` says."""
        try:
            module, load_ms = cost.timed(tf.saved_model.load, str(folder))
            return {
                name: cost.Loaded(_runner(module, graph.name), load_ms)
                for name, graph in described.graphs.items()
            }
        except Exception as error:  # TensorFlow raises many kinds
            raise ExportError(f"{folder} does not load in TensorFlow: {error}") from error

    def count_nodes(self, folder, graph, loaded):
        """The nodes of a graph, as `Format` says."""
        definition = loaded.run.module.signatures[graph.name].graph.as_graph_def()
        functions = definition.library.function
        return len(definition.node) + sum(len(function.node_def) for function in functions)


def _runner(module, signature):
    function = module.signatures[signature]

    def run(inputs):
        made = function(**{name: tf.constant(value) for name, value in inputs.items()})
        return {name: value.numpy() for name, value in made.items()}

    # The functions of a SavedModel live as long as the object it was loaded as.
    run.module = module
    return run
