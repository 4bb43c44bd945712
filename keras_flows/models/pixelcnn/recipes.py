"""Training recipes of PixelCNN++."""

from typing import Any

from keras_flows.training.recipe import CosineDecay, ImageData, Optimizer, Recipe

_COMMON: dict[str, Any] = {
    "model": "PixelCNNPlusPlus",
    "optimizer": Optimizer("Adam", {"beta_2": 0.99}),
    "ema": 0.999,
    "report_every": 500,
    "validation_examples": 500,
}

RECIPES = {
    "pixelcnnpp_mnist": Recipe(
        summary="A small PixelCNN++ on MNIST, most of its channels at low resolution.",
        arguments={
            "width": [24, 48, 64],
            "blocks": 1,
            "output": "categorical",
            "fourier_features": True,
        },
        data=ImageData("mnist"),
        samples_every=100,
        steps=10_500,
        batch_size=16,
        jit_compile=True,
        weight_bits=16,
        schedule=CosineDecay(learning_rate=3e-3, warmup_steps=200),
        **_COMMON,
    ),
    "pixelcnnpp_photographs": Recipe(
        summary="A small PixelCNN++ on patches of colour photographs.",
        arguments={"width": [24, 32], "blocks": 1, "scales": 2, "components": 5},
        data=ImageData("photographs/8x8"),
        steps=6_000,
        batch_size=32,
        schedule=CosineDecay(learning_rate=3e-3, warmup_steps=200),
        **_COMMON,
    ),
}
