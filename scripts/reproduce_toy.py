"""Regenerates the toy table of docs/toy.md: twelve flows, three densities, and their pictures.

    python scripts/reproduce_toy.py           # from the shipped weights: minutes
    python scripts/reproduce_toy.py --train   # trains the twelve flows anew first: hours

Fails where a number is not the one that a shipped entry states: from its weights, by more than
rounding; trained anew, by more than four standard errors and the spread between trainings.
"""

import datetime
import importlib.metadata
import sys
from pathlib import Path
from typing import Annotated

import marked
import numpy as np
import rich.console
import typer

import keras_flows as kf
from keras_flows import data, plot
from keras_flows.models import registry
from keras_flows.training import run as runner
from keras_flows.training import sources

PAGE = Path(__file__).resolve().parents[1] / "docs" / "toy.md"
PICTURES = PAGE.parent / "toy"
SCRIPT = "scripts/reproduce_toy.py"
MODELS = {
    "residual_flow": "Residual Flow",
    "idensenet": "i-DenseNet",
    "idensenet_lc": "i-DenseNet + LC",
    "spline": "SplineFlow",
}
DENSITIES = {"two_circles": "2 circles", "checkerboard": "checkerboard", "two_moons": "2 moons"}
# Table 1 of Perugachi-Diaz, Tomczak and Bhulai 2020, nats.
PAPER = {
    "residual_flow": {"two_circles": 3.44, "checkerboard": 3.81, "two_moons": 2.60},
    "idensenet": {"two_circles": 3.32, "checkerboard": 3.68, "two_moons": 2.39},
    "idensenet_lc": {"two_circles": 3.30, "checkerboard": 3.66, "two_moons": 2.39},
}
ROUNDING = 1e-4  # nats, of a mean over float32 log_probs on another machine
RETRAINED = 0.01  # nats, between two trainings of one recipe


def names():
    """The entries, `{density: {model: name}}`."""
    return {d: {m: f"{m}_{d}" for m in MODELS} for d in DENSITIES}


def table(rows, results):
    """One line for the paper, the flows and the entropy, over the three densities."""
    lines = [
        "| test NLL, nats | " + " | ".join(DENSITIES.values()) + " | parameters | largest bound |",
        "| --- " * 6 + "|",
    ]
    for model, published in PAPER.items():
        numbers = " | ".join(f"{published[d]:.2f}" for d in DENSITIES)
        lines.append(f"| {MODELS[model]}, paper | {numbers} | | |")
    for model, title in MODELS.items():
        cells = [title]
        for density in DENSITIES:
            nll, error, *_ = results[density, model]
            cells.append(f"{nll:.4f} ± {error:.4f}")
        metadata = [rows[density, model] for density in DENSITIES]
        cells.append(f"{metadata[0].parameters:,}")
        bounds = [m.largest_bound for m in metadata if m.largest_bound is not None]
        cells.append(f"{max(bounds):.4f}" if bounds else "none needed")
        lines.append(f"| {' | '.join(cells)} |")
    entropies = []
    for name in DENSITIES:
        density = data.toy(name)
        x = density.sample(sources.TEST_POINTS, seed=sources.TEST_SEED)
        log_prob = density.log_prob(x)
        entropies.append(f"{-log_prob.mean():.4f} ± {log_prob.std(ddof=1) / len(x) ** 0.5:.4f}")
    lines.append(f"| entropy of the data | {' | '.join(entropies)} | | |")
    lines += ["", "| KL from the truth, nats | " + " | ".join(DENSITIES.values()) + " |"]
    lines.append("| --- " * 4 + "|")
    for model, title in MODELS.items():
        cells = [f"{results[d, model][2]:.4f} ± {results[d, model][3]:.4f}" for d in DENSITIES]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return lines


def coefficients(flows):
    """The mean concatenation coefficients of every Dense Layer, over the blocks."""
    pairs = {d: flows[d]["idensenet_lc"].concatenation_coefficients() for d in DENSITIES}
    depth = next(iter(pairs.values())).shape[1]
    layers = " | ".join(f"Dense Layer {i + 1}" for i in range(depth))
    lines = [
        "",
        f"| mean η̂1, η̂2 over the blocks | {layers} | layers with η̂2 > η̂1 |",
        "| --- " * (depth + 2) + "|",
    ]
    for density, title in DENSITIES.items():
        means = pairs[density].mean(axis=0)
        cells = [f"{one:.2f}, {two:.2f}" for one, two in means]
        more = (pairs[density][..., 1] > pairs[density][..., 0]).ravel()
        lines.append(f"| {title} | {' | '.join(cells)} | {more.sum()} of {more.size} |")
    return lines


def draw(flows):
    """Writes the pictures."""
    PICTURES.mkdir(exist_ok=True)
    by_title = {
        DENSITIES[density]: {MODELS[model]: flow for model, flow in row.items()}
        for density, row in flows.items()
    }
    truths = {title: data.toy(density) for density, title in DENSITIES.items()}
    plot.comparison(by_title, truths).savefig(PICTURES / "densities.png", dpi=100)
    plot.comparison_of_samples(by_title, truths).savefig(PICTURES / "samples.png", dpi=100)
    for density, row in flows.items():
        flow = row["idensenet_lc"]
        plot.concatenation(flow).savefig(PICTURES / f"{density}_coefficients.png", dpi=80)
        plot.concatenation_circle(flow).savefig(PICTURES / f"{density}_circle.png", dpi=80)


def main(
    train: Annotated[bool, typer.Option(help="Train the flows anew first.")] = False,
    output: Annotated[Path, typer.Option(help="Where trained flows go.")] = Path("trained"),
):
    """Regenerates docs/toy.md and its pictures."""
    console = rich.console.Console(stderr=True)
    flows, rows, results, wrong = {}, {}, {}, []
    for density, row in names().items():
        flows[density] = {}
        for model, name in row.items():
            shipped = kf.zoo.show(name)
            if train:
                recipe = registry.recipe(name)
                trained = runner.train(name, recipe, output, resume=True, console=console)
            flow = kf.zoo.load(output / name if train else name)
            result = sources.score_on_toy(flow, data.toy(density))
            nll, error = result["nll"], result["standard_error"]
            kl, kl_error = result["kl_divergence"], result["kl_standard_error"]
            allowed = RETRAINED + 4 * float(np.hypot(error, kl_error)) if train else ROUNDING
            if abs(nll - shipped.test.nll) > allowed:
                wrong.append(f"{name}: {nll:.4f} nats, the shipped entry {shipped.test.nll:.4f}")
            console.print(f"{name}: {nll:.4f} ± {error:.4f} nats", highlight=False)
            flows[density][model] = flow
            rows[density, model] = trained if train else shipped
            results[density, model] = nll, error, kl, kl_error
    if wrong:
        sys.exit("Not reproduced:\n" + "\n".join(wrong))
    packages = ("keras-flows", "tensorflow", "keras")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    source = "trained anew" if train else "the shipped weights"
    stamp = (
        f"{datetime.date.today()}, {source}, {versions}; {sources.TEST_POINTS:,} fresh test "
        f"points, seed {sources.TEST_SEED}; mean ± standard error."
    )
    draw(flows)
    lines = [*table(rows, results), *coefficients(flows)]
    marked.update(PAGE, SCRIPT, "\n".join([*lines, "", stamp]))
    console.print(f"wrote {PAGE}")


if __name__ == "__main__":
    typer.run(main)
