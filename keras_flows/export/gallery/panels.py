"""The panels of the gallery: which flows each is for, its graphs, and what it shows beside them."""

from collections.abc import Callable
from typing import NamedTuple

from keras_flows.bases import StandardNormal
from keras_flows.errors import ExportError
from keras_flows.export import endpoints, graphs
from keras_flows.export.gallery import images, plane, tables


class Panel(NamedTuple):
    """A kind of flows that the gallery shows.

    Attributes:
        name: `"plane"`, `"images"` or `"tables"`.
        fits: Whether it is for a flow, from the flow to a boolean.
        graphs: From a flow to the names of the graphs that it runs.
        describe: From the flow, its metadata, the folder of its export and the folder of TensorFlow
            Datasets to what it shows beside the graphs, a dictionary for JSON. Its `missing` is
            what could not be had, in a sentence.
    """

    name: str
    fits: Callable
    graphs: Callable
    describe: Callable


def _score(flow):
    """The one graph of log_prob that needs the data alone, with a p-value where there is one."""
    known = graphs.exist(flow, "onnx")
    return next(name for name in ("score", "log_prob_fixed", "log_prob") if name in known)


def _on_the_plane(flow):
    return (
        flow.event_shape == (2,)
        and flow.context_shape is None
        and isinstance(flow.base, StandardNormal)
        and endpoints.has_steps(flow)
        and endpoints.likelihood(flow) == "exact"
    )


def _on_images(flow):
    shape = flow.event_shape
    return (
        flow.bits is not None
        and len(shape) == 3
        and shape[2] in (1, 3)
        and max(shape[:2]) <= images.LARGEST
        and images.base(flow) is not None
        and (flow.context_shape is None or images.labelled(flow))
    )


def _plane_graphs(flow):
    known = graphs.exist(flow, "onnx")
    return [name for name in ("steps", "contractions", "decode") if name in known]


PANELS = (
    # A table of two columns is a table.
    Panel("tables", lambda flow: flow.schema is not None, lambda f: [_score(f)], tables.describe),
    Panel("plane", _on_the_plane, _plane_graphs, plane.describe),
    Panel("images", _on_images, lambda f: [_score(f), "encode", "decode"], images.describe),
)


def of(flow, name):
    """The panel of a flow.

    Args:
        flow: A `keras_flows.Flow`.
        name: What it is called, for the message.

    Raises:
        ExportError: If there is none.
    """
    for panel in PANELS:
        if panel.fits(flow):
            return panel
    context = "no context" if flow.context_shape is None else "a context"
    raise ExportError(
        f"The gallery has no panel for {name}: its events have the shape {flow.event_shape}, its "
        f"base is a {type(flow.base).__name__}, it has {context} and no schema of columns. There "
        "are panels for flows on the plane with exact likelihoods, a standard normal base and no "
        "context, for flows on integers that are grey or colour images of up to "
        f"{images.LARGEST} × {images.LARGEST} pixels, with a normal or a logistic base and no "
        "context but a label, and for flows on tables."
    )
