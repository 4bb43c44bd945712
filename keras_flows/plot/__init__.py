"""Pictures of flows. All but `image_grid` need matplotlib: `pip install keras-flows[plot]`."""

import importlib

_HOMES = {
    "image_grid": "tiles",
    "interpolations": "images",
    "reconstructions": "images",
    "samples": "images",
    "added_noise": "noise",
    "columns": "table",
    "comparison": "plane",
    "comparison_of_samples": "plane",
    "concatenation": "plane",
    "concatenation_circle": "plane",
    "density": "plane",
    "grid": "plane",
}


def __getattr__(name):
    if name in _HOMES:
        return getattr(importlib.import_module(f"keras_flows.plot.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'keras_flows.plot' has no attribute {name!r}")


def __dir__():
    return sorted([*globals(), *_HOMES])
