"""Pictures of flows on the plane. Needs matplotlib: `pip install keras-flows[plot]`."""

import numpy as np

from keras_flows.evaluate import log_probs

try:
    from matplotlib import colormaps
    from matplotlib.figure import Figure
except ImportError as error:
    raise ImportError("Pictures need matplotlib: pip install keras-flows[plot]") from error

_GRID = 300


def _require_plane(flow):
    if flow.event_shape != (2,):
        raise ValueError(
            f"This picture is of densities on the plane; the flow's events have the shape "
            f"{flow.event_shape}."
        )


def grid(bounds, size=_GRID):
    """The centres of a `size` × `size` grid of cells over `(xmin, xmax, ymin, ymax)`.

    Returns:
        Array `(size * size, 2)`, the y coordinate slowest.
    """
    xmin, xmax, ymin, ymax = bounds
    steps = (np.arange(size) + 0.5) / size
    x, y = np.meshgrid(xmin + steps * (xmax - xmin), ymin + steps * (ymax - ymin))
    return np.stack([x.ravel(), y.ravel()], axis=-1).astype("float32")


def density(flow, bounds, true_log_prob=None, samples=2000, context=None, title=None):
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
    drawn = flow.sample(samples, seed=0, context=context).numpy()
    axes[-1].scatter(*drawn.T, s=2, linewidths=0, color=colormaps["viridis"](0.25))
    axes[-1].set(xlim=bounds[:2], ylim=bounds[2:], title=f"{samples:,} samples")
    for axis in axes:
        axis.set_aspect("equal")
    figure.colorbar(image, ax=axes[: len(panels)], shrink=0.8, pad=0.02, label="density")
    if title is not None:
        figure.suptitle(title)
    return figure


def concatenation(flow):
    """Heat maps of the concatenation coefficients η̂1 and η̂2 by block and Dense Layer.

    Args:
        flow: An `IDenseNet`.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ValueError: If the flow has no such coefficients.
    """
    if not hasattr(flow, "concatenation_coefficients"):
        raise ValueError(f"A {type(flow).__name__} has no concatenations; an IDenseNet has.")
    coefficients = flow.concatenation_coefficients()
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
