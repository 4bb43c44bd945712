"""Pictures of flows on the plane."""

import itertools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from keras_flows.measure.evaluation import log_probs
from keras_flows.models.residual.model import IDenseNet

if TYPE_CHECKING:
    from keras_flows.data import ToyDensity
    from keras_flows.flow import Flow

try:
    from matplotlib import colormaps
    from matplotlib.colors import PowerNorm
    from matplotlib.figure import Figure
except ImportError as error:
    raise ImportError("Pictures need matplotlib: pip install keras-flows[plot]") from error

_GRID = 300

Bounds = tuple[float, float, float, float]


def _require_plane(flow):
    if flow.event_shape != (2,):
        raise ValueError(
            f"This picture is of densities on the plane; the flow's events have the shape "
            f"{flow.event_shape}."
        )


def grid(bounds: Bounds, size: int = _GRID) -> np.ndarray:
    """The centres of a `size` × `size` grid of cells over `(xmin, xmax, ymin, ymax)`.

    Returns:
        Array `(size * size, 2)`, the y coordinate slowest.
    """
    xmin, xmax, ymin, ymax = bounds
    steps = (np.arange(size) + 0.5) / size
    x, y = np.meshgrid(xmin + steps * (xmax - xmin), ymin + steps * (ymax - ymin))
    return np.stack([x.ravel(), y.ravel()], axis=-1).astype("float32")


def density(
    flow: "Flow",
    bounds: Bounds,
    true_log_prob: Callable[[np.ndarray], np.ndarray] | None = None,
    samples: int = 2000,
    context: ArrayLike | None = None,
    title: str | None = None,
) -> Figure:
    """The learned density, beside the true one where that is known, and samples.

    The densities share one colour scale.

    Args:
        flow: A flow on the plane.
        bounds: `(xmin, xmax, ymin, ymax)` of the picture.
        true_log_prob: Function from points `(n, 2)` to the true log-densities `(n,)`, or None.
        samples: Number of samples to draw, with seed 0.
        context: The context to draw for, a conditional flow's; one for all points.
        title: Title of the picture.

    Returns:
        A `matplotlib.figure.Figure`; `figure.savefig(path)` writes it.

    Raises:
        ValueError: If the flow is not on the plane.
    """
    _require_plane(flow)
    points = grid(bounds)
    contexts = None if context is None else np.repeat(np.asarray(context)[None], len(points), 0)
    panels = [("learned density", np.exp(log_probs(flow, points, contexts)))]
    if true_log_prob is not None:
        panels.insert(0, ("true density", np.exp(true_log_prob(points))))
    highest = max(values.max() for _, values in panels)
    figure = Figure(figsize=(4 * (len(panels) + 1) + 0.7, 4.4), layout="constrained")
    axes = figure.subplots(1, len(panels) + 1)
    for axis, (name, values) in zip(axes, panels, strict=False):
        image = axis.imshow(
            values.reshape(_GRID, _GRID), origin="lower", extent=bounds, vmin=0.0, vmax=highest
        )
        axis.set_title(name)
    _scatter(axes[-1], flow.sample(samples, seed=0, context=context).numpy(), bounds)
    axes[-1].set_title(f"{samples:,} samples")
    for axis in axes:
        axis.set_aspect("equal")
    figure.colorbar(image, ax=axes[: len(panels)], shrink=0.8, pad=0.02, label="density")
    if title is not None:
        figure.suptitle(title)
    return figure


def comparison(
    flows: "Mapping[str, Mapping[str, Flow]]", truths: "Mapping[str, ToyDensity]"
) -> Figure:
    """Learned densities side by side, the true ones first, on one colour scale.

    The scale is that of the square root of the density, so that a density spread wide can be
    seen beside one that is concentrated.

    Args:
        flows: `{row: {column: flow}}`, flows on the plane; every row has the same columns.
        truths: `{row: density}`, each with `bounds` and `log_prob`, as `keras_flows.data.toy`
            makes them.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ValueError: If a flow is not on the plane.
    """

    def panels(row):
        points = grid(truths[row].bounds)
        yield "true density", np.exp(truths[row].log_prob(points))
        for column, flow in flows[row].items():
            _require_plane(flow)
            yield column, np.exp(log_probs(flow, points))

    values = {row: dict(panels(row)) for row in flows}
    highest = max(panel.max() for row in values.values() for panel in row.values())
    norm = PowerNorm(0.5, vmin=0.0, vmax=highest)
    figure, axes = _panels(values)
    for (row, column), axis in axes.items():
        image = axis.imshow(
            values[row][column].reshape(_GRID, _GRID),
            origin="lower",
            extent=truths[row].bounds,
            norm=norm,
        )
    figure.colorbar(image, ax=list(axes.values()), shrink=0.5, pad=0.02, label="density")
    return figure


def comparison_of_samples(
    flows: "Mapping[str, Mapping[str, Flow]]",
    truths: "Mapping[str, ToyDensity]",
    samples: int = 3000,
) -> Figure:
    """Samples of several flows side by side, those of the true densities first.

    Args:
        flows: See `comparison`.
        truths: See `comparison`; each has a `sample(n, seed)` too.
        samples: Number of samples to draw of each, with seed 0.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ValueError: If a flow is not on the plane.
    """
    figure, axes = _panels({row: ["data", *flows[row]] for row in flows})
    for (row, column), axis in axes.items():
        if column != "data":
            _require_plane(flows[row][column])
        source = truths[row] if column == "data" else flows[row][column]
        _scatter(axis, np.asarray(source.sample(samples, seed=0)), truths[row].bounds)
    return figure


def _panels(table):
    """A figure with one square panel for every row and column of `{row: columns}`."""
    columns = list(next(iter(table.values())))
    size = 2.6
    figure = Figure(
        figsize=(size * len(columns) + 0.6, size * len(table) + 0.3), layout="constrained"
    )
    grid = figure.subplots(len(table), len(columns), squeeze=False)
    axes = {}
    for i, row in enumerate(table):
        for j, column in enumerate(columns):
            axis = axes[row, column] = grid[i, j]
            axis.set(xticks=[], yticks=[])
            axis.set_aspect("equal")
            if i == 0:
                axis.set_title(column)
            if j == 0:
                axis.set_ylabel(row)
    return figure, axes


def _scatter(axis, points, bounds):
    axis.scatter(*points.T, s=2, linewidths=0, color=colormaps["viridis"](0.25))
    axis.set(xlim=bounds[:2], ylim=bounds[2:])


def concatenation(flow: "IDenseNet") -> Figure:
    """Heat maps of the concatenation coefficients η̂1 and η̂2 by block and Dense Layer.

    Args:
        flow: An `IDenseNet`.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ValueError: If the flow has no such coefficients.
    """
    coefficients = _coefficients(flow)
    blocks, depth, _ = coefficients.shape
    figure = Figure(figsize=(1.6 + 1.1 * depth * 2, 1.2 + 0.42 * blocks), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for which, axis in enumerate(axes):
        values = coefficients[..., which]
        image = axis.imshow(values, vmin=0.0, vmax=1.0, aspect="auto")
        for (block, layer), value in np.ndenumerate(values):
            colour = "black" if value > 0.6 else "white"
            axis.text(layer, block, f"{value:.2f}", ha="center", va="center", color=colour)
        axis.set(
            title=f"η̂{which + 1}",
            xlabel="Dense Layer",
            xticks=range(depth),
            xticklabels=range(1, depth + 1),
            yticks=range(blocks),
            yticklabels=range(1, blocks + 1),
        )
    axes[0].set_ylabel("block")
    figure.colorbar(image, ax=axes, shrink=0.8)
    return figure


def concatenation_circle(flow: "IDenseNet") -> Figure:
    """The pairs (η̂1, η̂2) of every Dense Layer on the unit circle, coloured by block.

    The dashed line is η̂1 = η̂2, where every layer starts. Above it a layer weighs its new
    channels more than its input.

    Args:
        flow: An `IDenseNet`.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ValueError: If the flow has no such coefficients.
    """
    coefficients = _coefficients(flow)
    blocks, depth, _ = coefficients.shape
    figure = Figure(figsize=(4.4, 4.2), layout="constrained")
    axis = figure.subplots()
    angle = np.linspace(0.0, np.pi / 2, 200)
    axis.plot(np.cos(angle), np.sin(angle), color="0.8", zorder=0)
    axis.plot([0.45, 0.5**0.5], [0.45, 0.5**0.5], "--", color="0.8", zorder=0)
    for layer, marker in zip(range(depth), itertools.cycle("osD^vP*X")):
        points = axis.scatter(
            *coefficients[:, layer].T,
            c=np.arange(1, blocks + 1),
            marker=marker,
            label=f"Dense Layer {layer + 1}",
            edgecolors="0.3",
            linewidths=0.5,
        )
    axis.set(xlim=(0.0, 1.05), ylim=(0.0, 1.05), xlabel="η̂1 (input)", ylabel="η̂2 (new channels)")
    axis.set_aspect("equal")
    axis.legend(loc="lower left", frameon=False)
    figure.colorbar(points, ax=axis, shrink=0.8, label="block")
    return figure


def _coefficients(flow):
    if not isinstance(flow, IDenseNet):
        raise ValueError(f"A {type(flow).__name__} has no concatenations; an IDenseNet has.")
    return flow.concatenation_coefficients()
