"""What the parts of DenseFlow are worth: short runs on the digits that differ in one part.

    python scripts/ablate_denseflow.py

All variants take the same steps on the same batches, from the same seeds. A part that is left out
takes its parameters along, so there is a second run with wider networks and as many parameters.
The trained flows are kept, and a script that was stopped goes on where it was.
"""

import dataclasses
import datetime
import importlib.metadata
import math
from pathlib import Path
from typing import Annotated

import keras
import marked
import numpy as np
import rich.console
import typer

import keras_flows as kf
from keras_flows import data
from keras_flows.measure import evaluation as evaluate
from keras_flows.models import registry
from keras_flows.numerics.events import bits_per_dim
from keras_flows.training import run as runner

PAGE = Path(__file__).resolve().parents[1] / "docs" / "denseflow.md"
SCRIPT = "scripts/ablate_denseflow.py"
IMPORTANCE_SAMPLES = 20
TOLERANCE = 0.01  # of the number of parameters, where it should be equal

# Shorter than the recipe, and tested with fewer draws.
BASE = dataclasses.replace(registry.recipe("denseflow_digits"), steps=800, importance_samples=None)
# Title, arguments that are not those of the base, whether there are as many parameters.
VARIANTS = {
    "base": ("DenseFlow", {}, True),
    "no_cross_unit": (
        "no cross-unit coupling, wider",
        {"growth": 0, "coupling_growth": 17},
        True,
    ),
    "no_attention": ("no attention", {"attention": None}, False),
    "no_attention_wider": (
        "no attention, wider",
        {"attention": None, "coupling_growth": 13},
        True,
    ),
    "uniform": ("uniform dequantization", {"dequantization": "uniform"}, False),
    "uniform_wider": (
        "uniform dequantization, wider",
        {"dequantization": "uniform", "width": 20, "coupling_growth": 19},
        True,
    ),
    "published": ("attention in the published layout", {"attention": "published"}, True),
}


def parameters(flow):
    """Number of trainable parameters."""
    return sum(math.prod(weight.shape) for weight in flow.trainable_weights)


def table(counts, scores):
    """The lines of the table.

    Args:
        counts: Trainable parameters, `{variant: number}`.
        scores: Bits per dimension, `{variant: array (seeds, images)}`.
    """
    lines = [
        "| | trainable parameters | test bits/dim | more than DenseFlow | in the single runs |",
        "| --- " * 5 + "|",
    ]
    for name, (title, _, _) in VARIANTS.items():
        cells = [title, f"{counts[name]:,}", "{:.4f} ± {:.4f}".format(*mean(scores[name]))]
        if name == "base":
            cells += ["", ""]
        else:
            # Image by image: the hard ones are hard for all.
            excess = scores[name] - scores["base"]
            cells.append("{:+.4f} ± {:.4f}".format(*mean(excess)))
            cells.append(", ".join(f"{run:+.4f}" for run in excess.mean(axis=1)))
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def mean(values):
    """Mean of `(seeds, images)` and its standard error over the images."""
    by_image = values.mean(axis=0)
    return by_image.mean(), by_image.std(ddof=1) / len(by_image) ** 0.5


def check(counts):
    """Raises a ValueError where the numbers of parameters should be equal, and are not."""
    for name, (_, _, equal) in VARIANTS.items():
        off = counts[name] / counts["base"] - 1.0
        if equal and abs(off) > TOLERANCE:
            raise ValueError(
                f"{name} has {counts[name]:,} parameters, the base {counts['base']:,}: {off:+.1%}, "
                f"and up to {TOLERANCE:.0%} is allowed. Change its width or coupling_growth."
            )


def main(
    steps: Annotated[int, typer.Option(help="Training steps of every run.")] = BASE.steps,
    seeds: Annotated[int, typer.Option(help="Runs of every variant.")] = 3,
    output: Annotated[Path, typer.Option(help="Where the flows go.")] = Path(
        "outputs/ablate_denseflow"
    ),
    page: Annotated[Path, typer.Option(help="The page with the table.")] = PAGE,
):
    """Rewrites the table of docs/denseflow.md."""
    console = rich.console.Console(stderr=True)
    images = data.images("digits")
    variants = {
        name: dataclasses.replace(BASE, arguments={**BASE.arguments, **changed}, steps=steps)
        for name, (_, changed, _) in VARIANTS.items()
    }
    counts = {name: parameters(runner.build(r, images)) for name, r in variants.items()}
    for name, count in counts.items():
        console.print(f"{name}: {count:,} trainable parameters", highlight=False)
    check(counts)
    test = data.images("digits", "test").pixels
    scale = 1.0 / bits_per_dim(1.0, images.event_shape)
    scores = {name: [] for name in VARIANTS}
    for seed in range(seeds):
        for name, recipe in variants.items():
            run = f"{name}_{seed}"
            console.print(run)
            recipe = dataclasses.replace(recipe, seed=seed)
            runner.train(run, recipe, output, resume=True, console=console)
            flow = kf.zoo.load(output / run)
            log_probs = evaluate.log_probs(flow, test, importance_samples=IMPORTANCE_SAMPLES)
            scores[name].append(-log_probs.astype("float64") / scale)
            console.print(f"{scores[name][-1].mean():.4f} bits/dim", highlight=False)
            keras.backend.clear_session()
    lines = table(counts, {name: np.stack(runs) for name, runs in scores.items()})
    packages = ("keras-flows", "tensorflow", "keras")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    stamp = (
        f"{datetime.date.today()}, {versions}; {steps:,} steps of {BASE.batch_size} images; "
        f"importance-weighted bound, k = {IMPORTANCE_SAMPLES}, on {len(test)} test images; means "
        f"over the seeds 0 to {seeds - 1} ± standard errors over the images."
    )
    marked.update(page, SCRIPT, "\n".join([*lines, "", stamp]))
    console.print(f"wrote {page}")


if __name__ == "__main__":
    typer.run(main)
