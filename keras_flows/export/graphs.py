"""The table of graphs that a flow is exported as.

A new graph is one entry here, and its function in `endpoints`.
"""

from collections.abc import Callable
from typing import NamedTuple

from keras_flows import __version__
from keras_flows.errors import ExportError
from keras_flows.export import endpoints, score

KINDS = ("onnx", "saved_model")


class Graph(NamedTuple):
    """One exported function: an ONNX file, or a signature of a SavedModel.

    Attributes:
        name: That of the file, or of the signature.
        function: The `endpoints.Function` that it is made of.
        outputs: The names of those outputs of the function that the graph has.
        recorded: Under which name its inputs and outputs are in the record. Graphs of the same
            function may share one; a graph with fixed noise has one of its own.
        fixed_noise: Whether the noise is a constant inside the graph, not an input.
        kinds: The formats that have it.
        exists: Whether a flow has it, from the flow to a boolean.
        asked: Whether it is written only where it is asked for by name.
    """

    name: str
    function: endpoints.Function
    outputs: tuple
    recorded: str
    fixed_noise: bool = False
    kinds: tuple = KINDS
    exists: Callable = lambda flow: True
    asked: bool = False

    @property
    def draws(self):
        """Whether it draws examples: its inputs are a count and a seed, and no examples."""
        return "count" in self.function.inputs


GRAPHS = {
    graph.name: graph
    for graph in (
        Graph("log_prob", endpoints.ENCODE, ("log_prob",), "encode"),
        Graph(
            "log_prob_fixed",
            endpoints.ENCODE,
            ("log_prob",),
            "fixed",
            fixed_noise=True,
            exists=endpoints.takes_noise,
        ),
        Graph("encode", endpoints.ENCODE, ("z", "log_det"), "encode"),
        Graph("decode", endpoints.DECODE, ("x",), "decode"),
        Graph("score", endpoints.SCORE, endpoints.SCORE.outputs, "score", exists=score.exists),
        Graph(
            "steps",
            endpoints.STEPS,
            endpoints.STEPS.outputs,
            "steps",
            kinds=("onnx",),
            exists=endpoints.has_steps,
            asked=True,
        ),
        Graph(
            "contractions",
            endpoints.CONTRACTIONS,
            ("g",),
            "contractions",
            kinds=("onnx",),
            exists=endpoints.has_contractions,
            asked=True,
        ),
        # An ONNX graph cannot draw random numbers from a seed.
        Graph("sample", endpoints.SAMPLE, ("x",), "sample", kinds=("saved_model",)),
    )
}


class Exported(NamedTuple):
    """A graph of one flow.

    Attributes:
        graph: The entry of the table.
        endpoint: The `endpoints.Endpoint` that makes its outputs, and perhaps others.
    """

    graph: Graph
    endpoint: endpoints.Endpoint


def of(flow, kind, noise, alpha=None, names=None):
    """The graphs of a flow.

    Args:
        flow: A `keras_flows.Flow`.
        kind: `"onnx"` or `"saved_model"`.
        noise: See `endpoints.fixed_noise`.
        alpha: See `score.alpha_of`.
        names: Which of them; None for all but those that are there only where asked for.

    Returns:
        Dictionary from name to `Exported`.

    Raises:
        ValueError: If the flow has no graph of one of the names.
    """
    made, exported = endpoints.Endpoints(flow, alpha), {}
    for name in _chosen(flow, kind, names):
        graph = GRAPHS[name]
        endpoint = made[graph.function]
        if graph.fixed_noise:
            endpoint = endpoint.with_noise(noise, graph.outputs)
        exported[name] = Exported(graph, endpoint)
    return exported


def exist(flow, kind):
    """The names of the graphs that a flow can be exported as, those to be asked for included."""
    return [name for name, graph in GRAPHS.items() if kind in graph.kinds and graph.exists(flow)]


def _chosen(flow, kind, names):
    known = exist(flow, kind)
    if names is None:
        return [name for name in known if not GRAPHS[name].asked]
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        given = f"{', '.join(map(repr, unknown))} is none of them" if unknown else "name one"
        raise ValueError(f"The graphs of this flow are {', '.join(known)}; {given}.")
    return [name for name in known if name in names]


def named(name):
    """The graph of that name.

    Raises:
        ExportError: If there is none.
    """
    if name not in GRAPHS:
        raise ExportError(
            f"There is no graph {name!r} in keras-flows {__version__}, which knows "
            f"{', '.join(GRAPHS)}. If a newer version exported the folder, upgrade keras-flows."
        )
    return GRAPHS[name]
