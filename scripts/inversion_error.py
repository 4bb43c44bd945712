"""How exactly flows on images decode what they encoded: the errors, and the iterations they take.

    python scripts/inversion_error.py                      # every entry of the zoo on images
    python scripts/inversion_error.py idensenet_lc_mnist trained/my_flow --data-dir DIR

Encodes and decodes up to 1,000 test images of the data that a flow was trained on, 1,000 images of
uniform noise, and an image of every level alone; see `keras_flows.measure.round_trip` for what is
compared.
The iterations are those of one residual block. Fails where an error is above 1e-4 of the range
from black to white: a flow must decode better than that, or refuse with a ConvergenceError.
"""

import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import rich.console
import rich.progress
import rich.table
import typer

import keras_flows as kf
from keras_flows.measure.inversion import TOLERANCE, round_trip

IMAGES = 1000
COLUMNS = ("images", "worst", "mean", "other levels", "iterations of a block", "refused")
_out, _err = rich.console.Console(), rich.console.Console(stderr=True)


def test_images(entry, flow, data_dir):
    """The test split that the entry's recipe names: `keras_flows.data.Images`."""
    if flow.bits is None or len(flow.event_shape) != 3:
        raise ValueError(f"{entry.name} is no flow on images of integers.")
    recipe = dict((entry.training or {}).get("data") or {})
    if "images" not in recipe:
        raise ValueError(f"{entry.name}: its metadata do not say what images it was trained on.")
    return kf.data.images(
        recipe["images"],
        recipe.get("test", "test"),
        data_dir=data_dir,
        bits=flow.bits,
        resize=flow.event_shape[:2],
        labels=flow.labels is not None,
    )


def has_error(flow):
    """Whether there is an error to measure: of residual blocks, whose inverse is a fixed point."""
    return bool(flow.blocks) and flow.noise_shape("decode") == (0,)


def inputs(entry, flow, data_dir):
    """What a flow is tried on: `{name: images}`."""
    images = test_images(entry, flow, data_dir)
    shape, levels = flow.event_shape, np.arange(2**images.bits)
    rng = np.random.default_rng(0)
    return {
        images.name: images.pixels[:IMAGES],
        "uniform noise": rng.integers(2**images.bits, size=(IMAGES, *shape)),
        "constant": np.broadcast_to(levels.reshape(-1, 1, 1, 1), (len(levels), *shape)),
    }


def results(entry, flow, data_dir):
    """Yields `(title, number of images, RoundTrip)` for everything a flow is tried on."""
    for title, x in inputs(entry, flow, data_dir).items():
        with rich.progress.Progress(console=_err, transient=True) as progress:
            task = progress.add_task(f"{entry.name}, {title}", total=len(x))
            result = round_trip(flow, x, progress=lambda n, p=progress, t=task: p.advance(t, n))
        yield title, len(x), result


def cells(title, count, result):
    """A line of the table."""
    steps = np.stack(list(result.iterations.values()))
    return (
        f"{title} ({count:,})",
        f"{result.worst:.1e}",
        f"{result.mean:.1e}",
        f"{result.other_levels or 0.0:.1e}",
        f"{steps.mean():.1f}, at most {steps.max()}",
        f"{result.refused:.1%}",
    )


def measure(entry, flow, data_dir):
    """Prints the table of a flow; returns its largest error."""
    table = rich.table.Table(
        *COLUMNS, title=f"{entry.name}: error of decoding what was encoded, black to white being 1"
    )
    worst = 0.0
    for title, count, result in results(entry, flow, data_dir):
        table.add_row(*cells(title, count, result))
        worst = np.nanmax([worst, result.worst])
    _out.print(table)
    return worst


def main(
    entries: Annotated[
        list[str] | None, typer.Argument(help="Entries or preset folders; by default all on images")
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Where TensorFlow Datasets keeps data")
    ] = None,
):
    """Prints the inversion error of flows on images; fails where it is above 1e-4."""
    entries = entries or [entry.name for entry in kf.zoo.list() if len(entry.event_shape) == 3]
    wrong, measured = [], 0
    for handle in entries:
        entry, flow = kf.zoo.show(handle), kf.zoo.load(handle)
        if not has_error(flow):
            _err.print(f"{entry.name}: no residual blocks: decoding is in closed form, or random")
            continue
        worst, measured = measure(entry, flow, data_dir), measured + 1
        if worst > TOLERANCE:
            wrong.append(f"{entry.name}: {worst:.2e}")
    if wrong:
        sys.exit(f"The error is above {TOLERANCE:g}: {'; '.join(wrong)}")
    if not measured:
        sys.exit("No flow was measured: the zoo has no entry on images that decodes exactly.")


if __name__ == "__main__":
    typer.run(main)
