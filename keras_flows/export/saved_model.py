"""Flows as SavedModels, which need TensorFlow alone."""

import tensorflow as tf

from keras_flows.errors import ExportError
from keras_flows.export import cost, endpoints, manifest, parity

_OUTPUTS = {
    "log_prob": ("log_prob",),
    "log_prob_fixed": ("log_prob",),
    "encode": ("z", "log_det"),
    "decode": ("x",),
    "sample": ("x",),
}


def to_saved_model(flow, folder, seed=0):
    """Writes a flow as a SavedModel, compared with the flow before it gets its place.

    Its signatures take and give dictionaries, as TensorFlow Serving does: `log_prob` (x to
    log_prob; also `serving_default`), `encode` (x to z and log_det), `decode` (z to x; NaN where
    the inverse does not converge), each for any batch size, and `sample` (count, an int32 scalar,
    and seed, int32 `(2,)`, to x), where the same seed gives the same samples: those of
    `flow.sample(count, seed)`, as long as decoding draws nothing. Conditional flows have the input
    `context` as well (`sample` takes `count` of them, or one), and where random numbers are
    consumed there is an input `noise`, `(batch, n)` standard normal numbers. Where log_prob has it
    there is also `log_prob_fixed` (x to log_prob), in which the noise is a constant drawn from the
    seed, the same for every example: see docs/export.md for what that makes of the number. The
    loaded object has the same functions as attributes, which take the inputs in that order.

    A manifest, and inputs with the flow's outputs on them, are in `assets.extra/`.

    A flow that draws how many terms of the power series its log-det sums is exported with the
    fewest, and a log_prob that is biased; the manifest says so.

    Args:
        flow: A `keras_flows.Flow`, float32 or float64. Its spectral norms are brought to
            convergence, and its blocks certified.
        folder: A new folder, or an empty one. For TensorFlow Serving, its name is a version number.
        seed: Of the noise in `log_prob_fixed`, an integer, 0 or more.

    Returns:
        The `keras_flows.export.parity.Report` of the comparison.

    Raises:
        LipschitzError: If a residual block cannot be certified invertible.
        ConvergenceError: If the flow cannot decode a standard normal latent.
        ExportError: If the SavedModel disagrees with the flow by more than 1e-4 relative, or the
            folder is not empty.
        ValueError: If the seed is no such integer.
    """
    flow.converge()
    flow.certify()
    with manifest.new_folder(folder) as partial:
        noise = endpoints.fixed_noise(flow, seed)
        made = endpoints.of(flow, noise)
        graphs = {n: outputs for n, outputs in _OUTPUTS.items() if parity.DIRECTIONS[n] in made}
        recorded = parity.record(flow, made, graphs, noise)
        _write(flow, made, graphs, partial)
        described = manifest.describe(
            flow,
            "saved_model",
            {
                name: (name, made[parity.DIRECTIONS[name]], outputs)
                for name, outputs in graphs.items()
            },
            (),
            parity.own_round_trip(flow, made, recorded),
            None if noise is None else int(seed),
        )
        loaded = load(partial, described)
        nodes = {name: _count_nodes(graph.run.module, name) for name, graph in loaded.items()}
        return manifest.finish(partial, described, recorded, loaded, nodes)


def _write(flow, made, graphs, folder):
    module = tf.Module()
    module.weights = [variable.value for variable in flow.weights]
    signatures = {}
    for name, outputs in graphs.items():
        signatures[name] = made[parity.DIRECTIONS[name]].only(outputs)
        setattr(module, name, signatures[name])
    signatures["serving_default"] = signatures["log_prob"]
    tf.saved_model.save(module, str(folder), signatures)


def load(folder, described):
    """The signatures of an export, `cost.Loaded` by name.

    Raises:
        ExportError: If the SavedModel does not load, or has no such signature.
    """
    try:
        module, load_ms = cost.timed(tf.saved_model.load, str(folder))
        return {
            name: cost.Loaded(_runner(module, graph.name), load_ms)
            for name, graph in described.graphs.items()
        }
    except Exception as error:  # TensorFlow raises many kinds
        raise ExportError(f"{folder} does not load in TensorFlow: {error}") from error


def _count_nodes(module, signature):
    """The nodes of a signature's graph, those of the functions it calls included."""
    graph = module.signatures[signature].graph.as_graph_def()
    return len(graph.node) + sum(len(function.node_def) for function in graph.library.function)


def _runner(module, signature):
    function = module.signatures[signature]

    def run(inputs):
        made = function(**{name: tf.constant(value) for name, value in inputs.items()})
        return {name: value.numpy() for name, value in made.items()}

    # The functions of a SavedModel live as long as the object it was loaded as.
    run.module = module
    return run
