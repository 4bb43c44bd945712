"""Training recipes of Glow."""

from keras_flows.training.recipe import CosineDecay, ImageData, Optimizer, Recipe

RECIPES = {
    "glow_photographs": Recipe(
        summary="A small Glow on patches of colour photographs.",
        model="Glow",
        arguments={"levels": 2, "steps": 6, "width": 64},
        data=ImageData("photographs/8x8"),
        steps=4_000,
        batch_size=32,
        optimizer=Optimizer("Adam", {"beta_2": 0.99}),
        schedule=CosineDecay(learning_rate=2e-3, warmup_steps=200),
        ema=0.999,
        report_every=500,
        validation_examples=500,
    ),
}
