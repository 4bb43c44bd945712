"""Pictures of flows on tables."""

import math
from typing import TYPE_CHECKING

import numpy as np

from keras_flows import checks

if TYPE_CHECKING:
    from keras_flows.data.schema import Rows
    from keras_flows.flow import Flow

try:
    from matplotlib.figure import Figure
except ImportError as error:
    raise ImportError("Pictures need matplotlib: pip install keras-flows[plot]") from error

_ACROSS = 4
_SAMPLES = 5000


def columns(flow: "Flow", rows: "Rows", most: int = 16, seed: int = 0) -> Figure:
    """The values of every column, of rows and of samples of the flow, as histograms.

    There are at least 5,000 samples. Those of a conditional flow have the contexts of the rows, in
    turn. The axes show the central 99 % of the rows: beyond, histograms have nothing to say.

    Args:
        flow: A flow on tables, with its schema (`keras_flows.fit` gives it one).
        rows: A `keras_flows.data.Table`, or rows of that schema: best those that took no part in
            training.
        most: The most columns to show, the first ones.
        seed: Of the samples.

    Raises:
        ValueError: If the flow has no schema, or the rows are of another.
    """
    checks.count(most, "most")
    if flow.schema is None:
        raise ValueError("The flow has no schema, which names its columns: fit it by kf.fit.")
    if rows.schema.event != flow.schema.event:
        raise ValueError("The rows are of other columns than the flow: arrange them by its schema.")
    turns = np.arange(max(len(rows), _SAMPLES)) % len(rows)
    context = None if rows.context is None else rows.context[turns]
    samples = flow.sample(len(turns), seed=seed, context=context)
    shown = flow.schema.event[:most]
    high = math.ceil(len(shown) / _ACROSS)
    figure = Figure(figsize=(2.6 * min(_ACROSS, len(shown)), 2.1 * high), layout="constrained")
    axes = np.ravel(figure.subplots(high, min(_ACROSS, len(shown)), squeeze=False))
    for i, (axis, column) in enumerate(zip(axes, shown, strict=False)):
        real, drawn = rows.x[:, i], np.asarray(samples[:, i], "float64")
        edges = _edges(real)
        axis.hist(real, edges, density=True, color="0.75", label="rows")
        axis.hist(drawn, edges, density=True, histtype="step", linewidth=1.5, label="samples")
        axis.set_title(column.name, fontsize=9)
        axis.set_yticks([])
        axis.tick_params(labelsize=7)
    for axis in axes[len(shown) :]:
        axis.set_axis_off()
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower right", ncols=2)
    return figure


def _edges(values):
    """Bins over the central 99 %; of a width of whole numbers where all values are whole."""
    low, high = np.quantile(values, [0.005, 0.995])
    edges = np.histogram_bin_edges(values, "auto", (low, high))
    if (values == np.rint(values)).all():
        width = max(1, math.ceil(edges[1] - edges[0]))
        return np.arange(math.floor(low) - 0.5, high + width, width)
    return edges
