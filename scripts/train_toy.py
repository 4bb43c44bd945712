"""Trains the zoo's toy flows, one recipe by name; resumes by itself where it was stopped.

    python scripts/train_toy.py idensenet_lc_two_moons --output zoo/entries

Every batch is drawn fresh, with a key of (seed, step); the test points come from a seed that no
training run uses.
"""

import tempfile
import time
from pathlib import Path

import keras
import typer

import keras_flows as kf
from keras_flows import data, evaluate, plot, training

EPOCH_STEPS = 500
TEST_SEED = 2**31  # training seeds are below it
TEST_EXAMPLES = 100_000

RECIPES = {
    "idensenet_lc_two_moons": {
        "summary": "i-DenseNet with learnable concatenation on the two moons density.",
        "density": "two_moons",
        "model": "IDenseNet",
        "arguments": {"blocks": 10, "depth": 4, "growth": 90, "block_bound": 0.99},
        "steps": 12_000,
        "batch_size": 500,
        "learning_rate": 3e-3,
        "seed": 0,
    },
}


def build(recipe):
    """A compiled flow at the start of a recipe."""
    keras.utils.set_random_seed(recipe["seed"])
    flow = getattr(kf.models, recipe["model"])((2,), seed=recipe["seed"], **recipe["arguments"])
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0,
        decay_steps=recipe["steps"] - 500,
        warmup_target=recipe["learning_rate"],
        warmup_steps=500,
    )
    flow.compile(keras.optimizers.Adam(schedule, global_clipnorm=10.0))
    return flow


def main(name: str, output: Path = Path("trained"), steps: int | None = None):
    """Trains the recipe NAME and writes the preset folder OUTPUT/NAME."""
    if name not in RECIPES:
        raise typer.BadParameter(f"unknown recipe {name!r}; known: {', '.join(RECIPES)}")
    recipe = dict(RECIPES[name], steps=steps or RECIPES[name]["steps"])
    work = output / f"{name}.training"
    work.mkdir(parents=True, exist_ok=True)
    state = work / "state.keras"
    flow = keras.models.load_model(state) if state.exists() else build(recipe)
    density = data.toy(recipe["density"])

    start = int(flow.optimizer.iterations)
    began = time.monotonic()
    if start < recipe["steps"]:
        flow.fit(
            density.dataset(recipe["batch_size"], recipe["steps"], recipe["seed"], start),
            steps_per_epoch=EPOCH_STEPS,
            initial_epoch=start // EPOCH_STEPS,
            epochs=recipe["steps"] // EPOCH_STEPS,
            validation_data=density.sample(10_000, seed=(TEST_SEED, 1)),
            validation_batch_size=10_000,
            callbacks=[
                keras.callbacks.CSVLogger(work / "history.csv", append=True),
                training.SaveState(state),
            ],
            shuffle=False,  # every batch is a fresh draw
            verbose=2,
        )
        print(f"{time.monotonic() - began:.0f} s for {recipe['steps'] - start} steps")

    write_entry(flow, density, recipe, output / name)
    print(f"wrote {output / name}; its training state is still in {work}")


def write_entry(flow, density, recipe, folder):
    """Tests a trained flow and writes it as a zoo entry."""
    test = density.sample(TEST_EXAMPLES, seed=TEST_SEED)
    result = evaluate.evaluate(flow, test)
    # Point by point, so that the noise of the entropy cancels.
    excess = density.log_prob(test) - evaluate.log_probs(flow, test)
    title = density.name.replace("_", " ")
    with tempfile.TemporaryDirectory() as scratch:
        picture = Path(scratch) / "density.png"
        figure = plot.density(flow, density.bounds, density.log_prob)
        figure.savefig(picture, dpi=100)
        flow.save_to_preset(
            folder,
            summary=recipe["summary"],
            data=f"{title}, drawn fresh for every step",
            test={
                "nll": result.nll,
                "standard_error": result.standard_error,
                "examples": result.examples,
                "kl_divergence": float(excess.mean()),
                "kl_standard_error": float(excess.std(ddof=1) / len(excess) ** 0.5),
                "data": f"{title}, fresh points, seed {TEST_SEED}",
            },
            training={
                "script": f"scripts/train_toy.py {folder.name}",
                "optimizer": "Adam, cosine decay after 500 warm-up steps, gradient norm at most 10",
                **{key: recipe[key] for key in ("arguments", "steps", "batch_size")},
                **{key: recipe[key] for key in ("learning_rate", "seed")},
            },
            picture=picture,
        )
    print(f"test NLL {result.nll:.4f} ± {result.standard_error:.4f} nats")


if __name__ == "__main__":
    typer.run(main)
