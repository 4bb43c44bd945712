"""What each change of the toy recipe is worth: short runs on the checkerboard, one after the other.

    python scripts/ablate_toy.py

Every row adds one change to the row before it; all have the recipe's schedule over 1,000 steps.
"""

import dataclasses
import datetime
import tempfile
from pathlib import Path
from typing import Annotated

import marked
import rich.console
import typer

from keras_flows.models import registry
from keras_flows.training import run as runner
from keras_flows.training.recipe import Optimizer

PAGE = Path(__file__).resolve().parents[1] / "docs" / "toy.md"
SCRIPT = "scripts/ablate_toy.py"
RECIPE = "idensenet_lc_checkerboard"


def variants(recipe):
    """Pairs of a title and a recipe, from the published settings to the recipe itself."""
    published = {key: recipe.arguments[key] for key in ("learnable_concatenation",)}
    bounded = {**published, "block_bound": recipe.arguments["block_bound"]}
    adam = dataclasses.replace(recipe, optimizer=Optimizer("Adam"))
    half = recipe.schedule.learning_rate / 2
    slow = dataclasses.replace(recipe.schedule, learning_rate=half)
    adam = dataclasses.replace(adam, schedule=slow)
    yield "published bounds and β, Adam", dataclasses.replace(adam, arguments=published)
    yield "+ one bound per block", dataclasses.replace(adam, arguments=bounded)
    yield "+ β starts at 40", adam
    yield "+ Muon: the recipe", recipe


def main(steps: Annotated[int, typer.Option(help="Training steps of every run.")] = 1000):
    """Rewrites the table of docs/toy.md."""
    console = rich.console.Console(stderr=True)
    lines = [f"| checkerboard, {steps:,} steps | test NLL, nats |", "| --- | --- |"]
    recipe = dataclasses.replace(registry.recipe(RECIPE), steps=steps)
    for title, variant in variants(recipe):
        console.print(title)
        with tempfile.TemporaryDirectory() as folder:
            test = runner.train("ablation", variant, folder, console=console).test
        lines.append(f"| {title} | {test.nll:.4f} ± {test.standard_error:.4f} |")
    stamp = f"{datetime.date.today()}, one run each; standard errors over the test points."
    marked.update(PAGE, SCRIPT, "\n".join([*lines, "", stamp]))


if __name__ == "__main__":
    typer.run(main)
