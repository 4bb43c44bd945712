"""Pictures of flows on images."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from keras_flows import checks
from keras_flows.noise import InputNoise, SeededNoise
from keras_flows.plot.tiles import image_grid

if TYPE_CHECKING:
    from keras_flows.flow import Flow

try:
    from matplotlib.figure import Figure
except ImportError as error:
    raise ImportError("Pictures need matplotlib: pip install keras-flows[plot]") from error

_INCHES = 0.6  # of an image in a figure


def samples(
    flow: "Flow",
    temperatures: Sequence[float] = (0.5, 0.7, 0.9, 1.0),
    columns: int = 10,
    rows: int = 1,
    seed: int = 0,
    highest: float | None = None,
    context: ArrayLike | None = None,
) -> Figure:
    """Samples at several temperatures, all from the same seed.

    Images in the same place of their blocks come from the same draws, scaled by the temperature.

    Args:
        flow: A flow on grey or RGB images.
        temperatures: One block of images for each; see `Flow.sample`.
        columns: Images in a row.
        rows: Rows of a block; of a conditional flow, rows for each context.
        seed: See `Flow.sample`.
        highest: The level that is shown as white; the highest that the flow has by default.
        context: `(contexts, *context_shape)` for a conditional flow, in the order of the rows of
            a block. By default every label in turn, where the context is a label.

    Returns:
        A `matplotlib.figure.Figure`; `figure.savefig(path)` writes it.

    Raises:
        ValueError: If the flow is not on images, or there is a context too many or none where one
            is needed.
        ConvergenceError: If an inverse did not converge.
    """
    white = _white(flow, highest)
    checks.count(rows, "rows")
    checks.count(columns, "columns")
    context, count = _of_rows(flow, context, rows * columns)
    drawn = {
        f"temperature {temperature:g}": flow.sample(count, seed, temperature, context)
        for temperature in temperatures
    }
    return _blocks(
        {label: image_grid(x, columns, white) for label, x in drawn.items()}, flow.event_shape
    )


def reconstructions(
    flow: "Flow", images: ArrayLike, seed: int = 0, highest: float | None = None
) -> Figure:
    """Images, what the flow decodes from their latents, and the difference where there is one.

    For a flow whose encoding keeps everything, the difference is at most of a level, where
    rounding moved a number over the edge of its level. Where decoding draws what encoding did not
    keep (`DenseFlow`), the picture shows how much a latent keeps.

    Args:
        flow: A flow on grey or RGB images, without context.
        images: Array `(n, *event_shape)`, shown in one row.
        seed: Of the noise of encoding and decoding.
        highest: The level that is shown as white; the highest that the flow has by default.

    Returns:
        A `matplotlib.figure.Figure`. The difference is amplified, so that the largest is white.

    Raises:
        ValueError: If the flow is not on images, or the images do not fit it.
        ConvergenceError: If an inverse did not converge.
    """
    white = _white(flow, highest)
    images = np.asarray(images)
    decoded = flow.decode(flow.encode(images, seed=seed), seed=seed).numpy()
    difference = np.abs(decoded - images)
    largest = difference.max()
    rows = {"data": (images, white)}
    if largest > 0.0:
        rows["decoded"] = decoded, white
        rows[f"difference; white is {largest:.3g}"] = difference, largest
    else:
        rows["decoded; no difference"] = decoded, white
    grids = {title: image_grid(x, len(images), top) for title, (x, top) in rows.items()}
    return _blocks(grids, flow.event_shape)


def interpolations(
    flow: "Flow",
    first: ArrayLike,
    second: ArrayLike,
    steps: int = 9,
    seed: int = 0,
    highest: float | None = None,
) -> Figure:
    """What the flow decodes between the latents of pairs of images, a row for every pair.

    The path is spherical, around the mode of the base density: with the latents a and b from
    there, and the angle w between them, `(sin((1 - t) w) a + sin(t w) b) / sin w`. Latents of many
    dimensions all lie at much the same distance from the mode, and nearly at right angles; a
    straight line between two comes closer to it, to latents like those of a low temperature, where
    data are not.

    Args:
        flow: A flow on grey or RGB images, without context.
        first: Array `(pairs, *event_shape)`.
        second: The same, where the rows end.
        steps: Images in a row, both ends included: what the flow decodes for the pair itself.
        seed: Of the noise of encoding, and of decoding, where a row has the same throughout.
        highest: The level that is shown as white; the highest that the flow has by default.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ValueError: If the flow is not on images, or the images do not fit it.
        ConvergenceError: If an inverse did not converge.
    """
    white = _white(flow, highest)
    checks.count(steps, "steps")
    if np.shape(first) != np.shape(second) or steps < 2:
        raise ValueError(
            f"Interpolation needs two arrays of one shape and at least 2 steps; got the shapes "
            f"{np.shape(first)} and {np.shape(second)}, and {steps} steps."
        )
    a, b = (flow.encode(x, seed=seed).numpy() for x in (first, second))
    mode = flow.base.sample(1, flow.latent_shape, SeededNoise(0), 0.0, flow.compute_dtype).numpy()
    z = mode[:, None] + _spherical(a - mode, b - mode, np.linspace(0.0, 1.0, steps))
    noise = None
    if flow.noise_shape("decode") != (0,):
        drawn = np.random.default_rng(seed).standard_normal((len(a), *flow.noise_shape("decode")))
        noise = InputNoise(np.repeat(drawn, steps, axis=0))
    x = flow.decode(z.reshape(-1, *flow.latent_shape), noise=noise).numpy()
    return _blocks({"": image_grid(x, steps, white)}, flow.event_shape)


def _of_rows(flow, context, images):
    """The context of every sample of a block, with so many images for each, and their number."""
    if flow.context_shape is None:
        if context is not None:
            raise ValueError("This flow has no context; got one. Leave `context` out.")
        return None, images
    if context is None:
        if flow.labels is None:
            raise ValueError("This flow is conditional: give a `context`, one for each row.")
        context = np.arange(flow.labels)
    context = np.asarray(context)
    if context.ndim != 1 + len(flow.context_shape) or not len(context):
        needed = ", ".join(("contexts", *map(str, flow.context_shape)))
        raise ValueError(f"context must have shape ({needed}); got {context.shape}.")
    return np.repeat(context, images, axis=0), images * len(context)


def _white(flow, highest):
    """The level to show as white; refuses flows that are not on images."""
    shape = flow.event_shape
    if len(shape) != 3 or shape[-1] not in (1, 3):
        raise ValueError(
            "This picture is of flows on grey or RGB images, (height, width, 1 or 3); the flow's "
            f"events have the shape {shape}."
        )
    if highest is None:
        highest = 1.0 if flow.bits is None else 2.0**flow.bits - 1.0
    return highest


def _spherical(a, b, t):
    """The paths from a to b, `(pairs, *shape)` each, at the times t: `(pairs, times, *shape)`."""
    shape, (a, b) = a.shape, (x.reshape(len(x), 1, -1).astype("float64") for x in (a, b))
    lengths = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    cosine = np.divide(np.sum(a * b, axis=-1), lengths, np.ones_like(lengths), where=lengths > 0.0)
    angle = np.arccos(np.clip(cosine, -1.0, 1.0))[..., None]
    t = t[:, None]
    # Where the angle is 0 or undefined, or every way round is as short, the path is straight.
    straight = np.sin(angle) < 1e-6
    sine = np.where(straight, 1.0, np.sin(angle))
    start = np.where(straight, 1.0 - t, np.sin((1.0 - t) * angle) / sine)
    end = np.where(straight, t, np.sin(t * angle) / sine)
    return (start * a + end * b).reshape(len(a), len(t), *shape[1:])


def _blocks(grids, tile):
    """A figure of `{title: image}`, one below the other.

    Args:
        grids: Images of `image_grid`, all with as many columns.
        tile: The height and width of an image in them.
    """
    tile_height, tile_width = tile[0] + 2, tile[1] + 2
    rows = [len(grid) // tile_height for grid in grids.values()]
    columns = next(iter(grids.values())).shape[1] // tile_width
    # Bounds on the size of figures, for one image or hundreds.
    inch = _INCHES * min(1.0, 24.0 / max(columns, sum(rows)))
    title = 0.25 if any(grids) else 0.0
    size = (
        max(columns * inch, 2.5) + 0.2,
        sum(rows) * inch * tile_height / tile_width + len(grids) * title + 0.2,
    )
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(len(grids), 1, squeeze=False, height_ratios=rows)[:, 0]
    for axis, (label, grid) in zip(axes, grids.items(), strict=True):
        axis.imshow(
            grid.squeeze(-1) if grid.shape[-1] == 1 else grid,
            cmap="gray",
            vmin=0,
            vmax=255,
            interpolation="nearest",
        )
        axis.set_title(label, loc="left", fontsize=9, pad=3)
        axis.set_axis_off()
    return figure
