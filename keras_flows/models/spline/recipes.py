"""Training recipes of neural spline flows."""

from typing import Any

from keras_flows.training.recipe import CosineDecay, Optimizer, Recipe, ToyData

# The toy table, beside the residual flows: as many points, and fewer parameters.
_TOY: dict[str, Any] = {
    "layers": 6,
    "bins": 24,
    # The densities end within three standard deviations, and knots outside would be wasted.
    "bound": 3.0,
    "width": 96,
}


def _toy(density):
    return Recipe(
        summary=f"Autoregressive neural spline flow on the {density.replace('_', ' ')} density.",
        model="SplineFlow",
        arguments=_TOY,
        data=ToyData(density),
        steps=8000,
        batch_size=500,
        optimizer=Optimizer("Adam"),
        schedule=CosineDecay(learning_rate=2e-3, warmup_steps=200),
        clip_norm=10.0,
        ema=0.999,
        validation_examples=10_000,
    )


RECIPES = {
    f"spline_{density}": _toy(density) for density in ("two_circles", "checkerboard", "two_moons")
}
