"""The main job of keras-flows, end to end, on a flow that comes with the package.

Loads a pretrained flow, scores held-out data, samples, fine-tunes on new data, uses the flow as
a TensorFlow Probability distribution, exports it to SavedModel and ONNX, verifies the exports,
and writes all of it to one folder. Exits with 1 if any check fails.
"""

import json
import shutil
import time
from pathlib import Path

import keras
import numpy as np
import rich.console
import rich.table
import typer

import keras_flows as kf
from keras_flows import data, export, plot, zoo
from keras_flows.data import tables
from keras_flows.measure import evaluation as evaluate

NAME = "idensenet_lc_two_moons"
HELD_OUT_SEED = 2**32 - 1  # no training run uses it
console = rich.console.Console()


class Checks:
    """Named comparisons with their tolerances."""

    def __init__(self):
        self.rows = []

    def at_most(self, name, measured, limit):
        self.rows.append((name, float(measured), float(limit), bool(measured <= limit)))

    @property
    def passed(self):
        return all(passed for *_, passed in self.rows)

    def table(self):
        table = rich.table.Table("check", "measured", "at most", "")
        for name, measured, limit, passed in self.rows:
            mark = "[green]passed" if passed else "[bold red]FAILED"
            table.add_row(name, *map(_short, (measured, limit)), mark)
        return table


def _short(value):
    return value if isinstance(value, str) else f"{value:.3g}"


def turned(x, degrees=30.0):
    """The same points, turned about the origin: data the flow has not seen."""
    angle = np.deg2rad(degrees)
    rotation = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return (x @ np.array(rotation).T).astype("float32")


def score_and_sample(flow, density, checks, folder):
    held_out = density.sample(20_000, seed=HELD_OUT_SEED)
    result = evaluate.evaluate(flow, held_out)
    console.print(f"  held-out NLL {result.nll:.4f} ± {result.standard_error:.4f} nats")
    card = zoo.show(NAME).test
    spread = np.hypot(result.standard_error, card.standard_error)
    checks.at_most(
        "held-out NLL, from the card's, in standard errors", abs(result.nll - card.nll) / spread, 4
    )
    checks.at_most("largest Lipschitz bound of a block", flow.certify().largest, 1)

    samples = flow.sample(5_000, seed=0).numpy()
    tables.write(folder / "samples.csv", {"x": samples})
    latents = np.random.default_rng(0).standard_normal((5_000, 2)).astype("float32")
    round_trip = np.abs(flow.encode(flow.decode(latents)) - latents).max()
    checks.at_most("round trip of latents", round_trip, 1e-4)
    excess = np.mean(evaluate.log_probs(flow, samples) - density.log_prob(samples))
    checks.at_most("KL divergence of the samples from the true density, nats", excess, 0.1)
    plot.density(flow, density.bounds, density.log_prob).savefig(folder / "density.png", dpi=100)
    plot.concatenation(flow).savefig(folder / "concatenation.png", dpi=100)


def fine_tune(density, checks, folder):
    flow = zoo.load(NAME)
    train = turned(density.sample(20_000, seed=(HELD_OUT_SEED, 1)))
    held_out = turned(density.sample(5_000, seed=(HELD_OUT_SEED, 2)))
    before = evaluate.evaluate(flow, held_out)
    flow.compile(keras.optimizers.Adam(1e-3))
    flow.fit(train, batch_size=500, epochs=3, validation_data=held_out, verbose=2)
    after = evaluate.evaluate(flow, held_out)
    console.print(f"  held-out NLL on the turned data: {before.nll:.3f} → {after.nll:.3f} nats")
    checks.at_most("NLL after fine-tuning, relative to before", after.nll / before.nll, 0.9)
    flow.save_to_preset(
        folder / "finetuned",
        summary="Two moons, fine-tuned to turned data by the quickstart.",
        data="two moons turned by 30 degrees",
        training={"fine-tuned from": NAME, "epochs": 3, "learning rate": 1e-3},
    )
    again = kf.Flow.from_preset(folder / "finetuned")
    difference = np.abs(again.log_prob(held_out) - flow.log_prob(held_out)).max()
    checks.at_most("log_prob after saving and loading", difference, 0)


def as_distribution(flow, checks):
    distribution = flow.as_distribution()
    samples = distribution.sample((3, 5), seed=(1, 2))
    console.print(f"  {distribution}")
    expected = np.reshape(flow.log_prob(np.reshape(samples, (-1, 2))), (3, 5))
    difference = np.abs(distribution.log_prob(samples) - expected).max()
    checks.at_most("TFP log_prob, from the flow's", difference, 1e-4)


def export_and_verify(flow, checks, folder):
    for name, to in (("saved_model", export.to_saved_model), ("onnx", export.to_onnx)):
        to(flow, folder / name)
        for row in export.verify(folder / name).rows:
            checks.rows.append((f"{name}: {row.check}", row.measured, row.tolerance, row.passed))


def main(output: Path = Path("outputs/quickstart")):
    """Runs the main job and writes everything to OUTPUT, replacing what an earlier run left."""
    began = time.monotonic()
    if output.exists():
        shutil.rmtree(output)
    output.mkdir(parents=True)
    checks = Checks()
    density = data.toy("two_moons")
    flow = zoo.load(NAME)
    console.print(f"[bold]Loaded[/] {NAME}: {zoo.show(NAME).summary}")
    steps = (
        (
            "Scoring held-out data, sampling",
            lambda: score_and_sample(flow, density, checks, output),
        ),
        ("Fine-tuning on new data", lambda: fine_tune(density, checks, output)),
        ("As a TensorFlow Probability distribution", lambda: as_distribution(flow, checks)),
        ("Exporting, verifying", lambda: export_and_verify(flow, checks, output)),
    )
    for number, (title, step) in enumerate(steps, 1):
        console.print(f"[bold]{number}/{len(steps)} {title}[/]")
        step()
    fields = ("check", "measured", "limit", "passed")
    report = [dict(zip(fields, row, strict=True)) for row in checks.rows]
    (output / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    console.print(checks.table())
    console.print(f"Wrote {output.resolve()} in {time.monotonic() - began:.0f} s:")
    for path in sorted(output.iterdir()):
        console.print(f"  {path.name}")
    if not checks.passed:
        console.print("[bold red]A check failed.")
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
