"""Training recipes of interlaced flows."""

from typing import Any

from keras_flows.training.recipe import CosineDecay, ImageData, Optimizer, Recipe

_MNIST: dict[str, Any] = {
    "model": "InterlacedFlow",
    "batch_size": 16,
    "jit_compile": True,
    "schedule": CosineDecay(learning_rate=3e-3, warmup_steps=500),
    "optimizer": Optimizer("Adam", {"beta_2": 0.99}),
    "ema": 0.999,
    "report_every": 2_000,
    "samples_every": 4,
    "validation_examples": 500,
}
_SIZES: dict[str, Any] = {"widths": [32, 48], "blocks": 3}

RECIPES = {
    "interlaced_mnist": Recipe(
        summary="Couplings from coarse to fine pixels of MNIST, the coarsest 49 autoregressive.",
        arguments=_SIZES,
        data=ImageData("mnist"),
        steps=32_000,
        **_MNIST,
    ),
    "interlaced_mnist_labels": Recipe(
        summary="Couplings from coarse to fine pixels of MNIST, given the digit.",
        arguments={
            **_SIZES,
            "context_embedding": {
                "class_name": "Embedding",
                "config": {"input_dim": 10, "output_dim": 8},
            },
        },
        data=ImageData("mnist", labels=True),
        steps=12_000,
        **_MNIST,
    ),
}
