"""What the gallery shows of a flow on the plane beside its graphs."""

import numpy as np

from keras_flows.data import toy
from keras_flows.models.residual.model import IDenseNet
from keras_flows.transforms.chain import flattened
from keras_flows.transforms.residual import ResidualBlock

POINTS = 1500
# Of seeds that no training takes.
_SEED = 2**31 + 1
# How far the picture of a flow whose data are unknown goes beyond what it draws.
_MARGIN = 0.1


def describe(flow, metadata, folder, data_dir):
    """Bounds of the picture, points of the data, the steps, and η̂; see `panels.Panel`."""
    data = metadata.training.get("data")
    name = data.get("toy") if isinstance(data, dict) else None
    points, missing = None, None
    if name is None:
        drawn = flow.sample(POINTS, seed=0).numpy()
        low, high = np.quantile(drawn, [0.005, 0.995], axis=0)
        centre, half = (low + high) / 2, (0.5 + _MARGIN) * np.max(high - low)
        bounds = [centre[0] - half, centre[0] + half, centre[1] - half, centre[1] + half]
        missing = "The preset does not say which density it was trained on: no data are shown."
    else:
        density = toy(name)
        bounds = density.bounds
        points = as_list(density.sample(POINTS, _SEED), 4)
        name = f"{name.replace('_', ' ')}, {POINTS:,} fresh points"
    return {
        "bounds": as_list(np.asarray(bounds), 4),
        "points": points,
        "points_are": name,
        "steps": [type(step).__name__ for step in flattened(flow.transform)],
        "blocks": [
            i for i, s in enumerate(flattened(flow.transform)) if isinstance(s, ResidualBlock)
        ],
        "bounds_of_blocks": [max(b.lipschitz_bounds().values()) for b in flow.blocks],
        "eta": as_list(flow.concatenation_coefficients(), 5)
        if isinstance(flow, IDenseNet)
        else None,
        "missing": missing,
    }


def as_list(array, digits):
    """An array as nested lists, its numbers rounded to so many digits after the point."""
    return np.round(np.asarray(array, "float64"), digits).tolist()
