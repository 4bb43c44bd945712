"""Pictures of the noise that a DenseFlow appends."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from keras_flows.models.denseflow.added_noise import noise_norms

if TYPE_CHECKING:
    from keras_flows.flow import Flow

try:
    from matplotlib.figure import Figure
except ImportError as error:
    raise ImportError("Pictures need matplotlib: pip install keras-flows[plot]") from error


def added_noise(
    flow: "Flow", x: ArrayLike, context: ArrayLike | None = None, seed: int = 0
) -> Figure:
    """The norms of the noise before every unit: as drawn, and as appended, by channel.

    Bars are the root mean square over the channels, dots the channels. At 1 the noise is as large
    as it was drawn.

    Args:
        flow: A flow with a `CrossUnitBlock`, such as a `DenseFlow`.
        x: See `keras_flows.models.denseflow.added_noise.noise_norms`, like the other arguments.
        context: See there.
        seed: See there.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ValueError: If the flow appends no noise, or the data do not fit it.
    """
    norms = noise_norms(flow, x, context, seed)
    # A path starts with the place of the block in the chain, then that of the coupling in it.
    places = [[int(part) for part in one.path.split("/")[:2]] for one in norms]
    blocks = sorted({block for block, _ in places})
    labels = [f"{blocks.index(block) + 1}.{step // 2 + 2}" for block, step in places]
    figure = Figure(figsize=(1.6 + 0.7 * len(norms), 3.2), layout="constrained")
    axis = figure.subplots()
    at, width = np.arange(len(norms)), 0.38
    for offset, kind, label in ((-0.5, "drawn", "Gaussian"), (0.5, "added", "appended")):
        channels = [getattr(one, kind) for one in norms]
        bars = at + offset * width
        means = [np.sqrt(np.mean(values**2)) for values in channels]
        axis.bar(bars, means, width, label=label)
        for place, values in zip(bars, channels, strict=True):
            axis.plot(np.full(len(values), place), values, ".", color="0.25", markersize=4)
    axis.set(xlabel="block.unit", ylabel="root mean square of a channel")
    axis.set_xticks(at, labels)
    axis.set_ylim(bottom=0.0)
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    return figure
