"""The flows of scripts/reproduce_table.py: sizes that fit in minutes of a processor."""

from typing import Any

_DEQUANTIZER = {"steps": 2, "width": 16, "depth": 2, "growth": 8, "context": 8}
_VARIATIONAL = {"dequantization": {"class_name": "variational", "config": _DEQUANTIZER}}
_DENSEFLOW = {"growth": 4, "coupling_depth": 2, "attention": "proper", **_VARIATIONAL}
_FLOWPP_NOISE = {"couplings": 2, "width": 16, "blocks": 1, "components": 4, "context": 8}
_FLOWPP = {"dequantization": {"class_name": "variational", "config": _FLOWPP_NOISE}}
_RESIDUAL = {"squeeze_first": True, "activation": "lipswish", "alpha": 1e-6}
# Title, class or configuration, and arguments on images of 28×28 and of 8×8 pixels.
FAMILIES: dict[str, tuple[str, str, dict[str, dict[str, Any]]]] = {
    "pixelcnnpp": (
        "PixelCNN++",
        "PixelCNNPlusPlus",
        {
            "mnist": {"width": [16, 32, 48], "blocks": 1, "output": "categorical"},
            "digits": {"width": [24, 32, 48], "blocks": 1, "output": "categorical"},
        },
    ),
    "pixelcnn": (
        "PixelCNN",
        "PixelCNN",
        {
            "mnist": {"width": 16, "blocks": 5, "head": 64},
            "digits": {"width": 32, "blocks": 5, "head": 64},
        },
    ),
    "interlaced": (
        "InterlacedFlow",
        "InterlacedFlow",
        {
            "mnist": {"widths": [32, 48], "blocks": 3},
            "digits": {"widths": [32, 48], "blocks": 3},
        },
    ),
    "flowpp": (
        "Flow++",
        "FlowPlusPlus",
        {
            "mnist": {
                **_FLOWPP,
                "couplings": [2, 2, 2],
                "width": 24,
                "blocks": 2,
                "components": 8,
            },
            "digits": {
                **_FLOWPP,
                "couplings": [2, 2, 2],
                "width": 32,
                "blocks": 2,
                "components": 8,
            },
        },
    ),
    "vflow": (
        "VFlow",
        "VFlow",
        {
            size: {
                **_FLOWPP,
                "extra": 1,
                "couplings": [2, 1, 1, 2],
                "width": 24,
                "blocks": 2,
                "components": 8,
                "augmentation": {"couplings": 2, "width": 16, "blocks": 1, "context": 8},
            }
            for size in ("mnist", "digits")
        },
    ),
    "denseflow": (
        "DenseFlow",
        "DenseFlow",
        {
            "mnist": {
                **_DENSEFLOW,
                "units": [3, 2],
                "modules": [3, 3],
                "width": 32,
                "coupling_growth": 16,
                "landmarks": 7,
            },
            "digits": {
                **_DENSEFLOW,
                "units": [3, 2],
                "modules": [2, 1],
                "width": 16,
                "coupling_growth": 12,
                "landmarks": 4,
            },
        },
    ),
    "poolflow": (
        "SurVAE, max pooling",
        "PoolFlow",
        {
            "mnist": {**_VARIATIONAL, "steps": 6, "width": 32, "depth": 2, "growth": 16},
            "digits": {**_VARIATIONAL, "steps": 4, "width": 24, "depth": 2, "growth": 16},
        },
    ),
    "macow": (
        "MaCow",
        "MaCow",
        {
            "mnist": {**_VARIATIONAL, "steps": [0, [2, 2], 3], "widths": [8, 48, 64]},
            "digits": {**_VARIATIONAL, "steps": [0, [2, 2], 3], "widths": [8, 48, 64]},
        },
    ),
    "realnvp": (
        "Real NVP",
        "ImageRealNVP",
        {
            "mnist": {"scales": 2, "width": 16, "blocks": 2},
            "digits": {"scales": 2, "width": 16, "blocks": 2},
        },
    ),
    "glow": (
        "Glow",
        "Glow",
        {
            "mnist": {"levels": 2, "steps": 8, "width": 64},
            "digits": {"levels": 2, "steps": 6, "width": 48},
        },
    ),
    "tarflow": (
        "TarFlow",
        "TarFlow",
        {
            "mnist": {"patch": 4, "width": 96, "blocks": 4, "layers": 2, "heads": 4},
            "digits": {"patch": 2, "width": 64, "blocks": 4, "layers": 2, "heads": 4},
        },
    ),
    "jet": (
        "Jet",
        "Jet",
        {
            "mnist": {"patch": 2, "width": 48, "couplings": 15, "layers": 1, "heads": 4},
            "digits": {"patch": 2, "width": 48, "couplings": 15, "layers": 1, "heads": 4},
        },
    ),
    "idensenet": (
        "i-DenseNet",
        "IDenseNet",
        {
            "mnist": {**_RESIDUAL, "blocks": [4, 4], "depth": 3, "growth": 16, "coeff": 0.93},
            "digits": {**_RESIDUAL, "blocks": [4, 4], "depth": 3, "growth": 16, "coeff": 0.93},
        },
    ),
    "residual_flow": (
        "Residual Flow",
        "ResidualFlow",
        {
            "mnist": {**_RESIDUAL, "blocks": [4, 4], "widths": [52, 52], "coeff": 0.93},
            "digits": {**_RESIDUAL, "blocks": [4, 4], "widths": [52, 52], "coeff": 0.93},
        },
    ),
    "iresnet": (
        "i-ResNet",
        "iresnet_cifar10",
        {
            "mnist": {"blocks": [4, 4], "widths": [52, 52]},
            "digits": {"blocks": [4, 4], "widths": [52, 52]},
        },
    ),
}
