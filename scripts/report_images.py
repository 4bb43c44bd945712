"""Regenerates docs/images.md: what the flows on images reach, how exactly they invert, pictures.

    python scripts/report_images.py --data-dir DIR                     # every entry: hours
    python scripts/report_images.py interlaced_mnist --data-dir DIR    # only these

Fails where an entry's test result is not the one that its card states, or the inversion error of
one is above 1e-4. Importance-weighted bounds, which take half an hour for all of MNIST, are drawn
for the first 500 test images, and must agree with the card within four standard errors. What was
measured goes to docs/images.json, which keeps that of entries that are not measured again.
"""

import datetime
import json
import sys
from pathlib import Path
from typing import Annotated

import inversion_error
import marked
import rich.console
import typer
import update_readme

import keras_flows as kf
from keras_flows.export.gallery.images import spread
from keras_flows.measure import evaluation as evaluate

PAGE = Path(__file__).resolve().parents[1] / "docs" / "images.md"
RESULTS, PICTURES = PAGE.with_suffix(".json"), PAGE.parent / "images"
SCRIPT = "scripts/report_images.py"
ROUNDING = 1e-3  # nats, relative; of a mean over float32 log_probs on another machine
IMPORTANCE_WEIGHTED = 500  # test images
TEMPERATURES = 0.7, 0.85, 1.0


def scores(entry, flow, data_dir):
    """The log_probs of the test images, given their labels, and those images."""
    test = inversion_error.test_images(entry, flow, data_dir)
    images, labels = test.pixels, test.labels
    if entry.test.importance_samples is not None:
        images = images[:IMPORTANCE_WEIGHTED]
    flow.converge()
    log_prob = evaluate.log_probs(
        flow,
        images,
        labels,
        batch_size=entry.training["batch_size"],
        importance_samples=entry.test.importance_samples,
    )
    return log_prob.astype("float64"), images


def disagreement(entry, nll):
    """What an entry's card has wrong of its test result, a list of sentences."""
    allowed, stated = ROUNDING * entry.test.nll, entry.test.nll
    if entry.test.importance_samples is not None:
        allowed = 4.0 * nll.std(ddof=1) / len(nll) ** 0.5
    if abs(nll.mean() - stated) <= allowed:
        return []
    return [f"{entry.name}: {nll.mean():.4f} nats, its card {stated:.4f}"]


def draw(name, flow, images):
    """Writes the pictures of a flow."""
    shown = images[spread(len(images), 12)]
    # White is the highest level of the data: that of the digits is half of what 5 bits hold.
    white = {"highest": float(images.max())}
    if flow.labels is not None:
        pictures = {"samples": kf.plot.samples(flow, (1.0,), columns=12, **white)}
    else:
        pictures = {
            "samples": kf.plot.samples(flow, TEMPERATURES, columns=12, rows=2, **white),
            "reconstructions": kf.plot.reconstructions(flow, shown, **white),
            "interpolations": kf.plot.interpolations(flow, shown[:4], shown[4:8], 12, **white),
        }
    appends = kf.models.denseflow.CrossUnitCoupling
    if any(isinstance(step, appends) for step in flow.transform.innermost()):
        pictures["noise"] = kf.plot.added_noise(flow, images[:100])
    for kind, figure in pictures.items():
        figure.savefig(PICTURES / f"{name}_{kind}.png", dpi=110)
    return [f"![{kind} of {name}](images/{name}_{kind}.png)" for kind in pictures]


def measure(entry, data_dir):
    """The pictures of an entry, and how exactly it decodes.

    Returns:
        A dictionary for JSON: the `day`, the `pictures` in Markdown, and the rows of the table of
        inversion errors, `inverse`; and a list of what is wrong, in sentences.
    """
    flow = kf.zoo.load(entry.name)
    log_prob, images = scores(entry, flow, data_dir)
    wrong, inverse = disagreement(entry, -log_prob), []
    pictures = draw(entry.name, flow, images)
    if inversion_error.has_error(flow):
        for title, count, result in inversion_error.results(entry, flow, data_dir):
            inverse.append(inversion_error.cells(title, count, result))
            if result.worst > inversion_error.TOLERANCE:
                wrong.append(f"{entry.name} decodes {title} with an error of {result.worst:.1e}")
    made = {"day": str(datetime.date.today()), "pictures": pictures, "inverse": inverse}
    return made, wrong


def page(measured, entries):
    """The generated part of the page, from docs/images.json and the metadata of the entries."""
    lines = ["| entry | parameters | steps | hours | test bits/dim |", "| --- " * 5 + "|"]
    inverse = ["| entry | " + " | ".join(inversion_error.COLUMNS) + " |", "| --- " * 7 + "|"]
    pictures = []
    for name, entry in entries.items():
        training, test = entry.training, update_readme.bits_per_dim(entry.test)
        cells = name, f"{entry.parameters:,}", f"{training['steps']:,}", training["hours"], test
        lines.append(f"| {' | '.join(map(str, cells))} |")
        if name in measured["entries"]:
            made = measured["entries"][name]
            pictures += ["", f"### {name}", "", *made["pictures"]]
            inverse += [f"| {name} | {' | '.join(row)} |" for row in made["inverse"]]
    days = sorted({made["day"] for made in measured["entries"].values()})
    stamp = (
        f"Measured {days[0]} to {days[-1]}; mean ± standard error over the test images; k are the "
        "draws of the importance-weighted bound, else log_prob is of one draw."
    )
    head = ["", "### How exactly they decode", "", *inverse]
    return "\n".join([*lines, "", stamp, *head, *pictures])


def main(
    names: Annotated[list[str] | None, typer.Argument(help="Entries; all by default")] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Where TensorFlow Datasets keeps data")
    ] = None,
):
    """Regenerates docs/images.md and its pictures."""
    console = rich.console.Console(stderr=True)
    entries = {e.name: e for e in kf.zoo.list() if len(e.event_shape) == 3}
    unknown = [name for name in names or () if name not in entries]
    if unknown:
        sys.exit(f"No entries on images: {', '.join(unknown)}. There are {', '.join(entries)}.")
    measured = {"entries": {}}
    if RESULTS.exists():
        measured = json.loads(RESULTS.read_text(encoding="utf-8"))
    PICTURES.mkdir(exist_ok=True)
    wrong = []
    for name in names or entries:
        console.print(name)
        measured["entries"][name], found = measure(entries[name], data_dir)
        wrong += found
    if wrong:
        sys.exit("\n".join(wrong))
    kept = {name: made for name, made in measured["entries"].items() if name in entries}
    measured["entries"] = dict(sorted(kept.items()))
    RESULTS.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
    marked.update(PAGE, SCRIPT, page(measured, entries))
    console.print(f"wrote {PAGE}")


if __name__ == "__main__":
    typer.run(main)
